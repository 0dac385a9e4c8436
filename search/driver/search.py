"""The search: ask for an architecture, run its trial, tell how it ended, until the budget is spent."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from optuna.samplers import BaseSampler

from search.driver.executor import Died, Event, Executor, Progressed
from search.driver.lock import driver_lock
from search.driver.view import View
from search.strategy.ehvi_sampler import FrontSampler
from search.strategy.parents import best_parent
from search.strategy.pruning import cannot_reach_front
from search.strategy.sampler import SpaceSampler
from search.strategy.suggest import StrategySettings
from search.study.errors import StudyError
from search.study.pareto import Reference
from search.study.settings import StudySettings
from search.study.study import Study
from search.study.summary import Summary
from search.tracking.runs import Tracking, write_reports
from spaces import Architecture
from spaces.networks.cost import count_cost
from spaces.weights.imagenet import why_unavailable
from trials.data.open_dataset import open_dataset
from trials.latency.cache import LatencyCache
from trials.latency.device import DeviceAwayError, DeviceError
from trials.latency.measure import measure_architecture
from trials.latency.measurement_lock import QuietMachine
from trials.latency.open_device import open_device
from trials.progress import Progress
from trials.training.checkpoint import CHECKPOINT_FILE
from trials.trial_result import TrialRequest, TrialResult

_POLL_S = 0.25
_FIRST_PATIENCE_S = 15.0
"""A device that is away when a search begins is said soon; one that goes away later is waited for longer."""
_MOST_TIMES_AWAY = 4
"""Trials in a row of each worker that end for the device being away (5 minutes each over ssh) before the search gives up."""
_MARGIN = 1.1
"""The network with the most multiply-adds need not be the slowest, and measurements differ by some percent."""

Interrupt = Literal["no", "finish", "now"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search came to."""

    summary: Summary
    """All finished trials of the study."""
    reports: tuple[Path, ...]
    """Picture, tables and page of the front."""
    tracking_uri: str
    """MLflow's store."""
    experiment_id: str
    """MLflow's experiment."""
    was_interrupted: bool
    """Whether the user ended it before the budget was spent."""
    seconds: float
    """Wall-clock time of this run."""
    seconds_by_phase: Mapping[str, float]
    """What the workers of this run spent their time on, summed over them: the phases of `TrialResult.seconds`, and idle:
    waiting without a trial at the end, while others finished the last ones of the budget."""


def run_search(
    settings: StudySettings, *, executor: Executor, view: View, interrupted: Callable[[], Interrupt] = lambda: "no"
) -> Outcome:
    """Search until the study has its budget of finished trials.

    Args:
        settings: Which study, and how; an existing one goes on.
        executor: Where trials run; closed at the end.
        view: Who watches.
        interrupted: Asked often: whether the user wants to end, after the running trials or now.

    Raises:
        StudyError: the study cannot be opened, or every architecture was tried.
        DatasetError: the data cannot be read.
        DeviceError: the device is not there.
    """
    started = time.monotonic()
    settings = with_available_weights(settings, view)
    settings.folder.mkdir(parents=True, exist_ok=True)
    with driver_lock(settings.folder), closing(executor):
        search = _Search(settings, executor, view=view)
        try:
            was_interrupted = search.run(interrupted)
        except StudyError:  # the space is used up: what was found stands all the same
            search.close(status="FINISHED")
            raise
        except DeviceAwayError:
            search.give_up()
            raise
        reports = search.close(status="KILLED" if was_interrupted else "FINISHED")
        return Outcome(
            summary=search.study.summary,
            reports=tuple(reports),
            tracking_uri=search.tracking.uri,
            experiment_id=search.tracking.experiment_id,
            was_interrupted=was_interrupted,
            seconds=time.monotonic() - started,
            seconds_by_phase=dict(search.seconds_by_phase),
        )


class _Search:
    """The driver's state while a search runs."""

    def __init__(self, settings: StudySettings, executor: Executor, *, view: View) -> None:
        self._settings, self._executor, self._view = settings, executor, view
        dataset = open_dataset(settings.dataset, on_broken="skip" if settings.skip_broken else "stop")
        for note in (*dataset.notes, *(f"left out: {line}" for line in dataset.left_out)):
            view.noticed(note)
        for spec in settings.also_measure:
            open_device(spec).close()  # refuses what names no device
        with closing(open_device(settings.device, patience_s=_FIRST_PATIENCE_S)) as device:
            identity = device.identity()
        self._device_key = identity.key
        self.title = f"{settings.name} · {dataset.name} · {identity.board}"
        num_classes = len(dataset.class_names)
        self._look_ups_s = 0.0
        self._study = Study(settings, make_sampler(settings, num_classes=num_classes, on_look_up=self._count_look_up))
        self._study.check_identity(dataset.fingerprint, identity)
        self._study.recover()
        self._study.queue_presets()
        self.seconds_by_phase: dict[str, float] = defaultdict(float)
        if self._study.reference_latency_ms is None:
            began = time.monotonic()
            self._study.reference_latency_ms = settings.max_latency_ms or slowest_latency_ms(
                settings, num_classes=num_classes
            )
            self.seconds_by_phase["measure"] += (time.monotonic() - began) * executor.capacity  # all workers wait
        self._records = self._study.records()
        self.tracking = Tracking(
            settings,
            study_id=self._study.id,
            description={
                "space": f"{settings.space.name}: {settings.space.description}",
                "dataset": f"{settings.dataset}: {len(dataset.splits['train'])} train, {len(dataset.splits['val'])} val",
                "classes": ", ".join(dataset.class_names),
                "device": str(identity),
                "training": f"{settings.train.recipe}, {settings.train.epochs} epochs, batch {settings.train.batch_size}",
                "max_latency_ms": str(settings.max_latency_ms),
                "sampler": f"{settings.sampler}, seed {settings.seed}",
                "reference_latency_ms": f"{self._study.reference_latency_ms:.3f}",
            },
        )
        self.tracking.catch_up(self._records)
        self._running: dict[int, tuple[Architecture, float]] = {}
        self._scores: dict[int, list[tuple[int, float]]] = {}
        self._latency_ms: dict[int, float] = {}
        self._reasons: dict[int, str] = {}
        self._is_ending = self._is_used_up = False
        self._times_away = 0

    @property
    def summary(self) -> Summary:
        reference_ms = self._study.reference_latency_ms
        assert reference_ms is not None
        return Summary(records=tuple(self._records), reference=Reference(ap=0.0, latency_ms=reference_ms))

    def run(self, interrupted: Callable[[], Interrupt]) -> bool:
        """Run trials until the budget is spent; True where the user ended it before."""
        self._view.opened(self.summary, budget=self._settings.budget)
        while True:
            wish = interrupted()
            self._is_ending = wish != "no"
            if wish == "now":
                self._abandon()
            elif wish == "no":
                self._fill()
            if not self._running:
                return len(self._records) < self._settings.budget
            num_idle, began = self._executor.capacity - len(self._running), time.monotonic()
            for event in self._executor.events(timeout_s=_POLL_S):
                self._handle(event)
            self.seconds_by_phase["idle"] += num_idle * (time.monotonic() - began)

    def give_up(self) -> None:
        """End the running trials, to be tried again, and the study's run."""
        self._abandon()
        self.close(status="KILLED")

    def close(self, *, status: str) -> list[Path]:
        reports = write_reports(self.summary, self._settings.folder, title=self.title)
        self.tracking.close(self.summary, status=status, files=reports)
        return reports

    def _fill(self) -> None:
        while len(self._running) < self._executor.capacity:
            if len(self._records) + len(self._running) >= self._settings.budget:
                return
            if self._is_used_up and self._running:
                return
            before = self._look_ups_s
            try:
                number, architecture = self._study.ask()
            except StudyError:
                if not self._running:
                    raise
                self._is_used_up = True  # but the trials that run go on to their end
                return
            num_waiting = self._executor.capacity - len(self._running)  # the others count the time as theirs, aside
            self.seconds_by_phase["measure"] += (self._look_ups_s - before) * num_waiting
            self._running[number] = (architecture, time.monotonic())
            self._scores[number] = []
            settings = self._settings
            self._executor.start(
                TrialRequest(
                    number=number,
                    architecture=architecture,
                    dataset=settings.dataset,
                    skip_broken=settings.skip_broken,
                    device=settings.device,
                    device_key=self._device_key,
                    also_measure=settings.also_measure,
                    max_latency_ms=settings.max_latency_ms,
                    train=settings.train,
                    parent=self._find_parent(architecture) if settings.inherit else None,
                    work_dir=settings.trial_folder(number),
                    latency_cache=settings.latency_cache,
                )
            )
            self.tracking.started(number, architecture)
            self._view.started(number, architecture)

    def _count_look_up(self, seconds: float) -> None:
        self._look_ups_s += seconds

    def _find_parent(self, architecture: Architecture) -> Path | None:
        checkpoints = {
            record.number: self._settings.trial_folder(record.number) / CHECKPOINT_FILE
            for record in self._records
            if record.point is not None
        }
        there = [
            record for record in self._records if record.number in checkpoints and checkpoints[record.number].is_file()
        ]
        parent = best_parent(architecture, there)
        return None if parent is None else checkpoints[parent.number]

    def _abandon(self) -> None:
        self._executor.close()
        for number in list(self._running):
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        self._study.interrupt(number)
        self.tracking.interrupted(number)
        self._view.put_back(number)
        del self._running[number]

    def _handle(self, event: Event) -> None:
        if isinstance(event, Progressed):
            self._on_progress(event.number, event.progress)
        elif isinstance(event, Died):
            if self._is_ending:  # the signal that ends the search may have ended its trials with it
                self._put_back(event.number)
            else:
                self._on_end(event.number, TrialResult(state="failed", reason=event.reason))
        else:
            self._on_end(event.number, event.result)

    def _on_progress(self, number: int, progress: Progress) -> None:
        self._view.progressed(number, progress)
        if progress.latency_ms is not None:
            self._latency_ms[number] = progress.latency_ms
        if progress.ap is None:
            return
        self._scores[number].append((progress.epoch, progress.ap))
        reason = self._why_prune(number)
        self._executor.answer(number, go_on=not reason)
        self._reasons[number] = reason
        self.tracking.scored(number, progress)

    def _why_prune(self, number: int) -> str:
        if not self._settings.prune or self._study.is_preset(self._running[number][0]):
            return ""
        return cannot_reach_front(
            self._scores[number],
            self._latency_ms[number],
            num_epochs=self._settings.train.epochs,
            finished=self._records,
        )

    def _on_end(self, number: int, result: TrialResult) -> None:
        if result.is_device_away:
            self._wait_for_device(number, result)
            return
        self._times_away = 0
        _, started = self._running.pop(number)
        if result.state == "pruned":
            result = replace(result, reason=self._reasons[number])
        for phase, seconds in result.seconds.items():
            self.seconds_by_phase[phase] += seconds
        record = self._study.tell(number, result)
        self._records = sorted([*self._records, record], key=lambda one: one.number)
        if not self._is_ending:
            self._fill()  # before the bookkeeping below, so that no worker waits for it
        self.tracking.finished(record, seconds=time.monotonic() - started)
        self.tracking.stands(self.summary)
        self._view.finished(record, self.summary)

    def _wait_for_device(self, number: int, result: TrialResult) -> None:
        """Put a trial back whose device stayed away longer than its own patience; give up where it keeps doing so."""
        self._times_away += 1
        self._put_back(number)
        if not self._is_ending and self._times_away >= _MOST_TIMES_AWAY * self._executor.capacity:
            raise DeviceAwayError(
                f"{result.reason}; {len(self._records)} of {self._settings.budget} trials are finished, none was lost",
                hint="bring the device back, then run the same command again: it goes on from here",
            )
        self._view.noticed(f"trial {number} waits for its device and will be tried again: {result.reason}")


def with_available_weights(settings: StudySettings, view: View) -> StudySettings:
    """Take the transfer axis off backbones whose ImageNet weights cannot be had: their trials would all be alike.

    Args:
        settings: The study.
        view: Told once.
    """
    wanted = {skeleton.backbone for skeleton in settings.space.skeletons if skeleton.transfer}
    reasons = {name: reason for name in sorted(wanted) if (reason := why_unavailable(name))}
    if not reasons:
        return settings
    first = next(iter(reasons.values()))
    view.noticed(f"{', '.join(reasons)} start from random weights in this study ({first})")
    return replace(settings, space=settings.space.without_transfer(set(reasons)))


def make_sampler(settings: StudySettings, *, num_classes: int, on_look_up: Callable[[float], None]) -> BaseSampler:
    """Give the study's sampler.

    Args:
        settings: The study.
        num_classes: Classes of its detectors, for those that measure.
        on_look_up: Told the seconds that each measurement for a proposal took.
    """
    if settings.sampler != "front":
        return SpaceSampler(settings.space, name=settings.sampler, seed=settings.seed)

    def measure_ms(architecture: Architecture) -> float:
        began = time.monotonic()
        try:
            return _measure_ms(architecture, settings, num_classes=num_classes)
        finally:
            on_look_up(time.monotonic() - began)

    return FrontSampler(
        settings.space,
        measure_ms,
        num_classes=num_classes,
        lookup_file=settings.folder / "lookups.jsonl",
        settings=_aim(settings),
        seed=settings.seed,
    )


def _aim(settings: StudySettings) -> StrategySettings:
    """Give the strategy's limit, and how many latencies are worth measuring beside the trials'.

    A look-up stops every trial of this machine for two seconds, or builds an engine on a board. Trainings of minutes repay
    that; those of the quick recipe take seconds, and tell latencies from what networks cost on paper until the trials' own
    measurements say better. Where there is a limit, paper cannot say what is within it.
    """
    limit_ms = settings.max_latency_ms
    if settings.train.recipe == "quick":
        return StrategySettings(
            max_latency_ms=limit_ms,
            num_first=6,
            num_first_lookups=0 if limit_ms is None else 6,
            num_lookups=0,
        )
    return StrategySettings(max_latency_ms=limit_ms, num_first_lookups=16, num_lookups=2)


def slowest_latency_ms(settings: StudySettings, *, num_classes: int) -> float:
    """Measure the space's costliest network: a tenth more is the latency its hypervolumes are counted from.

    One that the device cannot run, for want of memory say, is passed over for the next.

    Args:
        settings: The study.
        num_classes: Classes of its detectors.

    Raises:
        DeviceError: the device is away, or cannot run the costliest network of any backbone.
    """
    by_cost = sorted(settings.space.largest(), key=lambda one: -count_cost(one, num_classes=num_classes).macs)
    for architecture in by_cost[:-1]:
        try:
            return _measure_ms(architecture, settings, num_classes=num_classes) * _MARGIN
        except DeviceAwayError:
            raise
        except DeviceError:
            continue
    return _measure_ms(by_cost[-1], settings, num_classes=num_classes) * _MARGIN


def _measure_ms(architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
    cache = LatencyCache(settings.latency_cache)
    with (
        QuietMachine(settings.root) as machine,
        closing(open_device(settings.device)) as device,
        TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "candidate.onnx"
        latency, _ = measure_architecture(
            architecture, device, cache, machine=machine, num_classes=num_classes, onnx_path=path
        )
    return latency.median_ms
