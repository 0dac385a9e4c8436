"""Stand-ins for a search's surroundings: an executor without processes, a device without a clock, a view that records."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from search.driver.devices import LocalDevices
from search.driver.executor import Died, Event, Finished, Lost, Progressed
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.settings import StudySettings
from spaces import Architecture
from spaces.space import BackboneChoice, Space
from trials.latency import DeviceIdentity, Latency
from trials.progress import Progress
from trials.trial_result import TrialRequest, TrialResult

IDENTITY = DeviceIdentity(kind="cpu", board="stand-in", backend="none", precision="fp32", settings={"threads": "1"})

SPACE = Space(
    name="some-hundred",
    description="For tests.",
    backbones={
        "mobilenetv3_small_050": BackboneChoice(truncation=(9, 10, 11)),
        "mobilenetv2_035": BackboneChoice(truncation=(14, 16)),
    },
    axes={
        "scale_set": ("none", "8+16+32@16>8+16+32"),
        "shortcut": ("none", "maxpool"),
        "rfcr_width": (8, 16),
        "head": ("plain", "fpn", "fpn_pan"),
        "head_width": (32,),
        "input_size": (64, 96, 128),
    },
)
FEW = Space(
    name="four",
    description="Of four architectures.",
    backbones={"mobilenetv3_small_050": BackboneChoice(truncation=(9, 11))},
    axes={"scale_set": ("none",), "head": ("plain", "fpn"), "head_width": (32,), "input_size": (64,)},
)

Script = Callable[[TrialRequest], Generator[Event, bool | None, None]]


class DriverKilledError(BaseException):
    """Ends the driver where it stands, as SIGKILL would: nothing in the search may catch it."""


def fake_ap(architecture: Architecture) -> float:
    """An AP in (0, 1) that grows with the network, and is its own for each."""
    grain = int(architecture.key, 16) % 997 / 997
    return 1 - math.exp(-(architecture.truncation / 20 + architecture.input_size / 200 + 0.3 * grain))


def fake_latency_ms(architecture: Architecture) -> float:
    """A latency that grows with the network, and is its own for each."""
    grain = int(architecture.key, 16) % 991 / 991
    return (architecture.input_size / 32) ** 2 * (1 + architecture.truncation / 10) * (1 + 0.2 * grain)


def latency(median_ms: float) -> Latency:
    """Give a measurement with this median; it took a second, so that what look-ups cost does not depend on the machine."""
    return Latency(samples_ms=(median_ms * 0.9, median_ms, median_ms * 1.5), device=IDENTITY, seconds=1.0)


def play_trial(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial that goes well, or misses the limit: with every epoch's score, heeding the answers."""
    number, goal = request.number, fake_ap(request.architecture)
    known = latency(fake_latency_ms(request.architecture))
    yield Progressed(number=number, progress=Progress(phase="build"))
    if request.max_latency_ms is not None and known.median_ms > request.max_latency_ms:
        result = TrialResult(state="infeasible", reason="it is over the limit", latency=known, macs=2_000_000, params=9)
        yield Finished(number=number, result=result)
        return
    yield Progressed(number=number, progress=Progress(phase="measure", latency_ms=known.median_ms))
    history = []
    for epoch in range(1, request.train.epochs + 1):
        ap = goal * epoch / request.train.epochs
        history.append((epoch, 2.0 / epoch, ap, ap))
        progress = Progress(phase="train", epoch=epoch, num_epochs=request.train.epochs, loss=2.0 / epoch, ap=ap)
        if not (yield Progressed(number=number, progress=progress)):
            break
    yield Finished(
        number=number,
        result=TrialResult(
            state="complete" if epoch == request.train.epochs else "pruned",
            latency=known,
            ap=history[-1][2],
            ap50=history[-1][3],
            per_class_ap={"circle": goal},
            macs=2_000_000,
            params=1_000,
            epochs=epoch,
            precision="bf16",
            history=tuple(history),
            seconds={"train": 1.0},
        ),
    )


def measure_also(spec: str, identity: DeviceIdentity) -> Script:
    """Give the script of a trial that goes well and has a latency of a further device."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        trial = play_trial(request)
        event = next(trial)
        while not isinstance(event, Finished):
            event = trial.send((yield event))
        also = {spec: Latency(samples_ms=(7.0,), device=identity)}
        yield replace(event, result=replace(event.result, also=also))

    return play


def die_of(reason: str) -> Script:
    """Give the script of a process that ends without a result."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        yield Progressed(number=request.number, progress=Progress(phase="build"))
        yield Died(number=request.number, reason=reason)

    return play


def lose_with(reason: str) -> Script:
    """Give the script of a trial that is ended from outside."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        yield Progressed(number=request.number, progress=Progress(phase="train"))
        yield Lost(number=request.number, reason=reason)

    return play


def fail_with(reason: str) -> Script:
    """Give the script of a trial that fails before it is measured."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        yield Finished(number=request.number, result=TrialResult(state="failed", reason=reason))

    return play


def hang(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial that is built, and then never heard of again."""
    yield Progressed(number=request.number, progress=Progress(phase="build"))
    while True:
        yield None  # type: ignore[misc]  # `ScriptedExecutor` takes it for silence


def find_device_away(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial whose device stays out of reach."""
    result = TrialResult(state="failed", reason="nano cannot be reached", is_device_away=True)
    yield Finished(number=request.number, result=result)


def find_disk_full(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial that has no room for its files."""
    yield Progressed(number=request.number, progress=Progress(phase="build"))
    result = TrialResult(state="failed", reason="No space left on device: here", is_outside_fault=True)
    yield Finished(number=request.number, result=result)


def kill_driver(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial in whose midst the driver is killed."""
    yield Progressed(number=request.number, progress=Progress(phase="build"))
    raise DriverKilledError


@dataclass
class ScriptedExecutor:
    """An `Executor` that plays one message of each running trial at a time."""

    scripts: dict[int, Script] = field(default_factory=dict)
    """By trial number; the others play `play_trial`."""
    capacity: int = 1
    started: list[TrialRequest] = field(default_factory=list)
    answers: list[tuple[int, bool]] = field(default_factory=list)
    most_at_once: int = 0
    killed: list[int] = field(default_factory=list)
    is_closed: bool = False
    _running: dict[int, Generator[Event, bool | None, None]] = field(default_factory=dict)
    _waiting: dict[int, bool] = field(default_factory=dict)

    def start(self, request: TrialRequest) -> None:
        assert request.number not in self._running, f"{request.number} is already running"
        assert len(self._running) < self.capacity, f"{request.number} has no worker"
        self.started.append(request)
        self._running[request.number] = self.scripts.get(request.number, play_trial)(request)
        self.most_at_once = max(self.most_at_once, len(self._running))

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        answers = [play.send(self._waiting.pop(number, None)) for number, play in self._running.items()]
        heard = [event for event in answers if event is not None]
        for event in heard:
            if not isinstance(event, Progressed):
                del self._running[event.number]
        return heard

    def answer(self, number: int, *, go_on: bool) -> None:
        self.answers.append((number, go_on))
        self._waiting[number] = go_on

    def withdraw(self) -> Sequence[int]:
        return ()

    def kill(self, number: int) -> None:
        del self._running[number]
        self.killed.append(number)

    def close(self) -> Sequence[Finished]:
        self._running.clear()
        self.is_closed = True
        return ()


@dataclass
class RecordingView:
    """Keeps what it is told."""

    opened_with: list[tuple[int, int]] = field(default_factory=list)
    """Trials there were, and the budget, at each opening."""
    began: list[int] = field(default_factory=list)
    progress: list[tuple[int, Progress]] = field(default_factory=list)
    ended: list[TrialRecord] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    decoded: list[tuple[int, int]] = field(default_factory=list)

    def checking_images(self, done: int, whole: int) -> None:
        self.decoded.append((done, whole))

    def opened(self, summary: Summary, *, budget: int) -> None:
        self.opened_with.append((len(summary.records), budget))

    def started(self, number: int, architecture: Architecture) -> None:
        self.began.append(number)

    def progressed(self, number: int, progress: Progress) -> None:
        self.progress.append((number, progress))

    def finished(self, record: TrialRecord, summary: Summary) -> None:
        assert summary.records[-1].number >= record.number
        self.ended.append(record)

    def put_back(self, number: int) -> None:
        self.given_up.append(number)

    def noticed(self, message: str) -> None:
        self.notices.append(message)


class Measures(LocalDevices):
    """Devices whose measurements a function stands for; their latencies are of `IDENTITY`."""

    def __init__(self, measure_ms: Callable[..., float]) -> None:
        self._measure_ms = measure_ms

    def measure(self, architecture: Architecture, settings: StudySettings, *, num_classes: int, **_: Any) -> Latency:
        return latency(self._measure_ms(architecture, settings, num_classes=num_classes))


@dataclass
class StandInDevice:
    """A `Device` that times nothing."""

    name: str = "cpu"
    opset: int = 13
    known: DeviceIdentity = IDENTITY
    measured: list[Path] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    """Raised by the next measurements, in turn."""

    def identity(self) -> DeviceIdentity:
        return self.known

    def measure(self, onnx_path: Path) -> Latency:
        if self.faults:
            raise self.faults.pop(0)
        self.measured.append(onnx_path)
        return latency(100.0)

    def close(self) -> None:
        pass


class RecordingTracking:
    """Takes MLflow's place: keeps who was started, scored, ended, and how the study's run ended."""

    def __init__(self, runs: "Runs") -> None:
        self._runs = runs
        self.uri = "nowhere"

    def __enter__(self) -> "RecordingTracking":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, study_id: str, description: Mapping[str, str]) -> None:
        pass

    def catch_up(self, summary: Summary) -> None:
        self._runs.caught_up.append([record.number for record in summary.records])

    def started(self, number: int, architecture: Architecture, *, why: str = "") -> None:
        self._runs.started.append(number)

    def scored(self, number: int, progress: Progress) -> None:
        self._runs.scored.append((number, progress))

    def prepared(self, losses: Sequence[tuple[int, float]]) -> None:
        self._runs.prepared += losses

    def interrupted(self, number: int) -> None:
        self._runs.interrupted.append(number)

    def finished(self, record: TrialRecord, *, seconds: float | None) -> None:
        self._runs.finished.append(record.number)

    def update(self, summary: Summary) -> None:
        self._runs.hypervolumes.append(summary.hypervolume)

    def close(self, summary: Summary, *, status: str, files: Sequence[Path]) -> None:
        self._runs.status.append(status)


@dataclass
class Runs:
    """What the tracking stand-ins of a test were told."""

    caught_up: list[list[int]] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    scored: list[tuple[int, Progress]] = field(default_factory=list)
    prepared: list[tuple[int, float]] = field(default_factory=list)
    interrupted: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    hypervolumes: list[float] = field(default_factory=list)
    status: list[str] = field(default_factory=list)


def write_yolo(folder: Path, *, num_train: int, size: tuple[int, int] = (32, 32)) -> Path:
    """Write a YOLO folder of small grey images with one object each."""
    for split, count in (("train", num_train), ("val", 1)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", size, "grey").save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [thing]\n")
    return folder
