"""Named trainings side by side, each run to its end: what a search does not decide.

A search asks which architecture; an experiment is told: a full training is one variant, an ablation some, a transfer curve
some with several seeds. Each variant is a trial like a search's (measured, trained, scored, in MLflow) in a folder of its
own; the same command goes on where it stopped, in the middle of a training too.
"""

import dataclasses
import json
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.driver.executor import Died, Event, Executor, Progressed
from search.driver.lock import driver_lock
from search.driver.search import Interrupt
from search.driver.view import View
from search.study.errors import StudyError
from search.study.pareto import Reference
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from search.study.settings import OF_THE_MACHINE, changes, check_name
from search.study.summary import Summary
from search.tracking.runs import Tracking
from spaces import Architecture
from trials.data.open_dataset import open_dataset
from trials.latency.open_device import open_device
from trials.training.settings import TrainSettings
from trials.trial_result import TrialRequest, TrialResult, read_result, write_json

EXPERIMENT_FILE = "experiment.json"
_POLL_S = 0.25
_FIRST_PATIENCE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training of an experiment."""

    label: str
    """What tells it from the others, but for the seed."""
    architecture: Architecture
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give the form of JSON."""
        return {"label": self.label, "architecture": self.architecture.to_dict(), "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """All that the variants of an experiment have in common."""

    name: str
    """Names its folder and its MLflow experiment."""
    dataset: str
    """What the user typed for the data."""
    device: str
    """What the user typed for the device."""
    train: TrainSettings
    """How each variant trains; the seed is the variant's."""
    also_measure: tuple[str, ...] = ()
    """Further devices whose latency is recorded."""
    skip_broken: bool = False
    """Whether broken items are left out rather than ending the training."""
    measures_anew: bool = False
    """Whether latencies are measured for this experiment alone, rather than taken from the cache of the root."""
    root: Path = Path("runs")
    """Folder of all studies and experiments, stores and caches."""

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def folder(self) -> Path:
        """Where the experiment's files are."""
        return self.root / self.name

    @property
    def latency_cache(self) -> Path:
        """Where latencies are kept; beside the root's own, since quiet machines are agreed on there."""
        return self.root / (f"latency-{self.name}.db" if self.measures_anew else "latency.db")

    def trial_folder(self, number: int) -> Path:
        """Where one variant's files are."""
        return self.folder / "trials" / f"{number:04d}"

    def fixed(self) -> dict[str, Any]:
        """Give what must stay the same when the experiment goes on, of JSON types only."""
        train = {k: v for k, v in dataclasses.asdict(self.train).items() if k not in (*OF_THE_MACHINE, "seed")}
        values = {"dataset": self.dataset, "device": self.device, "train": train, "skip_broken": self.skip_broken}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class ExperimentOutcome:
    """What an experiment came to."""

    results: tuple[tuple[Variant, TrialRecord], ...]
    """The asked variants that are finished, in the order given."""
    was_interrupted: bool
    """Whether the user ended it before all were."""
    tracking_uri: str
    """MLflow's store."""


def run_experiment(
    settings: ExperimentSettings,
    variants: Sequence[Variant],
    *,
    executor: Executor,
    view: View,
    interrupted: Callable[[], Interrupt] = lambda: "no",
    reports: Callable[[Sequence[tuple[Variant, TrialRecord]]], Sequence[Path]] = lambda results: (),
) -> ExperimentOutcome:
    """Run the variants that are not finished yet; failed ones are run again.

    Args:
        settings: Which experiment; an existing one goes on, with further variants if some are new.
        variants: What to train.
        executor: Where; closed at the end.
        view: Who watches.
        interrupted: Asked often, as in a search.
        reports: Writes tables and pictures of the results; they go onto the experiment's MLflow run.

    Raises:
        StudyError: the folder belongs to a study, or to an experiment of other settings.
        DatasetError: the data cannot be read.
        DeviceError: the device is not there.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    with driver_lock(settings.folder), closing(executor):
        run = _Run(settings, variants, executor, view=view)
        was_interrupted = run.run(interrupted)
        results = run.results(variants)
        files = reports(results)
        run.tracking.close(run.summary, status="KILLED" if was_interrupted else "FINISHED", files=files)
        return ExperimentOutcome(results=results, was_interrupted=was_interrupted, tracking_uri=run.tracking.uri)


def read_experiment(root: Path, name: str) -> ReadStudy | None:
    """Read an experiment as a study is read: its finished variants are its trials, their labels stand as presets do.

    Returns:
        None where no experiment is called so.
    """
    path = root / name / EXPERIMENT_FILE
    if not path.is_file():
        return None
    book = json.loads(path.read_text(encoding="utf-8"))
    records = []
    for number, values in enumerate(book["variants"]):
        if result := read_result(root / name / "trials" / f"{number:04d}"):
            records.append(_record(number, _variant(values), result))
    return ReadStudy(name=name, root=root, summary=_summary(records), device=book["settings"]["device"])


class _Run:
    """The driver's state while an experiment runs."""

    def __init__(
        self, settings: ExperimentSettings, variants: Sequence[Variant], executor: Executor, *, view: View
    ) -> None:
        self._settings, self._executor, self._view = settings, executor, view
        dataset = open_dataset(settings.dataset, on_broken="skip" if settings.skip_broken else "stop")
        for note in (*dataset.notes, *(f"left out: {line}" for line in dataset.left_out)):
            view.noticed(note)
        with closing(open_device(settings.device, patience_s=_FIRST_PATIENCE_S)) as device:
            identity = device.identity()
        self._device_key = identity.key
        book = _open_book(settings, variants)
        self._variants = [_variant(values) for values in book["variants"]]
        finished = [(number, variant, self._read(number)) for number, variant in enumerate(self._variants)]
        self._records = {n: _record(n, variant, result) for n, variant, result in finished if result is not None}
        self._waiting = [n for n, one in enumerate(self._variants) if one in variants and n not in self._records]
        self._budget = len(self._waiting) + len(self._records)
        self.tracking = Tracking(
            settings,
            study_id=book["id"],
            description={
                "dataset": f"{settings.dataset}: {len(dataset.splits['train'])} train, {len(dataset.splits['val'])} val",
                "classes": ", ".join(dataset.class_names),
                "device": str(identity),
                "training": f"{settings.train.recipe}, {settings.train.epochs} epochs, batch {settings.train.batch_size}",
            },
        )
        self.tracking.catch_up(list(self._records.values()))
        self._running: dict[int, float] = {}

    @property
    def summary(self) -> Summary:
        return _summary([self._records[number] for number in sorted(self._records)])

    def results(self, variants: Sequence[Variant]) -> tuple[tuple[Variant, TrialRecord], ...]:
        numbers = {variant: number for number, variant in enumerate(self._variants)}
        asked = [(variant, self._records.get(numbers[variant])) for variant in variants]
        return tuple((variant, record) for variant, record in asked if record is not None)

    def run(self, interrupted: Callable[[], Interrupt]) -> bool:
        """Run what waits; True where the user ended it before."""
        self._view.opened(self.summary, budget=self._budget)
        while True:
            wish = interrupted()
            if wish == "now":
                self._executor.close()
                for number in list(self._running):
                    self._put_back(number)
            elif wish == "no":
                while self._waiting and len(self._running) < self._executor.capacity:
                    self._start(self._waiting.pop(0))
            if not self._running:
                return bool(self._waiting)
            for event in self._executor.events(timeout_s=_POLL_S):
                self._handle(event, is_ending=wish != "no")

    def _start(self, number: int) -> None:
        variant, settings = self._variants[number], self._settings
        self._running[number] = time.monotonic()
        self._executor.start(
            TrialRequest(
                number=number,
                architecture=variant.architecture,
                dataset=settings.dataset,
                skip_broken=settings.skip_broken,
                device=settings.device,
                device_key=self._device_key,
                also_measure=settings.also_measure,
                max_latency_ms=None,
                train=replace(settings.train, seed=variant.seed, is_resumable=True),
                work_dir=settings.trial_folder(number),
                latency_cache=settings.latency_cache,
            )
        )
        self.tracking.started(number, variant.architecture)
        self._view.started(number, variant.architecture)

    def _handle(self, event: Event, *, is_ending: bool) -> None:
        if isinstance(event, Progressed):
            self._view.progressed(event.number, event.progress)
            if event.progress.ap is not None:
                self._executor.answer(event.number, go_on=True)
                self.tracking.scored(event.number, event.progress)
            return
        if isinstance(event, Died) and is_ending:
            self._put_back(event.number)
            return
        result = TrialResult(state="failed", reason=event.reason) if isinstance(event, Died) else event.result
        seconds = time.monotonic() - self._running.pop(event.number)
        record = _record(event.number, self._variants[event.number], result)
        self._records[event.number] = record
        self.tracking.finished(record, seconds=seconds)
        self._view.finished(record, self.summary)

    def _put_back(self, number: int) -> None:
        del self._running[number]
        self._waiting.insert(0, number)
        self.tracking.interrupted(number)
        self._view.put_back(number)

    def _read(self, number: int) -> TrialResult | None:
        """Give a variant's result; one that failed is taken away, so that it is run again."""
        folder = self._settings.trial_folder(number)
        result = read_result(folder)
        if result is None or result.state == "complete":
            return result
        shutil.rmtree(folder)
        return None


def _open_book(settings: ExperimentSettings, variants: Sequence[Variant]) -> dict[str, Any]:
    """Read or begin what the experiment remembers: its id, its settings, its variants in the order they came."""
    path = settings.folder / EXPERIMENT_FILE
    wanted = [json.loads(json.dumps(variant.to_dict())) for variant in variants]
    if path.is_file():
        book: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if lines := changes(book["settings"], settings.fixed()):
            shown = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
            raise StudyError(
                f"{settings.name!r} exists with other settings: {shown}",
                hint="give the same settings to go on, or another --name to begin anew",
            )
    elif (settings.folder / "trials").is_dir():
        raise StudyError(f"{settings.folder} belongs to a search", hint="choose another --name")
    else:
        book = {"id": uuid.uuid4().hex, "settings": settings.fixed(), "variants": []}
    book["variants"] += [values for values in wanted if values not in book["variants"]]
    write_json(path, book)
    return book


def _variant(values: dict[str, Any]) -> Variant:
    architecture = Architecture.from_dict(values["architecture"])
    return Variant(label=values["label"], architecture=architecture, seed=values["seed"])


def _record(number: int, variant: Variant, result: TrialResult) -> TrialRecord:
    return TrialRecord(number=number, architecture=variant.architecture, result=result, preset=variant.label)


def _summary(records: Sequence[TrialRecord]) -> Summary:
    slowest_ms = max((record.point[1] for record in records if record.point), default=1.0)
    return Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=slowest_ms))
