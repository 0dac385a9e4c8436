"""`import yoloret_nas`: the commands' words from Python."""

import dataclasses
import importlib.metadata
import inspect
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import click
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import yoloret_nas as yr
from search.front.record import trial_folder
from search.study.experiment import ExperimentSettings, Variant, open_experiment
from search.study.read_study import read_study
from tests.yoloret_nas.conftest import SHAPES, InlineExecutor, RealStudy
from trials.data import open_dataset
from yoloret_nas.api.detector import COLUMNS
from yoloret_nas.api.trial import _to_options
from yoloret_nas.cli import cli
from yoloret_nas.options.values import OptionError
from yoloret_nas.sources import find_model

HOME = Path(__file__).parents[2]
TINY = yr.Architecture.from_dict(
    {"backbone": "mobilenetv3_small_050", "truncation": 9, "head": "plain", "head_width": 32, "input_size": 64}
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Trials run in this process, in a folder of the test's own, and leave the number of threads as it is."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: InlineExecutor())
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stores(empty_stores: Path, tmp_path: Path) -> None:
    """The folder of studies, with empty stores in it."""
    shutil.copytree(empty_stores, tmp_path / "runs")


@pytest.fixture
def study(real_study: RealStudy) -> yr.Study:
    return yr.open_study("real", dir=real_study.root)


def test_the_import_is_light_and_knows_its_names(tmp_path: Path) -> None:
    script = (
        "import sys, yoloret_nas as yr\n"
        "assert set(yr.__all__) <= set(dir(yr)), dir(yr)\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'pandas', 'numpy', 'click', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert yr.Architecture.__module__ == 'spaces.architecture'\n"
        "try:\n    yr.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'yoloret_nas' has no attribute 'nothing'\n"


def test_every_public_name_is_there() -> None:
    assert sorted(yr.__all__) == yr.__all__
    assert all(getattr(yr, name).__name__ == name for name in yr.__all__)


@pytest.mark.parametrize("name", ["search", "train"])
def test_a_function_has_its_command_s_words_and_defaults(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    values = command.make_context(name, ["a"] if name == "train" else []).params
    options = {str(one.opts[0]).lstrip("-").replace("-", "_"): one for one in command.params if one.opts[0][0] == "-"}
    typed = {word: values[str(option.name)] for word, option in options.items()}
    typed = {word: str(value) if isinstance(value, Path) else value for word, value in typed.items()}
    if typed.pop("no_prune", None) is not None:
        typed["prune"] = True
    parameters = inspect.signature(getattr(yr, name)).parameters.values()
    given = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert given.pop("quiet") is False
    assert given == typed


def test_a_search_gives_its_trials_and_its_front(
    stores: None,
    real_study: RealStudy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("YOLORET_NAS_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a notebook has it, where a live display would fill pages
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(real_study.space, tmp_path / "own.yaml")
    words: dict[str, Any] = {
        "data": SHAPES,
        "epochs": 1,
        "space": "~/own.yaml",
        "max_latency": "0.999s",
        "workers": 1,
    }
    found = yr.search(budget=2, study="mine", weights_dir="~/weights", **words)
    assert "YOLORET_NAS_WEIGHTS_DIR" not in os.environ  # the next search looks elsewhere
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study mine: space handful, 4 architectures"
    assert "at most 999 ms" in lines[2]
    assert [line.split()[:2] for line in lines if " complete " in line] == [["0", "complete"], ["1", "complete"]]
    assert list(found.trials.index) == [0, 1]
    assert (found.trials["seconds"] > 0).all()

    again = yr.search(budget=2, study="mine", refit=1, quiet=True, **words)
    assert capsys.readouterr() == ("", "")
    pd.testing.assert_frame_equal(again.trials, found.trials)
    full = again.full_trainings
    assert full is not None
    assert full.name == "mine-refit-1"
    assert full.hypervolume > 0  # from the study's reference point, at which its slowest network is not
    assert full._opened.summary.reference == again._opened.summary.reference
    trained = {full.trial(number).architecture for number in full.trials.index}
    assert {again.trial(number).architecture for number in again.front.index} <= trained
    assert len(full.trials) == len(trained)


def test_an_interrupted_search_says_so_to_its_caller(
    stores: None, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(InlineExecutor):
        def start(self, request: Any) -> None:
            super().start(request)
            os.kill(os.getpid(), 2)  # as Ctrl-C, or a notebook's Interrupt

    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        yr.search(data=SHAPES, epochs=1, space=real_study.space, study="stopped", quiet=True)
    assert len(yr.open_study("stopped").trials) == 1  # the running one was finished


def test_a_study_s_frames_are_its_tables(study: yr.Study, real_study: RealStudy) -> None:
    table = pd.read_csv(real_study.root / "real" / "trials.csv", index_col="trial")
    assert list(study.trials.columns) == list(table.columns)
    assert study.trials["ap"].tolist() == table["ap"].tolist()
    numbers = [record.number for record in read_study(real_study.root, "real").summary.front]
    assert study.front.index.tolist() == numbers
    assert study.front["latency_ms"].is_monotonic_increasing
    assert (study.name, study.dir, study.device, study.data) == ("real", real_study.root, "cpu", SHAPES)
    assert "2 trials" in repr(study)
    assert study._repr_html_().count("<tr") == 1 + len(numbers)


def test_a_study_plots_its_trials(study: yr.Study) -> None:
    figure = study.plot()
    drawn = {number for trace in figure.data if trace.customdata is not None for number in trace.customdata}
    assert drawn == set(study.trials.index)
    assert figure.to_plotly_json()["data"]  # what a notebook shows


def test_a_study_names_its_best_networks(study: yr.Study) -> None:
    best, knee = study.best(), study.knee()
    assert study.front["ap"][best.number] == study.front["ap"].max()  # where they are rounded two may be the best
    assert knee.number in study.front.index
    fastest = study.front.index[0]
    assert study.best(max_latency=study.front["latency_ms"].iloc[0] + 0.001).number == fastest
    assert best.ap == pytest.approx(study.trials["ap"][best.number], abs=1e-4)
    assert best.latency is not None
    assert best.latency.median_ms == pytest.approx(study.trials["latency_ms"][best.number], abs=1e-3)
    assert best.checkpoint.is_file()
    assert best.state == "complete"
    assert best.architecture.short in repr(best)


def test_the_knee_the_best_and_the_best_within_a_latency_are_told_apart(bent_study: Path) -> None:
    study = yr.open_study("bent", dir=bent_study)
    assert study.front.index.tolist() == [0, 1, 2, 3]
    assert (study.knee().number, study.best().number) == (1, 3)
    assert [study.best(max_latency=limit).number for limit in (10, "49ms", 50.0, "9 s")] == [0, 1, 2, 3]
    choices: list[tuple[dict[str, Any], int]] = [
        ({}, 1),
        ({"best": True}, 3),
        ({"max_latency": "10ms"}, 0),
        ({"max_latency": 50}, 2),
        ({"best": True, "max_latency": 50}, 2),
        ({"trial": 2}, 2),
    ]
    for choice, number in choices:
        with pytest.raises(yr.YoloRetError, match=f"the weights of trial {number} of bent are not kept"):
            study.export(**choice, check=False, measure=False)
    with pytest.raises(yr.YoloRetError, match="bent:1 has no trained weights"):
        yr.load("bent", dir=bent_study)


def test_a_home_folder_is_meant_wherever_a_path_is_given(
    study: yr.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = study.export(0, "~/out", measure=False, check=False)
    assert folder == tmp_path / "home" / "out"
    Image.new("RGB", (8, 8)).save(tmp_path / "home" / "image.png")
    assert len(yr.load("~/out").predict("~/image.png", score=1.0)) == 0
    assert find_model("~/out/model.onnx", root=study.dir, classes=1)[0] == folder / "model.onnx"
    assert find_model(Path("~/out"), root=study.dir, classes=1) == (study.trial(0).architecture, 3)


def test_an_export_and_its_trial_detect_alike(study: yr.Study, tmp_path: Path) -> None:
    number = study.trials.index.to_numpy().min()
    assert not isinstance(number, int)  # but numpy's
    folder = study.export(number, measure=False, nms=(0.3, 0.6))
    assert folder == Path("exports/real-0")
    assert (folder / "model-nms.onnx").is_file()
    detector = yr.load(folder)
    sample = open_dataset(SHAPES).splits["val"][0]
    pixels = sample.load()
    Image.fromarray(pixels).save("image.png")
    boxes = detector.predict([pixels, "image.png", Path("image.png")], score=0.01)
    assert tuple(boxes.columns) == COLUMNS
    assert boxes["image"].unique().tolist() == [0, 1, 2]
    first, second = (boxes[boxes["image"] == place].drop(columns="image").reset_index(drop=True) for place in (0, 1))
    pd.testing.assert_frame_equal(first, second)
    assert first["score"].is_monotonic_decreasing
    assert set(first["class"]) <= set(detector.class_names)
    batch = detector.predict(np.stack([pixels, pixels]), score=0.01)
    assert len(batch) == 2 * len(first)
    nothing = detector.predict(pixels, score=1.0)
    assert len(nothing) == 0
    assert nothing.dtypes.equals(boxes.dtypes)
    assert detector.draw(pixels, score=0.01).shape == pixels.shape
    assert (detector.draw("image.png", score=0.01) != pixels).any()
    for wrong in ({"score": 40.0}, {"score": float("nan")}, {"nms_iou": 50.0}):
        with pytest.raises(yr.YoloRetError, match=r"it must be from 0 to 1"):
            detector.predict(pixels, **wrong)

    trial = yr.load("real:0", dir=study.dir)  # without an export
    assert repr(trial) == repr(detector) == f"<detector of {', '.join(detector.class_names)} at 64 px>"
    np.testing.assert_allclose(trial.predict(pixels, score=0.01)["score"], first["score"], atol=1e-5)


def test_detections_have_the_columns_of_mlflow_s_model() -> None:
    source = (HOME / "search" / "tracking" / "served_model.py").read_text(encoding="utf-8")  # its import makes a model
    assert f"COLUMNS = {COLUMNS!r}".replace("'", '"') in source


def test_a_training_is_a_trial(stores: None) -> None:
    trained = yr.train(TINY, data=SHAPES, epochs=1, batch_size=8, name="first", quiet=True)
    assert (trained.study, trained.number, trained.state) == ("first", 0, "complete")
    assert trained.ap is not None
    assert set(trained.per_class_ap) == set(trained.load().class_names)
    assert yr.open_study("first").trials["ap"][0] == pytest.approx(trained.ap, abs=1e-4)


def test_a_training_goes_on_with_the_weights_it_began_from(
    stores: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hub was out of reach at its first start, and is not at its second."""
    began: list[Variant] = []

    def note(settings: ExperimentSettings, variants: list[Variant], **_: object) -> NoReturn:
        settings.folder.mkdir(parents=True, exist_ok=True)
        _, known = open_experiment(settings, variants)
        began.extend(variants)
        if len(began) > 1:  # the first start is interrupted before its first epoch ended
            folder = trial_folder(settings.folder, known.index(variants[0]))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "last.ckpt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("yoloret_nas.api.train.run_variants", note)
    starts: list[tuple[str, Literal["auto", "imagenet"]]] = [
        ("no network", "auto"),
        ("no network", "auto"),
        ("", "auto"),
        ("", "imagenet"),
        ("no network", "auto"),
    ]
    for reason, weights in starts:
        monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone, reason=reason: reason)
        with pytest.raises(KeyboardInterrupt):
            yr.train("yoloret-m0.75", data=SHAPES, name="begun", weights=weights)
    assert [one.architecture.transfer for one in began] == [
        0,
        0,
        0,
        16,
        16,
    ]  # both are begun: the one of its own boundary
    assert capsys.readouterr().out.count("begun began from random weights and goes on so (--weights imagenet") == 1


def test_a_training_without_an_epoch_binds_nobody_to_random_weights(
    stores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[Variant] = []

    def note(settings: ExperimentSettings, variants: list[Variant], **_: object) -> NoReturn:
        settings.folder.mkdir(parents=True, exist_ok=True)
        open_experiment(settings, variants)
        began.extend(variants)
        raise KeyboardInterrupt

    monkeypatch.setattr("yoloret_nas.api.train.run_variants", note)
    for reason in ("no network", ""):
        monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone, reason=reason: reason)
        with pytest.raises(KeyboardInterrupt):
            yr.train("yoloret-m0.75", data=SHAPES, name="begun")
    assert [one.architecture.transfer for one in began] == [0, 16]


def test_a_latency_is_measured() -> None:
    latency = yr.measure(TINY)
    assert 0 < latency.median_ms <= latency.p99_ms
    assert latency.device.kind == "cpu"


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "data": (lambda: yr.search(data="nowhere"), "data 'nowhere' does not exist"),
    "space": (lambda: yr.search(space="vast"), "space 'vast' is none of paper, nano, lite, tiny, and no file"),
    "latency": (lambda: yr.search(max_latency="soon"), "'soon' is not a latency; use 33ms"),
    "no latency": (lambda: yr.search(max_latency=0.0), "0.0 is not a latency"),
    "budget": (lambda: yr.search(budget=0), "budget is 0; it must be at least 1"),
    "epochs": (lambda: yr.search(epochs=0), "epochs is 0; it must be at least 1"),
    "refit": (lambda: yr.search(refit=-1), "refit is -1; it must be at least 0"),
    "recipe": (lambda: yr.search(recipe=cast(Any, "best")), "recipe 'best' is none of modern, quick, paper"),
    "sampler": (lambda: yr.search(sampler=cast(Any, "dice")), "sampler 'dice' is none of ehvi"),
    "weights folder": (lambda: yr.search(weights_dir="nowhere"), "weights_dir 'nowhere' is no folder"),
    "device": (lambda: yr.search(device="abacus"), "device 'abacus' is unknown"),
    "further device": (lambda: yr.search(also_measure=["abacus"]), "device 'abacus' is unknown"),
    "name": (lambda: yr.search(study="../up"), "study name '../up' cannot name a folder"),
    "network": (lambda: yr.train("nothing"), "'nothing' names no network"),
    "training's data": (lambda: yr.train(TINY, data="nowhere"), "data 'nowhere' does not exist"),
    "training's epochs": (lambda: yr.train(TINY, epochs=0), "epochs is 0; it must be at least 1"),
    "training's weights": (lambda: yr.train(TINY, weights=cast(Any, "best")), "weights 'best' is none of auto"),
    "measured": (lambda: yr.measure("nothing"), "'nothing' names no network"),
    "measuring": (lambda: yr.measure(TINY, device="abacus"), "device 'abacus' is unknown"),
    "study": (lambda: yr.open_study("absent"), "no study 'absent' in runs"),
    "loaded": (lambda: yr.load("yoloret-m0.75"), "yoloret-m0.75 has no trained weights"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_and_leaves_nothing(what: str) -> None:
    call, message = WRONG[what]
    with pytest.raises(yr.YoloRetError, match=message) as raised:
        call()
    assert isinstance(raised.value, ValueError)
    assert not raised.value.hint or f"hint: {raised.value.hint}" in traceback.format_exception(raised.value)[-1]
    assert not list(Path().glob("*/*/"))


def test_what_a_study_lacks_is_named(study: yr.Study) -> None:
    with pytest.raises(yr.YoloRetError, match="study 'real' has no trial 9"):
        study.export(9)
    with pytest.raises(yr.YoloRetError, match=r"no trial runs within 1e-06 ms"):
        study.best(max_latency="0.000001ms")
    with pytest.raises(yr.YoloRetError, match="precision 'fp8' is none of fp32, fp16, int8"):
        study.export(0, precision=[cast(Any, "fp8")])
    with pytest.raises(yr.YoloRetError, match="format 'tflite' is none of onnx, openvino, engine"):
        study.export(0, format=[cast(Any, "tflite")])
    with pytest.raises(yr.YoloRetError, match=r"nms is \(2, 0.5\); it must be two numbers from 0 to 1"):
        study.export(0, nms=(2, 0.5))
    with pytest.raises(yr.YoloRetError, match="leave out check=False"):
        study.export(0, data=SHAPES, check=False)
    with pytest.raises(yr.YoloRetError, match="refit is 0; it must be at least 1"):
        study.export(0, refit=0)
    with pytest.raises(yr.YoloRetError, match="export has no option 'formats'; it has format, precision, nms"):
        study.export(0, **cast(Any, {"formats": ["openvino"]}))
    with pytest.raises(yr.YoloRetError, match=r"nms is 0\.25; it must be two numbers"):
        study.export(0, nms=cast(Any, 0.25))
    with pytest.raises(yr.YoloRetError, match="trial names one trial; leave out best and max_latency"):
        study.export(0, best=True)
    with pytest.raises(yr.YoloRetError, match=r"no trial runs within 1e-06 ms"):
        study.export(max_latency="0.000001ms")
    with pytest.raises(yr.YoloRetError, match="budget is '5'; it must be a whole number"):
        yr.search(budget=cast(Any, "5"))
    assert not Path("exports").exists()


def test_an_export_takes_a_trial_its_number_or_a_choice(study: yr.Study) -> None:
    quick: dict[str, Any] = {"check": False, "measure": False, "precision": "fp16"}
    numbers = [
        study.export(study.trial(1), "by-trial", **quick),
        study.export(1, "by-number", **quick),
        study.export(out="best", best=True, **quick),
        study.export(out="within", max_latency=999, **quick),
    ]
    best = study.best().number
    found = [json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["trial"] for folder in numbers]
    assert found == [1, 1, best, best]
    assert all((folder / "model-fp16.onnx").is_file() for folder in numbers)  # a word alone is one word


def test_the_version_is_the_distribution_s() -> None:
    assert yr.__version__ == importlib.metadata.version("yoloret-nas")


def test_a_notebook_shows_text_as_text(study: yr.Study) -> None:
    study._opened = dataclasses.replace(study._opened, dataset="<img src=x>")
    assert "<img" not in study._repr_html_()
    assert "&lt;img src=x&gt;" in study._repr_html_()


def test_what_is_no_image_is_named(study: yr.Study) -> None:
    detector = yr.load("real:0", dir=study.dir)
    with pytest.raises(OptionError, match=r"float32 and shape \(3, 8, 8\) is no image"):
        detector.predict(cast(Any, np.zeros((3, 8, 8), np.float32)))
    with pytest.raises(yr.YoloRetError, match=r"absent\.png"):
        detector.predict("absent.png")


def test_a_path_is_a_path_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def stop(options: Any, **_: object) -> NoReturn:
        asked.append(options.data)
        raise KeyboardInterrupt

    monkeypatch.setattr("yoloret_nas.api.search.plan_search", stop)
    monkeypatch.setattr("yoloret_nas.api.train.train_network", lambda network, *, options, **_: stop(options))
    for name in ("voc", "shapes"):
        Path(name).mkdir()
        for data in (name, Path(name)):
            for begin in (lambda data: yr.search(data=data), lambda data: yr.train(TINY, data=data)):
                with pytest.raises(KeyboardInterrupt):
                    begin(data)
    assert asked == ["voc", "voc", "./voc", "./voc", "shapes", "shapes", "./shapes", "./shapes"]
    assert _to_options({"data": Path("voc")}).data == "./voc"
