"""What is typed and what it gives: exit codes, messages, files."""

import ast
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import click
import mlflow.pyfunc
import numpy as np
import onnxruntime
import optuna
import pytest
import torch
from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request
from PIL import Image

from search.driver.driver import RunResult
from search.front.pareto import Reference
from search.front.summary import Summary
from search.study.database.storage import open_storage
from search.study.lock import driver_lock
from search.study.read_study import read_study, study_names
from search.study.settings import Keep, SamplerName
from search.tracking.location import store_path
from search.tracking.runs import TRIAL_TAG
from search.tracking.store import admitted, open_client
from spaces import Architecture, YoloRetError
from spaces.named_spaces import SPACES, open_space
from spaces.networks import build_network
from spaces.space_file import read_space
from tests.search import records as finished
from tests.search.driver.scripted import FEW, ScriptedExecutor, fail_with
from tests.yoloret_nas.conftest import SHAPES, SPACE_YAML, Call, RealStudy
from trials.data import DatasetError, open_dataset
from trials.data.known_datasets import KNOWN
from trials.latency import DeviceAwayError, DeviceIdentity
from trials.latency.compatibility import Judge, Report
from trials.onnx import TensorRTVersion, run, tensorrt_version
from trials.onnx.decoded import Decoded
from trials.processes import identify
from trials.scoring import Scores
from trials.scratch import scratch_prefix
from trials.training import CHECKPOINT_FILE, RECIPES, RecipeName, read_checkpoint
from yoloret_nas.api.preconditions import check_writable
from yoloret_nas.cli import COMMANDS, EXAMPLES, cli
from yoloret_nas.commands.search import _where_time_went, _why_exhausted
from yoloret_nas.commands.ui import _reached_as, _serve
from yoloret_nas.export import proof
from yoloret_nas.export.bundle import BundleError, new_bundle
from yoloret_nas.export.precisions import PRECISIONS, check_int8
from yoloret_nas.export.proof import Tolerance
from yoloret_nas.options import choices
from yoloret_nas.options.networks import FORMS, TRAINED_FORMS
from yoloret_nas.options.search import study_name
from yoloret_nas.project_file import TEMPLATE, defaults_of, parameters_of, read_project_file
from yoloret_nas.terminal.colour import coloured

HOME = Path(__file__).parents[2]
HEAVY = ("torch", "mlflow", "lightning", "optuna", "timm", "onnx", "onnxruntime", "numpy", "matplotlib", "cv2", "PIL")


def write_yolo(folder: Path, *, label: str = "0 0.5 0.5 0.5 0.5\n", val_images: int = 1) -> Path:
    """Write a YOLO folder of three grey images and one class."""
    for split, count in (("train", 2), ("val", val_images)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (32, 32), "grey").save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(label)
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [thing]\n")
    return folder


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> ScriptedExecutor:
    """Every search of the test plays its trials."""
    executor = ScriptedExecutor()
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: executor)
    return executor


@pytest.fixture
def stores(call: Call, empty_stores: Path) -> Path:
    """The folder of studies where `yoloret-nas` is called, with empty stores in it."""
    Path("runs").mkdir()
    for name in ("optuna.db", "mlflow.db"):
        shutil.copyfile(empty_stores / name, Path("runs") / name)
    return Path("runs")


def assert_refused(called: Any, code: int, message: str) -> None:
    """Hold a refusal to the bar: its exit code, one clear message, no traceback."""
    assert called.code == code, called.said
    assert len(re.findall(message, called.said)) == 1, called.said
    assert "Traceback" not in called.said
    assert "bug in yoloret-nas" not in called.said


# --- fast answers -------------------------------------------------------------------------------------------------


def test_help_and_bad_usage_import_nothing_heavy(tmp_path: Path) -> None:
    cases = [
        (["--help"], 0),
        (["--version"], 0),
        *(([command, "--help"], 0) for command in COMMANDS),
        (["serch"], 2),
        (["--nonsense"], 2),
        (["search", "--nonsense"], 2),
        (["search", "--budget", "many"], 2),
        (["search", "--budget", "-3"], 2),
        (["search", "--sampler", "dice"], 2),
        (["search", "--max-latency", "soon"], 2),
        (["search", "--data", "nowhere"], 2),
        (["search", "--space", "nowhere"], 2),
        (["export"], 2),
        (["export", "--study", "x", "--trial", "1", "--best"], 2),
        (["predict", "nowhere", "image.jpg"], 2),
        (["ui", "--port", "0"], 2),
        (["ui", "--dir", "nowhere"], 2),
        (["init"], 0),
        (["init"], 2),
    ]
    script = f"""
import sys
from yoloret_nas.cli import main
codes = []
for arguments in {[arguments for arguments, _ in cases]!r}:
    sys.argv = ["yoloret-nas", *arguments]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code)
    heavy = sorted(set({HEAVY!r}) & set(sys.modules))
    assert not heavy, f"{{arguments}} imported {{heavy}}"
print("codes", codes)
"""
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    codes = ast.literal_eval(done.stdout.rpartition("codes ")[2])
    assert [(arguments, code) for (arguments, _), code in zip(cases, codes, strict=True)] == cases
    assert "Traceback" not in done.stderr


def test_names_offered_before_their_tables_are_imported_are_the_tables() -> None:
    assert tuple(SPACES) == choices.SPACES
    assert get_args(SamplerName) == choices.SAMPLERS
    assert get_args(Keep) == choices.KEPT
    assert tuple(RECIPES) == get_args(RecipeName) == choices.RECIPES
    assert {name: recipe().epochs for name, recipe in RECIPES.items()} == choices.RECIPE_EPOCHS
    assert CHECKPOINT_FILE in TRAINED_FORMS
    modules = {path.stem for path in (HOME / "yoloret_nas" / "commands").glob("*.py")} - {"__init__"}
    assert {command.replace("-", "_") for command in COMMANDS} == modules
    assert tuple(KNOWN) == choices.KNOWN_DATASETS


def test_help_names_every_command_and_where_to_start(call: Call) -> None:
    called = call("--help")
    assert called.code == 0
    assert all(command in called.out for command in COMMANDS)
    assert "yoloret-nas search --budget 50" in called.out


@pytest.mark.parametrize("name", ["train", "latency", "compare", "eval", "predict"])
def test_help_says_in_the_same_words_what_names_a_network(call: Call, name: str) -> None:
    forms = TRAINED_FORMS if name in ("eval", "predict") else FORMS
    assert forms in call(name, "--help").said.replace("- ", "-")  # a line may end at a hyphen


@pytest.mark.parametrize("name", ["search", "trials", "spaces"])
def test_another_distribution_s_package_of_our_name_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    script = f"import sys; sys.path[:0] = [{str(HOME)!r}]; from yoloret_nas.cli import main; " + (
        f"sys.path[:0] = [{str(tmp_path)!r}]; sys.argv = ['yoloret-nas', 'space']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert f"the package '{name}' is not yoloret-nas's own: found {tmp_path}" in done.stderr
    assert "in its own environment" in done.stderr
    assert "Traceback" not in done.stderr


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("search --data nowhere", 2, "'nowhere' does not exist"),
        ("search --data shapes:train=0", 2, "shapes: num_train is 0, not from 1"),
        ("search --data shapes:colour=3", 2, "'colour=3' is not key=number"),
        ("search --budget -1", 2, "-1 is not in the range x>=1"),
        ("search --epochs 0", 2, "0 is not in the range x>=1"),
        ("search --max-latency 33min", 2, "'33min' is not a latency; use 33ms"),
        ("search --max-latency 0ms", 2, "'0ms' is not a latency"),
        ("search --space no.yaml", 2, "'no.yaml' is none of paper, nano, lite, tiny, and no file"),
        ("search --study ../up", 2, "study name '../up' cannot name a folder"),
        ("search --cluster ray://", 2, "is none of local, auto, ray://HOST:PORT"),
        ("search --cluster ray://127.0.0.1:10001/", 2, "is none of local, auto, ray://HOST:PORT"),
        *(
            (
                f"search --cluster local --cpus-per-trial {cpus}",
                2,
                "it must be a whole number, or 0.01 to 1 to share a core",
            )
            for cpus in ("inf", "nan", "0", "-1", "1.5", "1e-9", "1e9")
        ),
        ("search --cluster local --gpus-per-trial 1e-9", 2, "--gpus-per-trial is 1e-09; it must be 0, or 0.01 to 1"),
        ("search --inherit --one-shot", 2, "trials start from shared weights or from each other's"),
        ("search --one-shot", 2, "space 'tiny' has 5 backbones, and weights are shared within one only"),
        ("search --inherit --keep front", 2, "inherit takes the weights of any trial, so keep must be all"),
        ("search --device abacus", 2, "device 'abacus' is unknown"),
        ("search --device cpu:threads=99999", 2, "99999 threads requested"),
        ("search --also-measure abacus", 2, "device 'abacus' is unknown"),
        ("export --study none", 2, "no study 'none' in runs"),
        ("search --data voc --prior later", 2, "no study 'later' in runs"),  # before anything is fetched
        ("search --prior none --prior later", 2, "prior is none and later"),
        ("search --prior later --prior none", 2, "prior is none and later"),
        ("search --study none", 2, "a study cannot be named 'none', which --prior takes for a word"),
        ("search --study built-in", 2, "a study cannot be named 'built-in', which --prior takes for a word"),
        ("predict . x.jpg", 2, "'x.jpg' does not exist"),
        ("ui", 2, "error: there is no study in runs yet hint: begin one with: yoloret-nas search"),
        ("space no.yaml", 2, "space 'no.yaml' is neither a known name nor a file"),
        ("data nowhere", 2, "dataset 'nowhere' does not exist"),
    ],
)
def test_bad_input_is_one_clear_message(
    call: Call, played: ScriptedExecutor, arguments: str, code: int, message: str
) -> None:
    assert_refused(call(*arguments.split()), code, re.escape(message))
    assert played.started == []


@pytest.mark.parametrize(("command", "word"), [("search --data secret", "data"), ("data secret", "dataset")])
def test_data_that_this_user_may_not_read_are_named(
    call: Call, played: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch, command: str, word: str
) -> None:
    def refusing(ask: Callable[[Path], bool]) -> Callable[[Path], bool]:
        def refuse(path: Path) -> bool:
            if path.name == "secret":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return ask(path)

        return refuse

    for question in (Path.exists, Path.is_dir):
        monkeypatch.setattr(Path, question.__name__, refusing(question))
    assert_refused(call(*command.split()), 2, f"{word} 'secret' cannot be read: Permission denied")
    assert played.started == []


def test_a_search_from_python_leaves_no_temporary_file_and_prints_on_any_terminal(tmp_path: Path) -> None:
    program = (
        "import tempfile\n"
        "from yoloret_nas.api import search_plan\n"
        "from yoloret_nas.terminal.console import open_console\n"
        "open_console().print('★')\n"
        "search_plan._announce = search_plan.check_priors = lambda *_: None\n"
        "def fetch_data(*_):\n"
        "    print(tempfile.gettempdir())\n"
        "    raise SystemExit\n"
        "search_plan.fetch_data = fetch_data\n"
        "from types import SimpleNamespace\n"
        "plan = SimpleNamespace(settings=SimpleNamespace(dataset='shapes'))\n"
        "search_plan.run_plan(plan, open_console())\n"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(HOME), "TMPDIR": str(tmp_path)}
    called = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert called.returncode == 0, called.stderr
    star, folder = called.stdout.splitlines()
    assert star == "\\u2605"
    assert Path(folder).name.startswith("yoloret-nas-")


def test_a_killed_search_leaves_no_temporary_file_of_a_library(
    call: Call, played: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All lie in the search's own folder, which the next one deletes."""
    seen: list[str] = []
    monkeypatch.setattr("yoloret_nas.api.search_plan.fetch_data", lambda *_: seen.append(tempfile.gettempdir()))
    before = tempfile.gettempdir()
    assert call("search", "--budget", "1").code == 0
    assert [Path(one).parent == Path(before) and "yoloret-nas-" in one for one in seen] == [True]
    assert tempfile.gettempdir() == before


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--refit", "0"), "--refit 0"), ((), "generated data are not retrained by default")],
)
def test_repeats_of_no_retraining_are_refused(
    call: Call, played: ScriptedExecutor, words: tuple[str, ...], why: str
) -> None:
    called = call("search", "--repeats", "3", *words)
    assert called.code == 2
    assert f"--repeats 3 is of retrainings, and there are none: {why}" in called.said
    assert "add --refit EPOCHS" in called.said
    assert played.started == []


def test_a_folder_that_cannot_be_written_is_refused(call: Call, played: ScriptedExecutor) -> None:
    Path("file").write_text("in the way")
    assert_refused(
        call("search", "--dir", "file/runs"), 2, "cannot write to file/runs: Not a directory; choose another"
    )
    assert_refused(call("search", "--dir", "file"), 2, "cannot write to file: File exists")


def test_searches_that_begin_together_may_all_write(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(check_writable, [tmp_path] * 400)) == [None] * 400
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_dataset_is_refused_with_what_it_holds(call: Call, played: ScriptedExecutor) -> None:
    Path("folder").mkdir()
    assert_refused(call("search", "--data", "folder"), 2, "'folder' is not a dataset of a known format: it is empty")
    Path("folder/notes.txt").write_text("")
    assert_refused(call("data", "folder"), 2, "'folder' is not a dataset of a known format: it holds notes.txt")


def test_a_split_without_an_image_is_refused(call: Call, played: ScriptedExecutor) -> None:
    data = write_yolo(Path("data"), val_images=0)
    for command in ("search", "data"):
        arguments = ("--data", data) if command == "search" else (data,)
        assert_refused(call(command, *arguments), 2, "val.*(empty|no image)")


def test_an_unknown_class_is_refused_with_its_file_unless_left_out(
    call: Call, played: ScriptedExecutor, stores: Path
) -> None:
    data = write_yolo(Path("data"))
    (data / "labels" / "train" / "1.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    assert_refused(call("search", "--data", data), 2, r"1\.txt.*class 7")
    flags = ("--skip-broken", "--max-latency", "999", "--budget", "1")
    called = call("search", "--data", data, *flags)
    assert called.code == 0, called.said
    assert re.search(r"note: left out: .*1\.txt", called.out)


def test_an_image_whose_pixels_are_broken_is_found_by_data_and_search_alike(
    call: Call, played: ScriptedExecutor, stores: Path
) -> None:
    data = write_yolo(Path("data"))
    path = next((data / "images" / "train").iterdir())
    whole = path.read_bytes()
    begin = whole.index(b"IDAT")
    path.write_bytes(whole[: begin + 14] + bytes(8) + whole[begin + 22 :])  # neither its header nor its end tells
    assert call("init", "--data", data, "--skip-broken").code == 0
    assert read_project_file(Path("yoloret-nas.yaml")) == {"data": str(data), "skip_broken": True}
    Path("yoloret-nas.yaml").unlink()
    reason = rf"data: images/train/{path.name}: the image cannot be read: .*hint: repair it, or skip .* --skip-broken"
    assert_refused(call("data", data, "--samples", "0"), 2, reason)
    assert_refused(call("search", "--data", data), 2, reason)
    assert played.started == []
    assert not list(Path("runs").glob("*/trials"))
    called = call("data", data, "--skip-broken", "--samples", "0", "--json")
    document = json.loads(called.out)
    assert document["splits"]["train"]["num_images"] == len(list((data / "images" / "train").iterdir())) - 1
    assert document["left_out"][0].startswith(f"images/train/{path.name}: the image cannot be read")
    assert "decoding 1 image once, to find broken ones" in called.err  # the others are remembered
    path.write_bytes(whole)
    assert call("data", data, "--samples", "0").code == 0


def test_the_drawn_images_do_not_become_images_of_the_dataset(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_yolo(Path("data").absolute())
    assert_refused(call("data", data, "--out", data / "drawn.png"), 2, "the drawn images would lie inside the dataset")
    monkeypatch.chdir(data)
    monkeypatch.setenv("YOLORET_NAS_DATA", str(data.parent / "home"))
    called = call("data", ".")
    assert called.code == 0, called.said
    assert (data.parent / "home" / "dataset.png").is_file()
    assert not list(data.glob("*.png"))


def test_searches_in_the_dataset_s_folder_are_no_part_of_it(
    call: Call, played: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_yolo(Path("data").absolute())
    (data / "data.yaml").unlink()
    (data / "classes.txt").write_text("thing\n")
    monkeypatch.chdir(data)
    before = open_dataset(".")
    assert call("search", "--data", ".", "--budget", "1").code == 0
    shutil.copyfile("images/train/0.png", "runs/picture.png")
    after = open_dataset(".")
    assert (after.fingerprint, after.notes) == (before.fingerprint, before.notes)


def test_data_that_no_search_can_use_are_not_proposed_for_one(call: Call) -> None:
    called = call("data", write_yolo(Path("data"), label=""), "--samples", "0")
    assert called.code == 0, called.said
    assert "Not for a search: data: its train split has 2 images and no object" in called.out
    assert "Next:" not in called.out


def test_a_terminal_that_shows_ascii_alone(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(HOME)}
    command = [sys.executable, "-m", "yoloret_nas", "data", str(data), "--samples", "0"]
    called = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert called.returncode == 0, called.stderr
    assert "32\\xd732" in called.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(call: Call, played: ScriptedExecutor) -> None:
    assert_refused(call("search", "--device", "cuda"), 2, "error: .*(GPU|cuda|CUDA)")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
def test_a_board_that_is_not_there_is_refused(
    call: Call, played: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.devices.FIRST_PATIENCE_S", 0.0)
    assert_refused(call("search", "--device", "ssh://nobody@127.0.0.1:1"), 1, "error: .*127.0.0.1")
    assert played.started == []


@pytest.mark.usefixtures("played")
def test_a_search_says_that_it_begins_with_the_built_in_prior_and_goes_on_as_it_began(
    call: Call, stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.yaml").write_text(SPACE_YAML)
    stores.rename("elsewhere")
    flags = ("search", "--max-latency", "999", "--space", "own.yaml", "--dir", "elsewhere", "--budget")
    said = "prior built in: trainings on photographs of playing cards"
    called = call(*flags, "1")
    assert called.code == 0, called.said
    assert f"{said} (--prior none begins without it)" in called.said
    (name,) = study_names(Path("elsewhere"))
    assert [prior.study for prior in read_study(Path("elsewhere"), name).priors] == ["built-in"]
    assert_refused(call(*flags, "2", "--prior", "none"), 2, r"prior was built-in, is none \(--prior\)")
    called = call(*flags, "2")
    assert (called.code, said in called.said, "begins without" in called.said) == (0, True, False), called.said


def test_a_study_is_named_after_its_space_its_data_s_folder_and_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blood cells").mkdir()
    monkeypatch.chdir(tmp_path / "blood cells")
    assert study_name("tiny", ".", "cpu") == "tiny-blood-cells-cpu"
    assert study_name("nano", str(tmp_path / "blood cells"), "ssh://me@nano") == "nano-blood-cells-ssh-me-nano"
    assert study_name("tiny", "shapes:train=4", "cpu") == "tiny-shapes-train-4-cpu"
    for folder, name in (("血液 細胞", "血液-細胞"), ("Zählung_2", "Zählung-2"), ("…", "data")):
        (tmp_path / folder).mkdir()
        assert study_name("tiny", str(tmp_path / folder), "cpu") == f"tiny-{name}-cpu"
    assert study_name("—", "shapes", "cpu") == "space-shapes-cpu"


def test_a_board_is_searched_for_what_it_can_run(
    call: Call, played: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.devices.FIRST_PATIENCE_S", 0.0)
    called = call("search", "--device", "ssh://nobody@127.0.0.1:1")
    assert "space nano" in called.out
    if not torch.cuda.is_available():
        assert "without a GPU each trial" in called.said
    assert "space paper" in call("search", "--device", "ssh://nobody@127.0.0.1:1", "--space", "paper").out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbones: {mobilenetv3_small_050: {truncation: [11]}}\nhat: [1]\n", r"own\.yaml:2: unknown axis 'hat'"),
        ("backbones: {resnet9000: {truncation: [3]}}\n", r"own\.yaml:1: .*resnet9000"),
        ("backbones: [", r"space file own\.yaml is not YAML"),
        ("input_size: [64]\n", r"own\.yaml:1: the space has no backbone"),
    ],
)
def test_a_space_file_that_is_wrong_is_refused_with_its_line(
    call: Call, played: ScriptedExecutor, text: str, message: str
) -> None:
    Path("own.yaml").write_text(text)
    for arguments in (("search", "--space", "own.yaml"), ("space", "own.yaml")):
        assert_refused(call(*arguments), 2, message)


def test_another_study_s_space_is_refused_and_its_own_goes_on(
    call: Call, played: ScriptedExecutor, copied_study: RealStudy
) -> None:
    flags = ("--data", SHAPES, "--epochs", "1", "--max-latency", "999", "--study", "real", "--dir", copied_study.root)
    other = call("search", *flags, "--space", "tiny", "--budget", "2")
    assert_refused(other, 2, "study 'real' exists with other settings: space")
    other = call("search", *flags, "--space", copied_study.space, "--budget", "2", "--seed", "4")
    assert_refused(other, 2, "; seed was 0, is 4")
    for named in (["--space", copied_study.space], []):
        called = call("search", *flags, *named, "--budget", "2")
        assert called.code == 0, called.said
    assert "resuming the study: 2 trials are finished" in called.out
    assert played.started == []


def test_a_tracking_server_that_cannot_be_is_refused(
    call: Call, played: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    assert_refused(call("search", "--max-latency", "999"), 2, "MLflow store gopher://nowhere cannot be used")


def test_no_command_shows_the_credentials_of_a_tracking_uri(
    call: Call, played: ScriptedExecutor, copied_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@{server}?token=s3cret")
        search = call("--debug", "search", "--max-latency", "999")
        report = call("report", "real", "--dir", copied_study.root)
        ui = call("ui")
    assert search.code == 2
    assert f"error: MLflow store http://***@{server}?token=*** cannot be used" in search.err
    assert "Traceback" in search.err
    assert report.code == 0, report.said
    assert f"note: the page is not in MLflow: MLflow store http://***@{server}" in report.out
    assert ui.out == f"the studies are on a server already: http://***@{server}?token=***\n"
    assert not [called for called in (search, report, ui) if "s3cret" in called.out + called.err]


def test_a_report_is_written_though_mlflow_s_file_cannot_be_used(call: Call, copied_study: RealStudy) -> None:
    (copied_study.root / "mlflow.db").write_bytes(b"no database" * 100)
    report = call("report", "real", "--dir", copied_study.root)
    assert report.code == 0, report.said
    assert "note: the page is not in MLflow: MLflow store" in report.out
    assert (copied_study.root / "real" / "report.html").is_file()


def test_a_fault_of_ours_says_so_and_debug_shows_where(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spaces.named_spaces.open_space", lambda name: 1 / 0)
    monkeypatch.setattr("spaces.open_space", lambda name: 1 / 0, raising=False)
    called = call("space")
    assert called.code == 1
    assert "error: this is a bug in yoloret-nas: ZeroDivisionError: division by zero" in called.err
    assert "yoloret-nas --debug" in called.err
    assert "Traceback" not in called.err
    called = call("--debug", "space")
    assert called.code == 1
    assert "Traceback" in called.err
    assert "open_space" in called.err


def test_a_full_disk_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("spaces.named_spaces.open_space", fill)
    called = call("space")
    assert_refused(called, 1, "No space left on device")
    assert "TMPDIR" in called.err


def test_an_interrupt_ends_with_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(spec: str, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trials.data.open_dataset", interrupt)
    called = call("data", "shapes")
    assert (called.code, called.err) == (130, "\ninterrupted\n")


def test_a_search_without_a_complete_trial_has_failed(call: Call, played: ScriptedExecutor, stores: Path) -> None:
    played.scripts.update({number: fail_with("the loss is nan") for number in range(2)})
    called = call("search", "--budget", "2", "--max-latency", "999")
    assert called.code == 1
    assert "no trial is complete: the loss is nan" in called.out
    assert "run the same command again" in called.out
    assert "export" not in called.out
    assert "Traceback" not in called.said


# --- the search's output ------------------------------------------------------------------------------------------


def test_a_search_says_what_it_does_what_came_out_and_what_to_type_next(real_study: RealStudy) -> None:
    lines = real_study.output.splitlines()
    assert lines[0] == "study real: space handful, 4 architectures"
    assert any(line.startswith("  data    shapes:train=16") and "generated" in line for line in lines)
    (header,) = [line for line in lines if line.startswith("trial  state")]
    trials = [line for line in lines if re.match(r" +\d+  complete ", line)]
    assert len(trials) == 2
    for name in ("AP", "AP50", "median", "p99", "MACs", "params", "time"):
        assert name in header
    assert "\x1b" not in real_study.output
    assert "\r" not in real_study.output
    front = read_study(real_study.root, "real").summary.front
    assert f"front of real: {len(front)} of 2 trials, hypervolume" in real_study.output
    for name in ("front.png", "front.csv", "front.html", "trials.csv"):
        assert (real_study.root / "real" / name).is_file()
        assert name in real_study.output
    assert f"next: yoloret-nas ui --dir {real_study.root}" in lines
    assert any(line.startswith(f"      yoloret-nas export --study real --dir {real_study.root}") for line in lines)


def test_each_trial_leaves_its_files(real_study: RealStudy) -> None:
    for record in read_study(real_study.root, "real").summary.records:
        folder = real_study.root / "real" / "trials" / f"{record.number:04d}"
        names = {path.name for path in folder.iterdir()}
        assert names == {"architecture.json", "checkpoint.pt", "detections.jpg", "model.onnx", "result.json"}
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        assert result["state"] == "complete"
        assert result["ap"] == record.result.ap


# --- export and predict -------------------------------------------------------------------------------------------


@pytest.fixture
def exported(call: Call, real_study: RealStudy) -> Path:
    called = call("export", "--study", "real", "--dir", real_study.root, "--out", "detector")
    assert called.code == 0, called.said
    return Path("detector").resolve()


def test_an_export_holds_all_it_takes_and_agrees_with_pytorch(exported: Path, real_study: RealStudy) -> None:
    names = {path.name for path in exported.iterdir()}
    data = {"architecture.json", "classes.txt", "detector.json", "metrics.json", "README.md"}
    assert names == data | {"checkpoint.pt", "model.onnx", "raw.onnx", "run.py", "front.png", "examples"}
    assert sorted(path.name for path in (exported / "examples").iterdir()) == ["1.png", "2.png", "3.png", "4.png"]
    detector = json.loads((exported / "detector.json").read_text(encoding="utf-8"))
    metrics = json.loads((exported / "metrics.json").read_text(encoding="utf-8"))
    record = read_study(real_study.root, "real").summary.knee
    assert record is not None
    assert record.result.latency is not None
    assert (exported / "classes.txt").read_text(encoding="utf-8").split() == detector["class_names"]
    assert detector["model.onnx"]["opset"] == 13
    assert (metrics["study"], metrics["trial"], metrics["ap"]) == ("real", record.number, record.result.ap)
    assert metrics["latency_ms"]["median"] == pytest.approx(record.result.latency.median_ms, rel=0.02)
    assert metrics["device"]["kind"] == "cpu"
    assert {name: one["median"] > 0 for name, one in metrics["latency_of_files_ms"].items()} == {
        "raw.onnx": True,
        "model.onnx": True,
    }
    tried = metrics["proofs"]["model.onnx"]
    assert tried["ap"] == pytest.approx(record.result.ap, abs=0.002)
    assert (tried["split"], tried["num_images"]) == ("val", 8)

    stored = json.loads((exported / "architecture.json").read_text(encoding="utf-8"))
    network = build_network(Architecture.from_dict(stored), num_classes=len(detector["class_names"])).eval()
    network.load_state_dict(dict(read_checkpoint(exported / "checkpoint.pt").weights))
    image = torch.rand(1, 3, *detector["input_hw"])
    session = onnxruntime.InferenceSession(str(exported / "raw.onnx"), providers=["CPUExecutionProvider"])
    theirs = session.run(detector["raw.onnx"]["outputs"], {"images": image.numpy()})
    with torch.no_grad():
        for a, b in zip(network(image), theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b, atol=1e-3)


def test_an_export_s_card_holds_its_figures_and_programs_that_run(exported: Path) -> None:
    text = (exported / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((exported / "metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['ap']:.4f}, {metrics['ap50']:.4f} on the validation split" in text
    assert f"| `model.onnx` | AP {metrics['proofs']['model.onnx']['ap']:.4f}, AP50 " in text
    assert "The weights began at random." in text
    for picture in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (exported / picture).is_file()
    Image.effect_noise((100, 70), 80).convert("RGB").save(exported / "image.jpg")
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(programs) == 3
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=exported, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_an_export_is_tried_on_the_study_s_images_or_on_others(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("export", "--study", "real", "--dir", real_study.root, "--no-measure", "--out")
    untried = call(*base, "untried", "--no-check")
    assert untried.code == 0, untried.said
    metrics = json.loads(Path("untried/metrics.json").read_text(encoding="utf-8"))
    assert (metrics["proofs"], metrics["latency_of_files_ms"]) == ({}, {})
    assert "| `model.onnx` | not tried |  | not measured: not asked for |" in Path("untried/README.md").read_text(
        encoding="utf-8"
    )
    others = call(*base, "others", "--data", "shapes:train=4,val=6,size=64")
    assert others.code == 0, others.said
    assert "on 6 images of val of shapes:train=4,val=6,size=64, " in others.out
    text = Path("others/README.md").read_text(encoding="utf-8")
    assert (
        "AP is of 6 images of val of shapes:train=4,val=6,size=64, by `run.py`. The trial's AP above is of other"
        in text
    )
    assert json.loads(Path("others/metrics.json").read_text())["other_data"] == "shapes:train=4,val=6,size=64"
    compared = call("compare", "others", "others/model.onnx", "others/raw.onnx", "--json")
    assert [row["AP"] is None for row in json.loads(compared.out)] == [False, True, True]
    assert "others/model.onnx has no AP here: its record is of other images, shapes:train=4,val=6" in compared.err
    assert "raw.onnx has no AP" not in compared.err  # it has no record
    assert "trying model.onnx on 6 images" in others.err
    nowhere = (*base, "gone", "--data", "nowhere")
    assert_refused(call(*nowhere), 2, "or others, with --data, or none with --no-check")
    no_check = ("--no-check", "--precision", "int8")
    assert_refused(call(*nowhere, *no_check), 2, "or others, with --data, or leave int8 out of --precision")
    assert_refused(call(*base, "gone", "--data", SHAPES, "--no-check"), 2, "leave out --no-check")
    assert call(*base, "calibrated", "--data", SHAPES, *no_check).code == 0
    assert not Path("gone").exists()
    assert not list(Path().glob(".*-*"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("select", r"model\.onnx has AP \d\.\d+ on 8 images of val, the trial had 0\.\d+"),
        ("boxes", r"model\.onnx and PyTorch differ by 0\.15 px and \S+ of score on images of val"),
        ("scores", r"model\.onnx and PyTorch differ by \S+ px and 0\.0015 of score on images of val"),
    ],
)
def test_an_export_that_finds_something_else_is_not_written(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch, changed: str, message: str
) -> None:
    if changed == "select":
        tight = Tolerance(box_px=1.0, score=1.0, ap=1e-4)  # the networks of these tests find next to nothing
        monkeypatch.setitem(PRECISIONS, "fp32", dataclasses.replace(PRECISIONS["fp32"], tolerance=tight))
        select = run.select
        monkeypatch.setattr(run, "select", lambda boxes, *rest: select(boxes + 500, *rest))
    else:
        by = {"pixels": 0.15} if changed == "boxes" else {"score": 0.0015}
        monkeypatch.setattr(proof, "Decoded", lambda *given: _Moved(Decoded(*given), **by))
    base = ("export", "--study", "real", "--dir", real_study.root, "--no-measure", "--out", "gone")
    assert_refused(call(*base), 1, message)
    assert_refused(call(*base, "--data", SHAPES), 1, message)  # the same images, by another path for example
    assert not Path("gone").exists()
    assert not list(Path().glob(".*-*"))


class _Moved(torch.nn.Module):
    """A detector whose boxes lie further, or whose scores are larger."""

    def __init__(self, decoded: Decoded, *, pixels: float = 0.0, score: float = 0.0) -> None:
        super().__init__()
        self._decoded = decoded
        self._pixels, self._score = pixels, score

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, scores = self._decoded(images)
        return boxes + self._pixels, scores + self._score


@pytest.mark.parametrize(
    ("file", "apart", "is_refused"),
    [
        ("model.onnx", 0.0015, False),
        ("model.onnx", -0.003, True),
        ("model-fp16.onnx", 0.008, False),
        ("model-fp16.onnx", 0.012, True),
    ],
)
def test_how_far_an_export_s_ap_may_be_from_the_trial_s(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch, file: str, apart: float, is_refused: bool
) -> None:
    detect_all, score_detections, tried = proof.detect_all, proof.score_detections, []

    def detect(detector: run.Detector, *rest: Any) -> Any:
        tried.append(Path(detector.path).name)
        return detect_all(detector, *rest)

    def score(*given: Any, **options: Any) -> Scores:
        scores = score_detections(*given, **options)
        return dataclasses.replace(scores, ap=scores.ap + (apart if tried[-1] == file else 0.0))

    monkeypatch.setattr(proof, "detect_all", detect)
    monkeypatch.setattr(proof, "score_detections", score)
    base = (
        "export",
        "--study",
        "real",
        "--dir",
        real_study.root,
        "--no-measure",
        "--precision",
        "fp16",
        "--out",
        "tried",
    )
    if is_refused:
        assert_refused(call(*base), 1, rf"{file} has AP .* \(allowed difference 0\.\d+\)")
        assert not Path("tried").exists()
    else:
        called = call(*base)
        assert called.code == 0, called.said
    assert tried[-1] == file or not is_refused


def test_boxes_that_are_no_numbers_are_no_agreement(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "Decoded", lambda *given: _Moved(Decoded(*given), pixels=float("nan")))
    base = ("export", "--study", "real", "--dir", real_study.root, "--no-measure", "--out", "gone")
    assert_refused(call(*base, "--data", SHAPES), 1, r"model\.onnx gives boxes or scores that are NaN or infinite")


def _note_other_data(root: Path, *, study: bool = False, trials: bool = False) -> None:
    """Let a study, or its trials, be of other images than they were."""
    if study:
        opened = optuna.load_study(study_name="real", storage=open_storage(root))
        opened.set_user_attr("dataset_fingerprint", "of other images")
    if trials:
        with closing(sqlite3.connect(root / "optuna.db")) as database, database:
            json_set = "json_set(value_json, '$.fingerprint', 'of other images')"
            database.execute(f"UPDATE trial_user_attributes SET value_json = {json_set} WHERE key = 'result'")


def test_data_that_has_changed_is_no_proof(call: Call, copied_study: RealStudy) -> None:
    base = ("export", "--study", "real", "--dir", copied_study.root, "--no-measure")
    _note_other_data(copied_study.root, study=True)  # as after a change that was accepted and taken back
    called = call(*base, "--out", "own")
    assert called.code == 0, called.said
    _note_other_data(copied_study.root, trials=True)
    assert_refused(call(*base, "--out", "gone"), 2, "the data of real has changed since: .* --no-check")


def test_a_trial_of_the_data_before_an_accepted_change_is_exported_with_its_ap_on_the_present_ones(
    call: Call, copied_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        proof, "_is_above", lambda difference, allowed: True if difference == 0 else difference > allowed
    )
    base = ("export", "--study", "real", "--dir", copied_study.root, "--no-measure", "--out", "former")
    assert_refused(call(*base), 1, "the trial had")  # the AP that it has is refused here
    _note_other_data(copied_study.root, trials=True)
    called = call(*base)
    assert called.code == 0, called.said
    assert re.search(r"on 8 images of val of shapes:\S+ as it is since the trial, ", called.out)


def test_the_project_s_data_does_not_switch_the_proof_off(call: Call, real_study: RealStudy) -> None:
    Path("yoloret-nas.yaml").write_text(f"data: shapes:train=4,val=6,size=64\ndir: {real_study.root}\n")
    called = call("export", "--study", "real", "--no-measure", "--out", "proven")
    assert called.code == 0, called.said
    assert "on 8 images of val" in called.out


def test_files_of_other_number_formats_are_tried_and_measured_too(call: Call, real_study: RealStudy) -> None:
    base = ("export", "--study", "real", "--dir", real_study.root)
    called = call(*base, "--precision", "fp16,int8", "--out", "three")
    assert called.code == 0, called.said
    files = ["raw.onnx", "model.onnx", "model-fp16.onnx", "model-int8.onnx"]
    assert re.findall(r"^  (\S+): ", called.out, re.MULTILINE) == files
    metrics = json.loads(Path("three/metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["proofs"]) == files[1:]
    assert metrics["int8_calibration_images"] == 16
    assert "INT8 was calibrated with 16 training images" in Path("three/README.md").read_text(encoding="utf-8")
    assert all(metrics["latency_of_files_ms"][name]["median"] > 0 for name in files)
    apart = [metrics["proofs"][name]["score_difference"] for name in files[1:]]
    assert apart[0] < apart[1] < apart[2] < 0.5
    Image.effect_noise((100, 70), 80).convert("RGB").save("image.jpg")
    for name in files[1:]:
        assert run.main(["image.jpg", "--model", "three", "--file", name, "--out", ""]) == 0
    assert_refused(call(*base, "--precision", "fp8"), 2, "'fp8' is none of fp32, fp16, int8")


@pytest.mark.parametrize(
    ("board", "opset", "message"),
    [
        ("NVIDIA Jetson Nano Developer Kit", 13, "NVIDIA Jetson Nano Developer Kit has no INT8"),
        ("NVIDIA Jetson TX2", 13, "has no INT8"),
        ("NVIDIA Jetson Xavier NX Developer Kit", 11, "INT8 needs opset 13"),
        ("NVIDIA Jetson Orin Nano Developer Kit", 17, ""),
    ],
)
def test_int8_is_refused_where_a_board_has_none(board: str, opset: int, message: str) -> None:
    identity = DeviceIdentity(kind="ssh", board=board, backend="TensorRT", precision="fp16")
    if not message:
        check_int8(identity, opset=opset)
        return
    with pytest.raises(BundleError, match=message):
        check_int8(identity, opset=opset)


def test_an_export_of_a_device_that_is_away_says_so(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: object, **named: object) -> None:
        raise DeviceAwayError("nano cannot be reached")

    monkeypatch.setattr("yoloret_nas.export.target.LatencyCache.measure", away)
    called = call("export", "--study", "real", "--dir", real_study.root, "--out", "here")
    assert called.code == 0, called.said
    assert "raw.onnx: not measured: nano cannot be reached" in called.out
    assert "| `raw.onnx` | not tried |  | not measured: nano cannot be reached |" in Path("here/README.md").read_text()


@pytest.mark.parametrize("command", ["export", "compare"])
def test_broken_items_of_other_images_are_left_out_where_asked(call: Call, real_study: RealStudy, command: str) -> None:
    data = write_yolo(Path("data"))
    (data / "labels" / "train" / "1.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    words = ["--study", "real", "--out", "gone"] if command == "export" else ["real:0"]
    base = (command, *words, "--dir", real_study.root, "--data", data)
    assert_refused(call(*base), 2, r"1\.txt.*class 7.*--skip-broken")
    assert_refused(call(*base, "--skip-broken"), 2, "does not know 1 class")


def test_an_export_becomes_a_version_in_mlflow_s_registry(
    call: Call, copied_study: RealStudy, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("export", "--study", "real", "--dir", copied_study.root, "--no-measure", "--register", "cells")
    for number in (1, 2):
        called = call(*base, "--out", f"number-{number}")
        assert called.code == 0, called.said
        assert f"registered in MLflow as cells, version {number}: models:/cells/{number}" in called.out
    assert not [one for one in recwarn if "type hint" in str(one.message)]
    client = open_client(copied_study.root)
    metrics = json.loads(Path("number-2/metrics.json").read_text(encoding="utf-8"))
    version = client.get_model_version("cells", "2")
    assert version.tags["ap"] == f"{metrics['ap']:.4f}"
    assert (version.tags["study"], version.tags["trial"]) == ("real", str(metrics["trial"]))
    assert client.get_run(version.run_id).data.tags[TRIAL_TAG] == str(metrics["trial"])

    assert client.get_model_version("cells", "1").source != version.source  # each keeps its own files
    (network,) = Path(version.source.removeprefix("file://")).rglob("model.onnx")
    Path(run.engine_path(str(network))).write_bytes(b"plan")  # not taken: it could not answer two requests at once
    model = mlflow.pyfunc.load_model(version.source)
    images = np.stack([np.asarray(Image.effect_noise((80, 60), 90).convert("RGB")) for _ in range(2)])
    found = model.predict(images, params={"score_threshold": 0.01})
    assert list(found.columns) == ["image", "x1", "y1", "x2", "y2", "score", "class"]
    assert_refused(call(*base, "--out", "three", "--register", "a/b"), 2, "'a/b' cannot name a model in MLflow")
    assert not Path("three").exists()
    monkeypatch.setattr("search.tracking.registry.find_trial_run", lambda *_: None)
    assert_refused(call(*base, "--out", "three"), 2, "MLflow has no run of trial")
    assert not Path("three").exists()
    detector = run.Detector("number-2")
    for place, image in enumerate(images):
        boxes, scores, labels = detector.detect(image, 0.01)
        rows = found[found["image"] == place]
        assert len(boxes) > 0
        np.testing.assert_allclose(rows[["x1", "y1", "x2", "y2"]].to_numpy(), boxes, rtol=1e-4)
        np.testing.assert_allclose(rows["score"].to_numpy(), scores, rtol=1e-4)
        assert rows["class"].tolist() == [detector.class_names[label] for label in labels]


def test_an_export_whose_files_are_not_described_is_named(call: Call, exported: Path) -> None:
    (exported / "detector.json").write_text(json.dumps({"class_names": ["a"], "anchors": []}))
    Image.new("RGB", (8, 8)).save("fine.png")
    assert_refused(call("predict", exported, "fine.png"), 2, "does not describe model.onnx hint: export it again")


def test_an_export_that_does_not_describe_its_raw_maps_runs_its_other_files(call: Call, exported: Path) -> None:
    settings = json.loads((exported / "detector.json").read_text(encoding="utf-8"))
    del settings["raw.onnx"]
    (exported / "detector.json").write_text(json.dumps(settings), encoding="utf-8")
    Image.new("RGB", (8, 8)).save("fine.png")
    called = call("predict", exported, "fine.png")
    assert called.code == 0, called.said
    assert_refused(
        call("predict", exported / "raw.onnx", "fine.png"), 2, "does not describe raw.onnx hint: export it again"
    )


def test_an_export_chooses_among_the_front(call: Call, real_study: RealStudy) -> None:
    base = ("export", "--study", "real", "--dir", real_study.root)
    front = read_study(real_study.root, "real").summary.front
    called = call(*base, "--best")
    assert called.code == 0, called.said
    assert f"trial {front[-1].number}:" in called.out
    assert f"next: yoloret-nas predict exports/real-{front[-1].number} IMAGE.jpg" in called.out
    assert Path(f"exports/real-{front[-1].number}/model.onnx").is_file()
    called = call(*base, "--trial", "1", "--out", "one")
    assert "trial 1:" in called.out


def test_an_export_that_cannot_be_is_refused(call: Call, exported: Path, copied_study: RealStudy) -> None:
    base = ("export", "--study", "real", "--dir", copied_study.root)
    before = (exported / "metrics.json").stat().st_mtime_ns
    assert_refused(call(*base, "--out", exported), 2, "detector exists already")
    assert (exported / "metrics.json").stat().st_mtime_ns == before
    assert call(*base, "--out", exported, "--force").code == 0
    assert_refused(call(*base, "--trial", "7"), 2, "trial 7 is not a complete trial of the study")
    for other in (("--best",), ("--max-latency", "5ms")):
        assert_refused(call(*base, "--trial", "1", *other), 2, "--trial names one trial; leave out --best")
    assert_refused(call(*base, "--max-latency", "0.0001ms"), 2, "no trial runs within 0.0001 ms")
    Path("file").write_text("")
    assert_refused(
        call(*base, "--out", "file/export"), 2, "cannot be written to .*file/export: .* another folder with --out"
    )
    Path("mine").mkdir()
    assert_refused(call(*base, "--out", "mine", "--force"), 2, "mine exists already")  # it is no export
    (copied_study.root / "real" / "trials" / "0000" / "checkpoint.pt").unlink()
    assert_refused(call(*base, "--trial", "0", "--out", "gone"), 2, "the weights of trial 0 of real are not kept")
    assert not Path("gone").exists()
    assert not list(Path().glob(".*-*"))  # nothing half done


def test_an_export_has_the_user_s_mode_and_replaces_another_whole_or_not_at_all(
    call: Call, exported: Path, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("other").mkdir()
    assert exported.stat().st_mode == Path("other").stat().st_mode
    (exported / "of the user").write_text("kept as long as the export is")
    Path("link").symlink_to(exported, target_is_directory=True)
    before = sorted(Path().iterdir())
    words = ("export", "--study", "real", "--dir", real_study.root, "--out", "link", "--force")
    rename = Path.rename
    faults: list[BaseException] = [OSError(28, "No space left on device"), KeyboardInterrupt()]

    def fail_at_the_new_one(self: Path, target: Path) -> Path:
        if self.name.endswith("-partial"):
            raise faults.pop(0)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_at_the_new_one)
        assert_refused(call(*words), 1, "No space left on device")
        assert call(*words).code == 130
    assert (exported / "of the user").is_file()
    assert sorted(Path().iterdir()) == before
    assert call(*words).code == 0
    assert not (exported / "of the user").exists()
    assert (exported / "model.onnx").is_file()
    assert sorted(Path().iterdir()) == before


def test_predict_draws_the_boxes_of_images_and_folders(call: Call, exported: Path) -> None:
    Path("photos").mkdir()
    for name, size in (("a.png", (64, 64)), ("b.jpg", (120, 80))):
        Image.effect_noise(size, 90).convert("RGB").save(Path("photos") / name)
    called = call("predict", exported, "photos/a.png", "photos", "--score", "0.01")
    assert called.code == 0, called.said
    assert re.search(r"photos/a\.png: [1-9]\d* \w+.* → predictions/a\.png", called.out)
    assert {path.name for path in Path("predictions").iterdir()} == {"a.png", "b.png"}
    with Image.open("predictions/b.png") as picture:
        assert picture.size == (120, 80)
    assert "photos/a.png: no boxes → " in call("predict", exported, "photos/a.png", "--score", "1").out
    called = call("predict", exported, "photos/b.jpg", "--score", "0.01", "--json", "--out", "elsewhere")
    (entry,) = json.loads(called.out)
    assert entry["picture"] == "elsewhere/b.png"
    assert all(set(row) == {"class", "score", "box_xyxy"} for row in entry["detections"])


def test_predict_takes_a_trial_as_well_as_its_export(call: Call, exported: Path, real_study: RealStudy) -> None:
    Image.effect_noise((64, 64), 90).convert("RGB").save("noise.png")
    number = json.loads((exported / "metrics.json").read_text())["trial"]
    words = ("noise.png", "--score", "0.01", "--json")
    of_trial = call("predict", f"real:{number}", *words, "--dir", real_study.root)
    assert of_trial.code == 0, of_trial.said
    assert "note" not in of_trial.err
    of_study = call("predict", "real", *words, "--dir", real_study.root)
    assert re.search(r"^note: real:\d is the knee of real's front$", of_study.err, re.MULTILINE)
    trial_folder = real_study.root / "real" / "trials" / f"{number:04d}"
    expected = json.loads(of_trial.out)[0]["detections"]
    assert len(expected) > 0
    for network in (exported, exported / "model.onnx", exported / "checkpoint.pt", trial_folder / "checkpoint.pt"):
        assert json.loads(call("predict", network, *words).out)[0]["detections"] == expected
    (of_raw,) = json.loads(call("predict", exported / "raw.onnx", *words).out)
    assert [row["class"] for row in of_raw["detections"]] == [row["class"] for row in expected]
    stray = shutil.copyfile(exported / "model.onnx", "stray.onnx")
    assert_refused(
        call("predict", stray, *words), 2, "stray.onnx names no network: there is no architecture.json beside"
    )
    other = shutil.copyfile(exported / "checkpoint.pt", exported / "finetuned.pt")
    assert_refused(
        call("predict", other, *words), 2, "finetuned.pt names no network: weights are read from a checkpoint.pt"
    )
    assert_refused(call("predict", "yoloret-m0.75", *words), 2, "has no trained weights: it is only an architecture")
    Path("real").mkdir()  # the data of the study, say
    again = call("predict", "real", *words, "--dir", real_study.root)
    assert again.code == 0, again.said
    assert_refused(call("predict", "real:99", *words, "--dir", real_study.root), 2, "trial 99 is not a complete trial")


def test_predict_refuses_what_is_no_export_and_no_image(call: Call, exported: Path) -> None:
    Path("empty").mkdir()
    Image.new("RGB", (8, 8)).save("fine.png")
    Path("broken.jpg").write_bytes(b"\xff\xd8 not an image")
    assert_refused(call("predict", "empty", "fine.png"), 2, "empty is not an export")
    assert_refused(call("predict", exported, "empty"), 2, "there is no image and no video in empty")
    assert_refused(call("predict", exported, "broken.jpg"), 1, r"error: broken\.jpg: the image cannot be read")
    assert_refused(
        call("predict", exported, "fine.png", "--out", "fine.png/x"), 2, "cannot write to fine.png/x: .*with --out"
    )


def test_predictions_never_take_the_place_of_what_they_were_drawn_on(call: Call, exported: Path) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (32, 32), "grey").save("photos/a.png")
    Image.new("RGB", (32, 32), "red").save("photos/a.jpg")
    before = Path("photos/a.png").read_bytes()
    for folder in ("photos-2", "photos-3"):
        called = call("predict", exported, "photos/a.png", "--out", "photos")
        assert called.out.endswith(f" → {folder}/a.png\n")
    assert Path("photos/a.png").read_bytes() == before
    assert {path.name for path in Path("photos").iterdir()} == {"a.png", "a.jpg"}
    # Nor do two images of one stem share a picture.
    assert call("predict", exported, "photos").code == 0
    assert {path.name for path in Path("predictions").iterdir()} == {"a.png.png", "a.jpg.png"}
    # Nor two of one name, in several folders.
    Path("others").mkdir()
    Image.new("RGB", (32, 32), "blue").save("others/a.jpg")
    called = call("predict", exported, "photos/a.jpg", "others", "photos/a.jpg", "--out", "both")
    assert called.code == 0, called.said
    assert [line.split(" → ")[1] for line in called.out.splitlines()] == ["both/a.jpg.png", "both/a.jpg-2.png"]
    assert {path.name for path in Path("both").iterdir()} == {"a.jpg.png", "a.jpg-2.png"}


def test_a_port_that_is_taken_is_refused_before_links_to_it_are_printed(call: Call, real_study: RealStudy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = call("ui", "--dir", real_study.root, "--port", port)
    assert_refused(called, 2, f"port {port} cannot be used")
    assert "http://" not in called.said
    called = call("ui", "--dir", real_study.root, "--port", port, "--host", "192.0.2.7")
    assert_refused(called, 2, "address 192.0.2.7 cannot be used .*; choose another with --host")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7", "gpu-box"])
def test_mlflow_answers_by_every_name_of_this_machine(host: str) -> None:
    names = _reached_as(host)
    allowed = admitted(names, 5001)
    hosts, pages = allowed["MLFLOW_SERVER_ALLOWED_HOSTS"], allowed["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"]
    # Of the links, which a browser can open.
    assert names[0].strip("[]") == (socket.gethostname() if host in ("0.0.0.0", "::") else host)
    for name in {*names, socket.gethostname(), "localhost"}:
        assert is_allowed_host_header(hosts, f"{name}:5001")
        assert not should_block_cors_request(f"http://{name}:5001", "POST", pages)
    for name in ("localhost:8080", "192.168.1.5:5001"):  # through a container's or an ssh tunnel's port
        assert is_allowed_host_header(hosts, name)
    assert not is_allowed_host_header(hosts, "example.org:5001")
    assert should_block_cors_request("http://example.org", "POST", pages)
    assert should_block_cors_request(f"http://{names[0]}:8080", "POST", pages)
    assert (_reached_as("127.0.0.1"), _reached_as("::1")) == (["127.0.0.1"], ["[::1]"])


@pytest.mark.parametrize("is_up", [True, False])
def test_links_are_printed_once_the_server_is_up(capsys: pytest.CaptureFixture[str], is_up: bool) -> None:
    server = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(YoloRetError, match="MLflow's server ended with exit status 3"):
        _serve(server, os.environ, is_up=lambda: is_up, links="the links")
    assert ("the links" in capsys.readouterr().out) == is_up


def test_a_server_that_never_answers_is_ended() -> None:
    server = [sys.executable, "-c", "import time; time.sleep(999)"]
    with pytest.raises(YoloRetError, match="MLflow's server does not answer after 0 s, and was ended"):
        _serve(server, os.environ, is_up=lambda: False, links="", patience_s=0.01)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_ui_says_at_once_what_it_starts_and_where_it_answers(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    if host == "[::1]":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")

    def pages(root: Path) -> dict[str, dict[str, str]]:
        click.echo("the store is asked")
        return {"real": {"trials": "/#/1"}}

    monkeypatch.setattr("search.tracking.store.experiment_pages", pages)
    monkeypatch.setattr("yoloret_nas.commands.ui._serve", lambda *_, links, **__: click.echo(links))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    called = call("ui", "--dir", real_study.root, "--port", port, "--host", host)
    assert called.out.splitlines() == [
        f"starting MLflow's server on {store_path(real_study.root)}, which takes half a minute; Ctrl-C ends it",
        "the store is asked",
        f"MLflow answers at http://{host}:{port}",
        "  real",
        f"    trials: http://{host}:{port}/#/1",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_the_ui_ends_its_server_too(number: signal.Signals, real_study: RealStudy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    command = [sys.executable, "-m", "yoloret_nas", "ui", "--dir", str(real_study.root), "--port", str(address[1])]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ui:
        until = time.monotonic() + 120
        while not _listens(address):
            assert ui.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        ui.send_signal(number)
        assert ui.wait(60) == 128 + number
    assert not _listens(address)


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def test_a_study_that_cannot_be_read_hides_no_other(call: Call, copied_study: RealStudy) -> None:
    storage = open_storage(copied_study.root)
    attributes = optuna.load_study(study_name="real", storage=storage).user_attrs
    damaged = optuna.create_study(study_name="damaged", storage=storage)
    for name, value in attributes.items():
        damaged.set_user_attr(name, {} if name == "settings" else value)
    called = call("studies", "--dir", copied_study.root, "--json")
    assert called.code == 0, called.said
    assert [row["name"] for row in json.loads(called.out)] == ["real"]
    assert "note: " in called.err
    assert "damaged" in called.err


def test_a_user_s_words_are_shown_as_they_are(call: Call, copied_study: RealStudy) -> None:
    study = optuna.load_study(study_name="real", storage=open_storage(copied_study.root))
    study.set_user_attr("settings", study.user_attrs["settings"] | {"dataset": "cells [v2] [/x]"})
    assert "cells [v2] [/x]" in call("studies", "--dir", copied_study.root).out


def test_no_colour_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("error:", "red") == click.style("error:", fg="red")
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("error:", "red", bold=True) == "error:"


def test_studies_are_listed_with_what_they_found(call: Call, real_study: RealStudy) -> None:
    assert_refused(call("studies"), 2, "there is no study in runs yet")
    listed = call("studies", "--dir", real_study.root)
    assert listed.code == 0, listed.said
    assert re.search(r"^real +search +\d complete +\d +#\d AP 0\.\d{3}, ", listed.out, re.MULTILINE)
    with driver_lock(real_study.root / "real"):
        running = call("studies", "--dir", real_study.root)
    assert re.search(r"^real +search +running +\d complete ", running.out, re.MULTILINE)
    (row,) = json.loads(call("studies", "--dir", real_study.root, "--json").out)
    assert row["is_running"] is False
    summary = read_study(real_study.root, "real").summary
    best = summary.front[-1]
    assert best.point is not None
    assert row["best"] == {"trial": best.number, "ap": best.point[0], "latency_ms": best.point[1]}
    assert (row["name"], row["kind"], row["device"], row["data"]) == ("real", "search", "cpu", SHAPES)
    assert row["states"] == dict(summary.states)


def test_an_interrupted_search_is_told(call: Call, copied_study: RealStudy) -> None:
    words = ("--dir", copied_study.root)

    def said() -> tuple[str, str, str]:
        listed, reported = call("studies", *words), call("report", "real", *words)
        assert listed.code == reported.code == 0, listed.said + reported.said
        page = (copied_study.root / "real/report.html").read_text()
        return listed.out, reported.out, page

    assert "interrupted at" not in "".join(said())
    study = optuna.load_study(study_name="real", storage=open_storage(copied_study.root))
    num_finished = len(read_study(copied_study.root, "real").summary.records)
    study.set_user_attr("budget", 40)
    listed, reported, page = said()
    told = f"interrupted at {num_finished} of 40"
    assert told in listed
    assert f"{told} trials; run the same search again to resume it" in reported
    assert f"<p>I{told[1:]} trials; run the same search again to resume it.</p>" in page
    with driver_lock(copied_study.root / "real"):
        assert "interrupted at" not in "".join(said())
    study.set_user_attr("budget", num_finished)  # as a version left it that only noted the beginning
    assert "interrupted at" not in "".join(said())
    study.set_user_attr("budget", 40)
    study.set_user_attr("driver", {"host": "gpu7", "boot": "1", "process": "7-1", "beat": 3})
    assert f"running on gpu7, or killed there, at {num_finished} of 40" in said()[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_parses(call: Call, name: str) -> None:
    last = call(name, "--help").said.rpartition("Example: ")[2]
    assert last.strip() == f"yoloret-nas {EXAMPLES[name]}"
    Path("photos").mkdir()
    words = EXAMPLES[name].split()
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    command.make_context(words[0], words[1:], resilient_parsing=False)


# --- project file, spaces, data -----------------------------------------------------------------------------------


def test_init_writes_a_file_that_changes_nothing_and_explains_valid_flags(call: Call, tmp_path: Path) -> None:
    assert "wrote yoloret-nas.yaml" in call("init").out
    assert Path("yoloret-nas.yaml").read_text(encoding="utf-8") == TEMPLATE
    assert read_project_file(Path("yoloret-nas.yaml")) == {}
    assert_refused(call("init"), 2, "error: yoloret-nas.yaml exists already")
    every = tmp_path / "every.yaml"
    every.write_text(re.sub(r"(?m)^# (?=\w+: )", "", TEMPLATE), encoding="utf-8")
    flags = {"data", "device", "dir", "max_latency", "skip_broken", "space", "aspect", "epochs", "refit", "budget"}
    assert set(read_project_file(every)) == flags


def test_init_takes_checked_answers_as_flags(call: Call) -> None:
    assert_refused(call("init", "--data", "nowhere"), 2, "'nowhere' does not exist")
    assert_refused(call("init", "--device", "abacus"), 2, "device 'abacus' is unknown")
    assert not Path("yoloret-nas.yaml").exists()
    called = call("init", "--data", SHAPES, "--device", "cpu:threads=2", "--max-latency", "0.5s")
    assert called.code == 0, called.said
    assert "shapes: 16 train, 8 val; 3 classes" in called.said
    assert "threads 2" in called.said
    found = read_project_file(Path("yoloret-nas.yaml"))
    assert found == {"data": SHAPES, "device": "cpu:threads=2", "max_latency": "500ms"}


def test_init_says_that_a_board_that_is_away_can_be_named_later(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(text: str, **options: object) -> None:
        raise DeviceAwayError(f"{text} cannot be reached", hint="check that it is on")

    monkeypatch.setattr("trials.latency.open_device.open_device", away)
    assert_refused(call("init", "--device", "ssh://nano"), 1, "hint: check that it is on; or leave --device out")
    assert not Path("yoloret-nas.yaml").exists()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [({"measure": 0.0, "idle": 0.1}, "took 9 s"), ({"train": 4.5, "measure": 0.0}, "took 9 s: training 50.0%, ")],
)
def test_shares_of_the_time_are_told_where_a_trial_ran(seconds: dict[str, float], said: str) -> None:
    result = RunResult(
        summary=Summary(records=(), reference=Reference(ap=0.0, latency_ms=1.0)),
        budget=1,
        ending="done",
        tracking_uri="",
        seconds=9.0,
        seconds_by_phase=seconds,
    )
    words = _where_time_went(result, workers=1)
    assert words.startswith(said)
    assert (words == said) == ("train" not in seconds)


@pytest.mark.parametrize(
    ("numbers", "limit_ms", "said"),
    [
        (range(4), None, "all 4 architectures of space four were tried; search a larger space for more"),
        (
            [0],
            None,
            "3 of 4 architectures of space four were not tried, since cpu cannot run them; search another space",
        ),
        (
            [0, 1, 5],
            3.5,
            "2 of 4 architectures of space four were not tried, since they are slower than 3.5 ms or cpu cannot run them or "
            "trials of such networks failed; search another space, or with a higher limit",
        ),
    ],
)
def test_a_search_that_ends_early_says_what_was_left(numbers: Sequence[int], limit_ms: float | None, said: str) -> None:
    settings: Any = SimpleNamespace(space=FEW, device="cpu", max_latency_ms=limit_ms)
    failed = finished.record(0, None, None, state="failed")
    records = [failed if number > 3 else finished.record(number, 0.1, 2.0) for number in numbers]
    assert _why_exhausted(settings, finished.summary(*records)) == f"ended early: {said}"


def test_init_asks_on_a_terminal_until_each_answer_is_right(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["nowhere", SHAPES, "", "soon", "33ms"])
    asked = []

    def prompt(question: str, **options: object) -> str:
        asked.append(question.split()[0])
        return next(answers)

    monkeypatch.setattr("yoloret_nas.commands.init.click.prompt", prompt)
    monkeypatch.setattr("yoloret_nas.commands.init.sys", SimpleNamespace(stdin=_Terminal(), stdout=_Terminal()))
    called = call("init")
    assert called.code == 0, called.said
    assert asked == ["dataset", "dataset", "device", "slowest", "slowest"]
    assert "'nowhere' does not exist" in called.said
    assert "'soon' is not a latency; use 33ms" in called.said
    assert read_project_file(Path("yoloret-nas.yaml")) == {"data": SHAPES, "max_latency": "33ms"}


class _Terminal:
    def isatty(self) -> bool:
        return True


def test_the_project_file_stands_for_flags_and_flags_win(call: Call, played: ScriptedExecutor, stores: Path) -> None:
    stores.rename("elsewhere")
    Path("own.yaml").write_text(SPACE_YAML)
    lines = ("budget: 3", "max-latency: 999ms", "space: own.yaml", "dir: elsewhere", "study: named", "no-prune: true")
    Path("yoloret-nas.yaml").write_text("\n".join(lines))
    called = call("search", "--budget", "2")
    assert called.code == 0, called.said
    gave, announced = called.out.splitlines()[:2]
    assert gave == "yoloret-nas.yaml gives max_latency, space, study, no_prune, dir"  # budget was typed
    assert announced.startswith("study named: space handful")
    assert len(played.started) == 2
    assert played.started[0].max_latency_ms == 999.0
    assert Path("elsewhere/named").is_dir()
    # A shell would have expanded what is typed.
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", str(Path("at home").absolute()))
        Path("at home").mkdir()
        Path("own.yaml").rename("at home/own.yaml")
        text = "\n".join(lines).replace("elsewhere", "~/studies").replace("own.yaml", "~/own.yaml")
        Path("yoloret-nas.yaml").write_text(text)
        assert call("search", "--budget", "1").code == 0
    assert Path("at home/studies/named").is_dir()
    assert not Path("~").exists()
    Path("yoloret-nas.yaml").write_text("\n".join(lines))
    # The other commands look where the search wrote.
    assert_refused(call("export", "--study", "other"), 2, "no study 'other' in elsewhere")
    shutil.rmtree("elsewhere")
    assert_refused(call("ui"), 2, "there is no study in elsewhere yet")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_project_s_data_device_and_folders_reach_every_command_that_takes_them(call: Call, name: str) -> None:
    Path("weights").mkdir()
    Path("image.png").touch()
    project = {"data": "voc", "device": "cuda", "dir": "studies", "study": "mine", "skip-broken": True, "seed": 7}
    Path("yoloret-nas.yaml").write_text(
        json.dumps({**project, "weights_dir": "weights", "epochs": 30, "max_latency": 5})
    )
    given = read_project_file(Path("yoloret-nas.yaml"))
    group = click.Context(cli)
    command = cli.get_command(group, name)
    assert command is not None
    needed = {"network": "a", "source": "a", "sources": "a", "models": "a", "images": "image.png"}
    words = [needed[str(one.name)] for one in command.params if isinstance(one, click.Argument) and one.name in needed]
    group.default_map = {name: defaults_of(command, given)}
    values = command.make_context(name, words, parent=group).params

    wanted = {"data": "voc", "device": "cuda", "dir": Path("studies"), "study": "mine", "skip_broken": True}
    wanted["weights_dir"] = Path("weights")
    if name in ("compare", "export"):
        assert values["data"] is None
        del wanted["data"]
    if name == "init":  # which writes the file
        assert not any(values.values())
        wanted.clear()
    for flag, parameter in parameters_of(command).items():
        value = values[str(parameter.name)]
        if flag in wanted:
            assert value == ((wanted[flag],) if parameter.multiple else wanted[flag])
        elif flag in ("epochs", "max_latency", "seed"):  # what one search does, not what the project is about
            assert (value == given[flag]) == (name == "search")
    # A command that finds its study or its data by these has them under no other name.
    assert not {"root", "specs", "spec", "path"} & set(parameters_of(command))


def test_the_project_s_lines_hold_where_a_command_is_called(call: Call, real_study: RealStudy) -> None:
    Path("yoloret-nas.yaml").write_text(json.dumps({"dir": str(real_study.root), "data": SHAPES, "study": "real"}))
    called = call("eval", "real:0")
    assert called.code == 0, called.said
    assert f"real:0 on {SHAPES}" in called.out
    assert call("data", "--samples", "0").out.startswith("shapes")
    assert_refused(call("report", "other"), 2, f"no study 'other' in {real_study.root}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgte:", "yoloret-nas.yaml: 'budgte' is no flag of search"),
        ("budgte: 3", "'budgte' is no flag of search. Did you mean 'budget'\\? There are budget, data, .* dir"),
        ("[budget", "yoloret-nas.yaml cannot be read as YAML"),
        ("just text", "yoloret-nas.yaml must hold lines of the form flag: value"),
        ("- budget: 3", "yoloret-nas.yaml must hold lines of the form flag: value"),
        ("budget: many", "'many' is not a valid integer"),
        ("dir: true", "yoloret-nas.yaml: dir is true, and takes a value"),
        ("also_measure: [cpu, no]", "yoloret-nas.yaml: also_measure is false, and takes a value"),
        ("budget: -2", "-2 is not in the range"),
        ("data: nowhere", "'nowhere' does not exist"),
        ("max_latency: soon", "'soon' is not a latency"),
        ("seed: [0, 1]", "yoloret-nas.yaml: seed takes one value, not a list"),
        ("dir: [runs]", "yoloret-nas.yaml: dir takes one value, not a list"),
        ("skip_broken: [true]", "yoloret-nas.yaml: skip_broken takes one value, not a list"),
    ],
)
def test_a_project_file_that_is_wrong_is_refused(call: Call, played: ScriptedExecutor, text: str, message: str) -> None:
    Path("yoloret-nas.yaml").write_text(text)
    assert_refused(call("search"), 2, message)
    for words in (("--help",), ("search", "--help"), ("report", "-h"), ("completion", "bash"), ("space", "--yaml")):
        assert call(*words).code == 0, words
    assert_refused(call("init"), 2, "yoloret-nas.yaml exists already; edit it")


def test_an_empty_project_file_is_none(call: Call) -> None:
    Path("yoloret-nas.yaml").write_text("# nothing yet\n")
    assert call("space", "tiny").code == 0


def test_a_line_without_a_value_is_none(call: Call) -> None:
    Path("yoloret-nas.yaml").write_text("data:\nstudy:\n")
    assert read_project_file(Path("yoloret-nas.yaml")) == {}
    assert_refused(call("export"), 2, "Missing option '--study'")


@pytest.mark.parametrize("name", choices.SPACES)
def test_a_space_is_shown_with_its_size_its_axes_and_what_it_excludes(call: Call, name: str) -> None:
    called = call("space", name)
    space = open_space(name)
    assert called.code == 0
    assert called.said.startswith(f"{name}: {space.description}")
    assert f"{space.size:,} architectures" in called.out
    for axis in ("backbone", "scale_set", "shortcut", "head", "input_size"):
        assert axis in called.out
    reason, count = space.exclusions.most_common(1)[0]
    assert f"{count} × {reason}" in called.said
    assert "presets inside" in called.out


@pytest.mark.parametrize("name", choices.SPACES)
def test_a_space_as_a_file_is_the_same_space(call: Call, name: str) -> None:
    Path("mine.yaml").write_text(call("space", name, "--yaml").out, encoding="utf-8")
    assert read_space(Path("mine.yaml")) == open_space(name)


def test_a_space_can_draw_samples(call: Call) -> None:
    lines = [line for line in call("space", "tiny", "--sample", "3").out.splitlines() if "M MACs" in line]
    assert len(lines) == 3
    assert lines == [line for line in call("space", "tiny", "--sample", "3").out.splitlines() if "M MACs" in line]


def test_data_describes_and_draws(call: Call) -> None:
    called = call("data", write_yolo(Path("data")))
    assert called.code == 0, called.said
    assert "thing" in called.out
    assert "next: yoloret-nas search --data data" in called.out.lower()
    assert Path("dataset.png").is_file()
    assert json.loads(call("data", "data", "--json", "--samples", "0").out)["picture"] is None


def test_data_quotes_its_folder_in_the_next_command(call: Call) -> None:
    called = call("data", write_yolo(Path("my data")), "--samples", "0")
    assert "yoloret-nas search --data 'my data' --budget 50" in called.out


def test_a_tensorrt_is_asked_about_a_space(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    Path("own.yaml").write_text(
        "backbones:\n  mobilenetv2_035: {truncation: [14]}\n  mobilenetv3_small_050: {truncation: [9, 11]}\n"
        "scale_set: [none]\ninput_size: [64]\n"
    )
    taken = call("space", "own.yaml", "--check", "8.2")
    assert taken.code == 0, taken.said
    assert taken.out.splitlines() == [
        "own: asking our tables for TensorRT 8.2.0 (opset 13)",
        'to ask NVIDIA\'s own parser too: pip install "yoloret-nas[rtx]"',
        "2 networks taken, none refused; together they have every choice of the space, each backbone at its deepest cut",
    ]
    monkeypatch.setitem(tensorrt_version._FIRST_IN, "HardSigmoid", TensorRTVersion(8, 4))
    refused = call("space", "own.yaml", "--check", "8.2")
    assert refused.code == 1
    assert "refused mobilenetv3_small_050[:11] 64px" in refused.said
    assert "1 of 2 networks are refused, those with backbone mobilenetv3_small_050" in refused.said


def test_a_board_is_asked_by_its_version_alone(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(version=TensorRTVersion(8, 2))
    monkeypatch.setattr("trials.latency.compatibility.open_judge", lambda spec: judge)
    monkeypatch.setattr(
        "trials.latency.compatibility.judge_space", lambda *_, **__: Report(taken=(), refused=(), culprits=())
    )
    called = call("space", "tiny", "--check", "ssh://nano")
    assert called.out.startswith("tiny: asking our tables for TensorRT 8.2.0 (opset 13)\n")
    assert "pip install" not in called.out
    assert "pip install" in call("space", "tiny", "--check", "8.2").out


def test_what_is_asked_about_a_space_must_have_tensorrt(call: Call) -> None:
    assert_refused(call("space", "tiny", "--check", "cpu"), 2, "takes them all")
    assert_refused(call("space", "tiny", "--check", "nano"), 2, "'nano' names no TensorRT")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: {a: 1}", "budget is \"{'a': 1}\", no text"),
        ("data: 2001-12-14", "data is '2001-12-14', no text"),
        ("also_measure: [[cpu]]", "also_measure is \"['cpu']\", no text"),
        ("data: 2001-99-99", "cannot be read as YAML: month must be in 1..12"),
        ("data: " + "[" * 20000, "cannot be read as YAML: it is nested more than 100 levels deep"),
        ("budget: 3\nepochs: 2\nbudget: 5", "line 3: 'budget' is given twice, first in line 1"),
        ("max-latency: 3ms\nmax_latency: 5ms", "max_latency is given twice"),
        ("data: d\nbudget: 050", "line 2: '050' is no plain number"),
        ("x: &x [*x]", "cannot be read as YAML: an alias stands for what it is part of"),
        ("data: 3", "dataset '3' does not exist"),  # a number is not the file that is open under it
    ],
)
def test_a_project_file_that_was_made_to_break_its_reader(call: Call, text: str, said: str) -> None:
    Path("yoloret-nas.yaml").write_text(text, encoding="utf-8")
    called = call("data")
    assert (called.code, said in called.said) == (2, True), called.said
    assert "bug" not in called.said


@pytest.mark.parametrize("number", ["²", "9" * 5000, "-1"])
def test_a_trial_that_is_no_number_names_no_network(call: Call, real_study: RealStudy, number: str) -> None:
    assert_refused(call("eval", f"real:{number}", "--data", SHAPES, "--dir", real_study.root), 2, "names no network")


def test_files_that_are_no_networks_are_refused_by_every_command(call: Call, real_study: RealStudy) -> None:
    assert (
        call("export", "--study", "real", "--dir", real_study.root, "--no-measure", "--no-check", "--out", "e").code
        == 0
    )
    Path("a.yaml").write_text("head_width: 1\n3: 4\n", encoding="utf-8")
    assert_refused(call("latency", "a.yaml"), 2, "unknown architecture field '3'")
    Path("a.yaml").write_text("backbone: mobilenetv2_050\ntruncation: 016\n", encoding="utf-8")
    assert_refused(
        call("latency", "a.yaml"), 2, "a.yaml cannot be read as YAML or JSON: line 2: '016' is no plain number"
    )
    Path("e/model.onnx").write_bytes(b"garbage")
    Image.new("RGB", (64, 64)).save("a.png")
    assert_refused(call("predict", "e", "a.png"), 2, "cannot be run")
    assert_refused(call("eval", "e/model.onnx", "--data", SHAPES), 2, "cannot be run")
    assert_refused(call("latency", "e/model.onnx"), 1, "ONNX Runtime cannot run model.onnx")
    Path("e/checkpoint.pt").write_bytes(b"garbage")
    assert_refused(call("eval", "e", "--data", SHAPES), 1, "cannot be read as a checkpoint")
    assert_refused(call("compare", "e"), 1, "cannot be read as a checkpoint")
    Path("e/detector.json").write_text("[" * 100_000, encoding="utf-8")
    assert_refused(call("predict", "e", "a.png"), 2, "detector.json is not JSON: it is nested too deeply")
    Path("e/detector.json").write_text('{"input_hw": [64, 64], "input_hw": [96, 96]}', encoding="utf-8")
    assert_refused(call("predict", "e", "a.png"), 2, "detector.json is not JSON: the key 'input_hw' is given twice")


# --- what is written, and where -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_home_folder_is_meant_wherever_a_path_is_an_option(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    types = [one for parameter in command.params for one in getattr(parameter.type, "types", [parameter.type])]
    assert not [one for one in types if isinstance(one, click.Path)]  # which takes ~ for a name


def test_a_home_folder_behind_an_equals_sign_is_the_home_folder(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("home").absolute()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert_refused(call("ui", "--dir=~/runs"), 2, f"there is no study in {home}/runs yet")
    data = write_yolo(Path("data"))
    assert call("data", data, "--out=~/drawn.png").code == 0
    assert (home / "drawn.png").is_file()
    (home / "own.yaml").write_text(SPACE_YAML)
    assert_refused(call("search", "--space=~/own.yaml", "--device", "abacus"), 2, "device 'abacus' is unknown")
    assert not Path("~").exists()


def test_a_copy_is_not_taken_for_the_dataset_of_its_name(call: Call) -> None:
    called = call("data", write_yolo(Path("data")), "--samples", "0", "--convert", "coco", "voc")
    assert "yoloret-nas search --data ./voc --budget 50" in called.out


def test_a_picture_that_nobody_asked_for_goes_where_it_can(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    data, home = write_yolo(Path("data")), Path("home").absolute()
    monkeypatch.setenv("YOLORET_NAS_DATA", str(home))
    monkeypatch.setattr("yoloret_nas.options.values.why_not_writable", lambda folder: "Read-only file system")
    called = call("data", data)
    assert called.code == 0, called.said
    assert f"Drawn images: {home}/dataset.png" in called.out
    assert not Path("dataset.png").exists()


def test_a_report_is_printed_though_its_page_has_no_place(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(found: object, page: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(page))

    monkeypatch.setattr("search.reports.write_report_page", refuse)
    called = call("report", "real", "--dir", real_study.root)
    assert called.code == 0, called.said
    assert "front of real" in called.out
    assert "real/report.html cannot be written: Read-only file system" in called.out.replace("\n", "")


def test_what_could_not_be_written_is_refused_before_the_work(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_yolo(Path("data"))
    assert_refused(call("data", data, "--out", "/proc/x.png"), 2, "--out /proc/x.png cannot be written: ")
    assert call("data", data, "--out", "/proc/x.png", "--samples", "0").code == 0  # nothing is
    monkeypatch.setattr("search.reports.make_report", lambda opened: pytest.fail("too late"))
    report = ("report", "real", "--dir", real_study.root, "--out")
    assert_refused(call(*report, "missing/r.html"), 2, "--out missing/r.html: there is no folder missing")
    assert_refused(call(*report, "/proc/r.html"), 2, "--out /proc/r.html cannot be written: ")
    export = ("export", "--study", "real", "--dir", real_study.root, "--refit", "9", "--out")
    assert_refused(call(*export, "/proc/there/x"), 2, "an export cannot be written to /proc/there/x: ")


@pytest.mark.parametrize(
    "words",
    [
        "init --data voc",
        "eval real:0 --data voc",
        "compare real:0 --data voc",
        "export --study real --data voc --out gone",
    ],
)
def test_what_is_fetched_is_named_whoever_asks_for_it(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    def fetch(name: str, report: Any = lambda *_: None) -> Path:
        for done in (0, 10**9):
            report("VOC.tar", done, 2 * 10**9)
        raise DatasetError("the line is cut")

    monkeypatch.setattr("trials.data.known_datasets.fetch_known", fetch)
    where = () if words.startswith("init") else ("--dir", real_study.root)
    called = call(*words.split(), *where)
    assert_refused(called, 2, "the line is cut")
    assert called.err.splitlines()[0] == "fetching VOC.tar (2.0 GB)"


# --- exports that are ended ---------------------------------------------------------------------------------------


def test_an_export_that_is_terminated_leaves_nothing(
    call: Call, real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*given: object) -> None:
        assert list(Path().glob(".gone-*-partial"))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("yoloret_nas.export.export_trial.write_card", terminate)
    called = call("export", "--study", "real", "--dir", real_study.root, "--no-measure", "--no-check", "--out", "gone")
    assert called.code == 143, called.said
    assert list(Path().iterdir()) == []


def test_a_signal_that_is_ignored_stays_so(call: Call) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        assert call("space", "tiny").code == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def left_by_a_killed_process(folder: Path, state: str) -> Path:
    """Make what an export to a folder that was killed leaves beside it."""
    dead = scratch_prefix().replace(str(identify(os.getpid())), f"{os.getpid()}-0")
    left = folder.with_name(f".{folder.name}-{dead}abcd-{state}")
    left.mkdir()
    (left / "detector.json").write_text(state)
    return left


def test_the_next_export_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    others = [tmp_path / ".x-1-partial", tmp_path / f".x-{scratch_prefix()}abcd-partial", tmp_path / ".y-partial"]
    for other in others:
        other.mkdir()
    left_by_a_killed_process(tmp_path / "x", "partial")
    with new_bundle(tmp_path / "x", replace=False) as partial:
        (partial / "detector.json").write_text("new")
    left_by_a_killed_process(tmp_path / "x", "former")
    with new_bundle(tmp_path / "x", replace=True) as partial:
        (partial / "detector.json").write_text("newer")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "x"])
    assert (tmp_path / "x" / "detector.json").read_text() == "newer"


def test_an_export_that_was_moved_aside_by_a_killed_one_is_put_back(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "x", "former")
    left_by_a_killed_process(tmp_path / "x", "partial")
    with pytest.raises(BundleError, match="x exists already"), new_bundle(tmp_path / "x", replace=False):
        pytest.fail("it is there")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x" / "detector.json").read_text() == "former"
