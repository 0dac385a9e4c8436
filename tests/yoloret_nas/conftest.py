"""The command line, called as a process would call it, and a small real study for the commands that read one."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from search.driver.executor import Event, Finished, Progressed
from search.strategy.optuna_samplers import SpaceSampler
from search.study.settings import StudySettings
from search.study.study import Study
from tests.search.driver.scripted import IDENTITY, SPACE
from tests.search.records import BENT
from trials.data import open_dataset
from trials.latency import cache, steadiness
from trials.progress import Progress
from trials.training import TrainSettings
from trials.trial import run_trial
from trials.trial_result import TrialRequest
from yoloret_nas.cli import main

SPACE_YAML = """\
name: handful
description: For tests.
backbones:
  mobilenetv3_small_050: {truncation: [9, 11]}
scale_set: [none]
head: [plain, fpn]
head_width: [32]
input_size: [64]
"""
SHAPES = "shapes:train=16,val=8,size=64"


@dataclass(frozen=True, kw_only=True)
class Called:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both outputs, blanks and frames of messages taken out."""
        return " ".join((self.out + self.err).replace("│", " ").split())


Call = Callable[..., Called]


@pytest.fixture(autouse=True, scope="package")
def kept_handlers() -> Iterator[None]:
    """Gives signals the handlers back that the command line sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="package")
def any_machine() -> Iterator[None]:
    """Latencies are real here, and the machine may be busy: a figure that is hardly known will do."""
    with pytest.MonkeyPatch.context() as patch:
        patient = steadiness.Thresholds(max_error=100.0, max_over_fastest=100.0, max_corrected_slowdown=100.0)
        for module in (steadiness, cache):
            patch.setattr(module, "THRESHOLDS", patient)
        yield


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Call]:
    """Calls `yoloret-nas` with arguments, in a folder of the test's own."""
    before = dict(os.environ)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["yoloret-nas", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return Called(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    yield run
    for name in set(os.environ) - set(before):  # what `main` sets for the libraries
        del os.environ[name]


@dataclass
class InlineExecutor:
    """Runs real trials in the test's own process, which saves them a process each."""

    capacity: int = 1
    _waiting: list[TrialRequest] = field(default_factory=list)

    def start(self, request: TrialRequest) -> None:
        self._waiting.append(request)

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        request, heard = self._waiting.pop(0), []

        def report(progress: Progress) -> bool:
            heard.append(Progressed(number=request.number, progress=progress))
            return True

        result = run_trial(request, report)
        return [*heard, Finished(number=request.number, result=result)]

    def answer(self, number: int, *, go_on: bool) -> None:
        pass

    def withdraw(self) -> Sequence[int]:
        return ()

    def kill(self, number: int) -> None:
        raise NotImplementedError("a trial in the test's own process cannot be killed")

    def close(self) -> Sequence[Finished]:
        self._waiting.clear()
        return ()


@dataclass(frozen=True, kw_only=True)
class RealStudy:
    """A study of real trials."""

    root: Path
    space: Path
    output: str
    """What its search printed, into a pipe."""


@pytest.fixture(scope="package")
def real_study(tmp_path_factory: pytest.TempPathFactory, empty_stores: Path) -> RealStudy:
    """Two real trials of a handful of networks, searched once for all tests; they must leave it as it is."""
    root = tmp_path_factory.mktemp("real")
    shutil.copytree(empty_stores, root / "runs")
    space = root / "handful.yaml"
    space.write_text(SPACE_YAML, encoding="utf-8")
    flags = (
        f"--budget 2 --data {SHAPES} --epochs 1 --space {space} --max-latency 999 --study real --dir {root / 'runs'} "
        "--keep all"
    )
    threads = torch.get_num_threads()
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        patch.chdir(root)
        patch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: InlineExecutor())
        patch.setattr(sys, "argv", ["yoloret-nas", "search", *flags.split()])
        written = root / "output.txt"
        with written.open("w", encoding="utf-8") as file:
            patch.setattr(sys, "stdout", file)
            with pytest.raises(SystemExit, match="0"):
                main()
    torch.set_num_threads(threads)
    for name in set(os.environ) - set(before):
        del os.environ[name]
    return RealStudy(root=root / "runs", space=space, output=written.read_text(encoding="utf-8"))


@pytest.fixture
def copied_study(real_study: RealStudy, tmp_path: Path) -> RealStudy:
    """A copy of the real study, to be changed."""
    shutil.copytree(real_study.root, tmp_path / "copied")
    return RealStudy(root=tmp_path / "copied", space=real_study.space, output=real_study.output)


@pytest.fixture
def bent_study(tmp_path: Path, empty_stores: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study `bent` of the figures of `BENT`, whose weights are not kept."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "recorded"
    shutil.copytree(empty_stores, root)
    settings = StudySettings(
        name="bent",
        space=SPACE,
        dataset=SHAPES,
        device="cpu",
        train=TrainSettings(epochs=1),
        sampler="random",
        root=root,
    )
    study = Study(settings, SpaceSampler(SPACE, name="random", seed=0))
    study.check_identity(open_dataset(SHAPES), IDENTITY, notice=pytest.fail)
    study.reference_latency_ms = BENT.reference.latency_ms
    for one in BENT.records:
        asked = study.ask()
        assert asked is not None
        study.tell(asked[0], one.result)
    return root
