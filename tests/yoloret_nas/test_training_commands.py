"""The commands that train and compare named networks, on real trainings of a few seconds."""

import csv
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from search.reports.experiment import Row
from search.study.errors import StudyError
from search.study.experiment import ExperimentSettings, Variant, open_experiment, read_experiment
from search.study.kept_weights import WEIGHTS
from search.study.read_study import EXPERIMENT_FILE, read_study
from spaces.paper_experiments import necks
from tests.search.driver.scripted import ScriptedExecutor, fail_with
from tests.yoloret_nas.conftest import SHAPES, Call, InlineExecutor, RealStudy
from trials.training import TrainSettings
from yoloret_nas.api.experiment import to_settings
from yoloret_nas.options.training import TrainingOptions
from yoloret_nas.terminal.experiment_table import print_rows

TINY = {"backbone": "mobilenetv3_small_050", "truncation": 9, "head": "plain", "head_width": 32, "input_size": 64}
QUICK = ("--data", SHAPES, "--epochs", "1", "--batch-size", "8")


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings run in this process, and leave the number of threads as it is."""
    threads = torch.get_num_threads()
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: InlineExecutor())
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    torch.set_num_threads(threads)


@pytest.fixture
def tiny() -> Path:
    path = Path("tiny.yaml")
    path.write_text(json.dumps(TINY))
    return path


def test_train_eval_export_predict_and_compare_one_network(call: Call, inline: None, tiny: Path) -> None:
    trained = call("train", tiny, *QUICK, "--name", "first")
    assert trained.code == 0, trained.said
    assert re.search(r"training 0: epoch 1/1  loss \d+\.\d+  AP \d\.\d+  AP50", trained.out)
    ap = re.search(r"^AP (\d\.\d{4}), AP50 (\d\.\d{4}), (\d+\.\d+) ms", trained.out, re.MULTILINE)
    assert ap is not None
    assert "next: yoloret-nas export --study first --trial 0" in trained.out
    again = call("train", tiny, *QUICK, "--name", "first")
    assert again.code == 0
    assert "resuming: 1 training is finished" in again.out
    assert ap[0] in again.out  # nothing was trained anew

    evaluated = call("eval", "first:0", "--data", SHAPES)
    assert f"AP {ap[1]}, AP50 {ap[2]}" in evaluated.out
    assert "AP by COCO's sizes of objects (limits 32² and 96² pixels of the image): small 0." in evaluated.out
    document = json.loads(call("eval", "first", "--data", SHAPES, "--json").out)
    assert list(document["per_size_ap"]) == ["small", "medium"]
    assert f"{document['ap']:.4f}" == ap[1]

    exported = call("export", "--study", "first", "--out", "out")
    assert exported.code == 0, exported.said
    compared = call("compare", "first:0", "out", "yoloret-m0.75", "--out", "table.csv", "--classes", "4")
    assert compared.code == 0, compared.said
    with Path("table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["first:0", "out", "yoloret-m0.75"]
    assert [f"{float(row['AP']):.4f}" if row["AP"] else "" for row in rows] == [ap[1], ap[1], ""]
    assert float(rows[2]["MACs M"]) > 10 * float(rows[0]["MACs M"])
    assert all(float(row["ms on cpu"]) > 0 for row in rows)


def test_a_trial_whose_weights_are_not_kept_is_compared_by_its_record(call: Call, copied_study: RealStudy) -> None:
    for name in WEIGHTS:
        (copied_study.root / "real/trials/0001" / name).unlink()
    words = ("compare", "real:0", "real:1", "--dir", copied_study.root, "--device", "cpu:threads=1", "--json")
    called = call(*words)
    assert called.code == 0, called.said
    rows = json.loads(called.out)
    records = {one.number: one for one in read_study(copied_study.root, "real").summary.records}
    assert [row["AP"] for row in rows] == [records[number].result.ap for number in (0, 1)]
    assert [round(row["params M"] * 1e6) for row in rows] == [records[number].result.params for number in (0, 1)]
    scored = call(*words, "--data", SHAPES)
    assert f"real:1 is not scored on {SHAPES}: its weights are not kept" in scored.err
    assert json.loads(scored.out)[1]["AP"] is None


def test_an_experiment_s_table_and_picture(call: Call, inline: None) -> None:
    call_of = ("ablation", "--backbone", "mobilenetv3_small_050", "--of", "necks", "--input-size", "64")
    done = call(*call_of, "--weights", "random", *QUICK, "--name", "necks")
    assert done.code == 0, done.said
    with Path("runs/necks/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["no neck", "FPN", "PAN", "BiFPN", "RFCR", "RFCR + PAN"]
    assert all(re.search(rf"^{re.escape(row['label'])} ", done.out, re.MULTILINE) for row in rows)
    assert Path("runs/necks/results.png").read_bytes()[:4] == b"\x89PNG"


def test_truncation_against_width_names_both_backbones(call: Call, inline: None) -> None:
    backbones = ("--backbone", "mobilenetv3_small_050", "--wide", "mobilenetv3_small_100")
    flags = ("--input-size", "64", "--weights", "random", *QUICK, "--name", "lengths")
    done = call("ablation", "--of", "truncation", *backbones, *flags)
    assert done.code == 0, done.said
    with Path("runs/lengths/results.csv").open() as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert len(labels) == len(set(labels)) == 6
    assert sum(label.startswith("mobilenetv3_small_100[:") for label in labels) == 3
    assert all(re.search(rf"^{re.escape(label)} +0\.", done.out, re.MULTILINE) for label in labels)
    assert Path("runs/lengths/results.png").read_bytes()[:4] == b"\x89PNG"


def test_a_label_does_not_come_to_stand_for_another_network(call: Call) -> None:
    settings = ExperimentSettings(
        name="necks", dataset="shapes", device="cpu", train=TrainSettings(), root=Path("runs")
    )
    begun = necks("mobilenetv3_small_050", input_size=64)
    Path("runs/necks").mkdir(parents=True)
    open_experiment(settings, [Variant(label=label, architecture=one, seed=0) for label, one in begun.items()])
    before = Path("runs/necks/experiment.json").read_text()
    call_of = (
        "ablation",
        "--of",
        "necks",
        "--backbone",
        "mobilenetv3_small_050",
        "--weights",
        "random",
        "--data",
        "shapes",
    )
    refused = call(*call_of, "--input-size", "96", "--name", "necks")
    assert refused.code == 2
    assert "in 'necks' 'no neck' is another network: transfer was 10, is 0; input_size was 64, is 96" in refused.said
    assert Path("runs/necks/experiment.json").read_text() == before


def test_an_experiment_that_began_without_weights_says_how_to_go_on_once_they_can_be_had(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ExperimentSettings(
        name="necks", dataset="shapes", device="cpu", train=TrainSettings(), root=Path("runs")
    )
    begun = necks("mobilenetv3_small_050", input_size=64)
    Path("runs/necks").mkdir(parents=True)
    open_experiment(
        settings, [Variant(label=label, architecture=one.replace(transfer=0)) for label, one in begun.items()]
    )
    monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone: "")
    necks_again = "ablation --of necks --backbone mobilenetv3_small_050 --data shapes --input-size 64 --name necks"
    refused = call(*necks_again.split())
    assert refused.code == 2
    assert "transfer was 0, is 10" in refused.said
    assert "it began without ImageNet weights: resume it so with --weights random" in refused.said
    refused = call(*necks_again.replace("mobilenetv3_small_050", "mobilenetv2_050").split())
    assert refused.code == 2
    assert "in 'necks' 'no neck' is another network: backbone was mobilenetv3_small_050" in refused.said


@pytest.mark.parametrize(
    ("flags", "name"),
    [(("--of", "steps"), "draw_steps"), (("--of", "truncation", "--wide", "mobilenetv3_small_100"), "draw_trade_off")],
)
def test_steps_are_drawn_as_bars_and_lengths_over_latency(
    call: Call, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], name: str
) -> None:
    drawn = []
    monkeypatch.setattr(
        "yoloret_nas.api.experiment.compare_variants", lambda *_, draw, **__: drawn.append(draw.__name__)
    )
    backbone = ("--backbone", "mobilenetv3_small_050", "--weights", "random", "--input-size", "64")
    assert call("ablation", *backbone, *flags, "--data", "shapes").code == 0
    assert drawn == [name]


def test_backbones_of_which_some_have_no_weights_are_not_compared(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library has read its environment by now.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty cache"))
    Path("weights").mkdir()
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), "weights/mobilenetv3_small_050.pth")
    backbones = ("--backbone", "mobilenetv3_small_050", "--wide", "mobilenetv3_small_100", "--weights-dir", "weights")
    refused = call("ablation", "--of", "truncation", *backbones, "--data", "shapes", "--input-size", "64")
    assert refused.code == 1
    assert (
        "mobilenetv3_small_100 would start from random weights and mobilenetv3_small_050 from ImageNet" in refused.said
    )
    assert "not in the cache, and the hub is unreachable: HF_HUB_OFFLINE is set" in refused.said
    assert not Path("runs").exists()


def test_a_label_without_a_complete_training_is_named_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row(label="whole", ap=(0.5,), ap50=(0.7,), latency_ms=4.0, macs=1_000_000, params=1_000)
    print_rows([row], ("cut to some length", "whole"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("whole                0.5000")
    assert lines[2] == "cut to some length no complete training, so it is not in the files"


def test_a_transfer_curve_starts_from_the_weights_it_is_given(call: Call, inline: None) -> None:
    Path("weights").mkdir()
    model = timm.create_model("mobilenetv3_small_050")
    torch.save(model.state_dict(), "weights/mobilenetv3_small_050.pth")
    flags = ("--backbone", "mobilenetv3_small_050", "--blocks", "0,12", "--input-size", "64", "--seeds", "2")
    done = call("transfer-curve", *flags, "--weights-dir", "weights", *QUICK, "--name", "curve")
    assert done.code == 0, done.said
    with Path("runs/curve/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["seeds"]) for row in rows] == [("0 of 12", "2"), ("12 of 12", "2")]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("train nothing --data shapes", 2, "'nothing' names no network"),
        ("train yoloret-m0.75 --data nowhere", 2, "'nowhere' does not exist"),
        ("train yoloret-m0.75 --weights random --name ../up", 2, "study name '../up' cannot name a folder"),
        ("train yoloret-m0.75 --weights random --input-size 100", 2, "input_size 100 is not a multiple"),
        ("eval yoloret-m0.75 --data shapes", 2, "yoloret-m0.75 has no trained weights: it is only an architecture"),
        ("eval nothing:3 --data shapes", 2, "'nothing:3' names no network"),
        ("compare nothing", 2, "'nothing' names no network"),
        ("compare yoloret-m0.75 --split test", 2, "--split is about the images of --data; add --data"),
        ("compare yoloret-m0.75 --skip-broken", 2, "--skip-broken is about the images of --data; add --data"),
        ("ablation --backbone abacus", 2, "backbone 'abacus' is unknown"),
        ("ablation --of truncation", 2, "name a wider backbone than mobilenetv2_075"),
        ("ablation --of truncation --wide mobilenetv2_075", 2, "name a wider backbone than mobilenetv2_075"),
        ("ablation --of truncation --wide abacus", 2, "backbone 'abacus' is unknown"),
        ("ablation --of truncation --wide mobilenetv2_050", 2, "mobilenetv2_050 is not wider than mobilenetv2_075"),
        ("ablation --wide mobilenetv2_100", 2, "'mobilenetv2_100' is for --of truncation, not for --of steps"),
        ("transfer-curve --blocks 1,x", 2, "'1,x' is not a list of whole numbers"),
        ("transfer-curve --weights random", 2, "without ImageNet weights there is no curve"),
    ],
)
def test_bad_input_is_one_clear_message(call: Call, arguments: str, code: int, message: str) -> None:
    called = call(*arguments.split())
    assert called.code == code, called.said
    assert message in called.said
    assert "Traceback" not in called.said


def test_weights_asked_for_by_name_must_be_had_and_others_may_be_missed(
    call: Call, inline: None, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone: "the hub is out of reach")
    refused = call("train", tiny, *QUICK, "--weights", "imagenet")
    assert refused.code == 1
    assert "the hub is out of reach" in refused.said
    tiny.write_text(json.dumps({**TINY, "transfer": 9}))
    done = call("train", tiny, *QUICK)
    assert done.code == 0
    assert "note: starting from random weights: the hub is out of reach" in done.said


def test_field_data_is_scored_by_its_classes_names(call: Call, real_study: RealStudy) -> None:
    """It has a test split alone, and one of the network's classes."""
    Path("field/test").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save("field/test/a.png")
    Path("field/test/a.txt").write_text("0 0.5 0.5 0.5 0.5")
    words = ("eval", "real:0", "--dir", real_study.root, "--data", "field", "--split", "test")
    for name, code, said in (
        ("triangle", 0, "triangle: AP 0."),
        ("star", 2, "does not know 1 class of field: 'star'; it knows"),
    ):
        Path("field/data.yaml").write_text(f"test: test\nnames: [{name}]")
        called = call(*words)
        assert (called.code, said in called.said) == (code, True), called.said
    assert "no split 'val', only test" in call(*words[:-2]).said
    refused = call("data", "field")
    assert refused.code == 2
    assert "no training split; found test" in refused.said


@pytest.fixture
def field() -> Callable[..., Path]:
    """Writes a dataset of triangles: each split's images, with the text of their labels."""

    def write(**splits: Sequence[str]) -> Path:
        for split, labels in splits.items():
            Path("field", split).mkdir(parents=True)
            for number, text in enumerate(labels):
                Image.new("RGB", (64, 64), (number, 0, 0)).save(f"field/{split}/{number}.png")
                Path(f"field/{split}/{number}.txt").write_text(text)
        places = "".join(f"{split}: {split}\n" for split in splits)
        Path("field/data.yaml").write_text(f"{places}names: [triangle]")
        return Path("field")

    return write


TRIANGLE = "0 0.5 0.5 0.5 0.5"


def test_what_is_scored_of_the_data_is_told(
    call: Call, real_study: RealStudy, tiny: Path, field: Callable[..., Path]
) -> None:
    words = ("--dir", real_study.root, "--data", field(train=[TRIANGLE] * 7))
    note = "note: no validation split: 1 of 7 training images set apart for it\n"
    called = call("eval", "real:0", *words)
    assert called.code == 0, called.said
    assert called.err.count(note) == 1
    assert "real:0 on field, val (1 image): AP 0." in called.out
    called = call("eval", "real:0", *words, "--json")
    assert json.loads(called.out)["num_images"] == 1
    assert called.err.count(note) == 1
    called = call("compare", "real:0", "real:1", tiny, *words, "--json", "--device", "cpu:threads=1")
    assert [row["images"] for row in json.loads(called.out)] == [1, 1, None]
    assert called.err.count(note) == 1


def test_images_that_fit_the_network_s_input_badly_are_told(
    call: Call, real_study: RealStudy, field: Callable[..., Path]
) -> None:
    data = field(val=[TRIANGLE] * 4)
    words = ("eval", "real:0", "--dir", real_study.root, "--data", data)
    note = "over half of the network's input, 64 px, to the margins"
    assert note not in call(*words).said
    for shapes, told in (
        ([(192, 64), (64, 64)], f"note: 2 images leave {note}: yoloret-nas train … --aspect 16:9 suits them better"),
        ([(192, 64), (64, 192)], f"note: 4 images leave {note}: cut them into tiles"),
    ):
        for number in range(4):
            Image.new("RGB", shapes[number % 2], (number, 0, 0)).save(data / f"val/{number}.png")
        assert told in call(*words).err


def test_broken_images_of_a_scored_test_split_stop_or_are_told(
    call: Call, real_study: RealStudy, field: Callable[..., Path]
) -> None:
    data = field(train=[TRIANGLE], val=[TRIANGLE], test=[TRIANGLE, TRIANGLE, "0 9 9 9"])
    for command in ("eval", "compare"):
        words = (command, "real:0", "--dir", real_study.root, "--data", data, "--split", "test")
        refused = call(*words)
        assert refused.code == 2
        assert "test/2.txt: line 1: holds 3 numbers after the class" in refused.said
        called = call(*words, "--skip-broken", "--json")
        assert called.code == 0, called.said
        assert "note: left out: test/2.txt: line 1: holds 3 numbers after the class" in called.err
        found = json.loads(called.out)
        assert (found["num_images"] if command == "eval" else found[0]["images"]) == 2


def test_a_split_without_objects_has_no_score(call: Call, real_study: RealStudy, field: Callable[..., Path]) -> None:
    words = (
        "eval",
        "real:0",
        "--dir",
        real_study.root,
        "--data",
        field(train=[TRIANGLE], val=[""], test=[""]),
        "--json",
    )
    refused = call(*words)
    assert (refused.code, refused.out) == (2, "")
    assert "field: its val split has 1 image and no object to find" in refused.said
    refused = call(*words, "--split", "test")
    assert (refused.code, refused.out) == (2, "")
    assert "note: the test split is left out: 1 image, no objects" in refused.said


def test_a_search_cannot_be_continued_as_a_training(call: Call, tiny: Path, real_study: RealStudy) -> None:
    called = call("train", tiny, *QUICK, "--name", "real", "--dir", real_study.root)
    assert called.code == 2
    assert "belongs to a search" in called.said


def test_a_search_ends_with_full_trainings_of_its_front(call: Call, inline: None, copied_study: RealStudy) -> None:
    """The search's own command, its budget spent, goes on with the refit, and later finds that done too."""
    flags = f"--budget 2 --data {SHAPES} --epochs 1 --space {copied_study.space} --max-latency 999 --study real"
    words = ("search", *flags.split(), "--refit", "2", "--repeats", "2", "--dir", copied_study.root)
    called = call(*words)
    assert called.code == 0, called.said
    members = len(read_study(copied_study.root, "real").summary.front)
    assert re.search(
        rf"refit: {members} trials? of the front and \d within 0.02 AP of it, .* of training in total", called.out
    )
    assert "full trainings of real-refit-2" in called.out
    experiment = read_experiment(copied_study.root, "real-refit-2")
    assert experiment is not None
    refitted = experiment.summary.records
    assert {record.result.epochs for record in refitted} == {2}
    measured = {record.architecture for record in refitted if not record.result.is_latency_cached}
    assert measured == {record.architecture for record in refitted}  # anew, once for all seeds
    for name in ("front.png", "front.csv", "front.html"):
        assert (copied_study.root / "real-refit-2" / name).is_file()

    path = copied_study.root / "real-refit-2" / EXPERIMENT_FILE
    book = json.loads(path.read_text(encoding="utf-8"))
    book["settings"]["train"]["weight_decay"] = 0.01  # as a version had it whose recipe was another one
    path.write_text(json.dumps(book), encoding="utf-8")
    again = call(*words)
    assert again.code == 0, again.said
    assert f"resuming: {len(refitted)} trainings are finished" in again.out
    assert "2 epochs each, then up to 2 repeats: all are finished" in again.out
    exported = call("export", "--study", "real-refit-2", "--dir", copied_study.root, "--out", "final")
    assert exported.code == 0, exported.said
    metrics = json.loads(Path("final/metrics.json").read_text(encoding="utf-8"))
    card = Path("final/README.md").read_text(encoding="utf-8")
    assert card.startswith(f"# real, trial {metrics['retrains']['trial']}, trained again for 2 epochs\n")
    short = ("export", "--study", "real", "--trial", str(metrics["retrains"]["trial"]), "--no-check", "--no-measure")
    noted = call(*short, "--out", "short", "--dir", copied_study.root)
    assert noted.code == 0, noted.said
    again_it = re.search(r"trained again for longer, to AP [0-9.]+: yoloret-nas (export .*)", noted.out)
    assert again_it is not None
    followed = call(*shlex.split(again_it[1]), "--no-check", "--no-measure", "--out", "followed")
    assert followed.code == 0, followed.said
    told = json.loads(Path("followed/metrics.json").read_text(encoding="utf-8"))
    assert told["retrains"]["trial"] == metrics["retrains"]["trial"]
    repeats = [one.result.ap for one in refitted if one.architecture.key == metrics["architecture"]]
    assert len(repeats) == 2
    assert metrics["ap_estimate"] == pytest.approx(np.mean(repeats))
    assert metrics["ap_std"] > 0
    assert f"estimated {metrics['ap_estimate']:.3f} ± {metrics['ap_std']:.3f}" in exported.out
    report = call("report", "real", "--dir", copied_study.root)
    assert "full trainings of real-refit-2" in report.out
    assert "where the work went: training kept" in report.out


def test_full_trainings_that_all_fail_fail_the_command(
    call: Call, copied_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = ScriptedExecutor(scripts={0: fail_with("memory ran out"), 1: fail_with("the loss is nan")})
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: executor)
    flags = f"--budget 2 --data {SHAPES} --epochs 1 --space {copied_study.space} --max-latency 999 --study real"
    called = call("search", *flags.split(), "--refit", "2", "--dir", copied_study.root)
    assert called.code == 1, called.said
    assert "no training of real-refit-2 is complete; the same command trains them again" in called.said
    assert "export --study real-refit-2" not in called.said


def test_an_experiment_without_a_complete_training_fails(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ScriptedExecutor(scripts={0: fail_with("memory ran out"), 1: fail_with("the loss is nan")})
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: executor)
    monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone: "")
    flags = ("--backbone", "mobilenetv3_small_050", "--blocks", "0,12", "--input-size", "64", "--seeds", "1")
    called = call("transfer-curve", *flags, *QUICK, "--name", "curve")
    assert called.code == 1, called.said
    assert "2 of 2 trainings failed; the same command trains them again" in called.err
    assert "no training of curve is complete" in called.err
    assert "again; the first failed with: memory ran out" in called.err


def test_an_experiment_of_which_some_trainings_fail_shows_the_others_and_fails(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = ScriptedExecutor(scripts={1: fail_with("memory ran out")})
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: executor)
    monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone: "")
    flags = ("--backbone", "mobilenetv3_small_050", "--blocks", "0,12", "--input-size", "64", "--seeds", "1")
    called = call("transfer-curve", *flags, *QUICK, "--name", "curve")
    assert called.code == 1, called.said
    assert "1 of 2 trainings failed; the same command trains them again; the first failed with: memory" in called.err
    assert re.search(r"^0 of 12 +0\.", called.out, re.MULTILINE)
    assert "12 of 12 " in called.out
    assert "wrote runs/curve/results.csv and results.png" in called.out


@pytest.mark.parametrize("command", ["train tiny.yaml", "ablation", "transfer-curve"])
@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [("--device", "abacus", "device 'abacus' is unknown"), ("--dir", "file/runs", "cannot write to file/runs: Not a")],
)
def test_a_training_that_cannot_be_is_refused_before_its_data_are_fetched(
    call: Call, tiny: Path, monkeypatch: pytest.MonkeyPatch, command: str, flag: str, value: str, message: str
) -> None:
    monkeypatch.setattr("yoloret_nas.api.experiment.fetch_data", lambda *_: pytest.fail("too late"))
    monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone: "")
    Path("file").touch()
    backbone = () if command.startswith("train ") else ("--backbone", "mobilenetv3_small_050", "--input-size", "64")
    called = call(*command.split(), *backbone, "--data", "voc", flag, value)
    assert (called.code, message in called.said) == (2, True), called.said


def test_weights_that_nothing_starts_from_are_not_used_in_silence(
    call: Call, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloret_nas.api.experiment.why_unavailable", lambda backbone: "")
    Path("weights").mkdir()
    words = ("--weights-dir", "weights", "--data", "shapes", "--device", "abacus")
    said = "note: --weights-dir is not used: the training starts from random weights"
    assert said in call("train", tiny, *words).out
    assert said in call("train", "yoloret-m0.75", *words, "--weights", "random").out
    assert "not used" not in call("train", "yoloret-m0.75", *words).out


def test_help_names_each_command_s_own_defaults(call: Call) -> None:
    said = {name: call(name, "--help").said for name in ("train", "ablation", "transfer-curve")}
    assert "Longer side, pixels. [default: the network's own]" in said["train"]
    assert all("Longer side, pixels. [default: 320]" in said[name] for name in ("ablation", "transfer-curve"))
    assert "auto takes ImageNet's for all kept blocks" in said["ablation"]
    assert "ImageNet's, which must be available; random is refused" in said["transfer-curve"]


def test_the_project_s_line_about_broken_items_is_no_option_of_data_that_is_missing(call: Call) -> None:
    Path("yoloret-nas.yaml").write_text("skip_broken: true\n")
    assert "'nothing' names no network" in call("compare", "nothing").said


def test_trainings_that_an_earlier_version_began_go_on_with_its_recipe(tmp_path: Path) -> None:
    options = TrainingOptions(
        data=SHAPES,
        device="cpu",
        recipe="modern",
        epochs=20,
        batch_size=None,
        input_size=None,
        aspect=None,
        weights="random",
        weights_dir=None,
        precision="fp32",
        skip_broken=False,
        accept_changed_data=False,
        root=tmp_path,
    )
    settings = to_settings("old", options)
    assert settings.train.calm_epochs > 0
    old = replace(settings, train=replace(settings.train, calm_epochs=0, weight_decay=0.01))
    (tmp_path / "old").mkdir()
    id, _ = open_experiment(old, [])
    path = tmp_path / "old" / EXPERIMENT_FILE
    book = json.loads(path.read_text())
    del book["settings"]["train"]["calm_epochs"]  # it had none
    path.write_text(json.dumps(book))
    again = to_settings("old", options)
    assert again == old
    assert open_experiment(again, [])[0] == id
    with pytest.raises(StudyError, match=r"calm_epochs was 0, is \d+"):
        open_experiment(settings, [])
