"""The search: a driver over a study, which is asked for architectures until its budget is spent."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from optuna.samplers import BaseSampler

from search.driver.devices import Devices, LocalDevices
from search.driver.driver import RunResult, StopRequest
from search.driver.executor import Executor
from search.driver.opening import Opened, open_and_drive
from search.driver.preflight import refuse_space
from search.driver.reference_latency import slowest_latency_ms
from search.driver.view import View
from search.driver.work import Proposal, in_one_format, to_request
from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports import write_reports
from search.strategy import EhviSampler, SpaceSampler, StrategySettings, best_parent, cannot_reach_front
from search.strategy.accuracy.belief import learn_prior, says_nothing, shared_prior
from search.strategy.accuracy.built_in_prior import built_in_prior
from search.strategy.latency.lookup_budget import SHARE
from search.study.errors import OneShotError, StudyError
from search.study.kept_weights import delete_weights
from search.study.one_shot import (
    NUM_SCORED,
    SHARED_FOLDER,
    SharedRecord,
    claim_folder,
    shared_training,
    trial_training,
)
from search.study.prior import BUILT_IN, Prior
from search.study.read_study import EXPERIMENT_FILE, begun_with, read_study, study_names
from search.study.settings import StudySettings
from search.study.study import Study
from spaces import Architecture
from spaces.counted import counted
from spaces.weights import why_unavailable
from trials.latency.cache import LatencyCache
from trials.one_shot.sandwich import check_shareable
from trials.one_shot.training import SHARED_FILE, read_scores
from trials.progress import Progress
from trials.training import CHECKPOINT_FILE, TrainSettings
from trials.trial_result import RESULT_FILE, OneShotTask, TrialRequest, TrialResult, read_result

_BEYOND_LIMIT = 1.25
"""The reference latency is so many times the limit. At 1 a network just within the limit, which is the one that a user with
a limit wants most, would add no hypervolume. On YOLOBench's table with a limit of 60 ms the best AP after 30 trainings
misses the table's best by 0.0022; at 1.1 by 0.0042, at 1 by 0.0051 (16 seeds)."""


def run_search(
    settings: StudySettings,
    *,
    executor: Executor,
    devices: Devices | None = None,
    view: View,
    stop_requested: Callable[[], StopRequest] = lambda: "no",
) -> RunResult:
    """Search until the study has its budget of finished trials, or every architecture of the space was tried.

    Args:
        settings: Which study, and how; an existing one is resumed.
        executor: Where trials run; closed at the end.
        devices: Where latency is measured: of trials, and what the driver itself needs, the reference and look-ups for
            proposals. None for what this machine has and reaches.
        view: Shows how the run goes.
        stop_requested: Called often: whether the user wants to end.

    Raises:
        SpaceError: the device's TensorRT refuses networks of the space.
        StudyError: the study or one of its priors cannot be opened.
        DatasetError: the data cannot be read.
        DeviceError: the device cannot be reached.
    """
    with closing(executor):  # also where a prior is refused, before the run itself closes it
        settings = with_available_weights(settings, view.noticed)
        if settings.one_shot:
            check_shareable(settings.space)
        devices = devices or LocalDevices()
        is_new = settings.name not in study_names(settings.root)
        check_priors(settings)  # refused before the data are read
        make_work = partial(
            SearchWork, settings, notice=view.noticed, devices=devices, workers=max(1, executor.capacity)
        )

        def refuse(opened: Opened) -> None:
            if is_new:
                num_classes = len(opened.dataset.class_names)
                refuse_space(settings, devices=devices, num_classes=num_classes, notice=view.noticed)

        result, _ = open_and_drive(
            settings, make_work, executor, devices=devices, view=view, stop_requested=stop_requested, refuse=refuse
        )
        return result


class SearchWork:
    """A study as a source of trials.

    Args:
        settings: The study.
        opened: Its data and its device.
        notice: Called with notes for the user.
        devices: See :func:`run_search`.
        workers: Trials at once.

    Raises:
        StudyError: the study exists with other settings, other data or another device, or an experiment has its name.
    """

    def __init__(
        self,
        settings: StudySettings,
        opened: Opened,
        *,
        notice: Callable[[str], None],
        devices: Devices,
        workers: int = 1,
    ) -> None:
        self.settings = settings
        self._notice = notice
        self.seconds_measuring = 0.0
        self._device_key = opened.identity.key
        self._broken_images = opened.broken_images
        self._fingerprint = opened.dataset.fingerprint
        self._num_classes = len(opened.dataset.class_names)
        if (settings.folder / EXPERIMENT_FILE).is_file():  # its trials' folders have the same numbers
            raise StudyError(f"{settings.folder} belongs to trainings", hint="choose another --study")
        sampler = make_sampler(
            settings,
            num_classes=self._num_classes,
            devices=devices,
            on_look_up=self._count,
            notice=notice,
            workers=workers,
        )
        self._study = Study(settings, sampler)
        self._study.take(notice)
        try:
            self._note_priors()
            self._open(opened, notice=notice, devices=devices)
        except BaseException:
            self._study.release()
            raise

    def _note_priors(self) -> None:
        """Have the study keep copies of its priors; it has none yet, or others, where no trial has ended."""
        if self._study.lacks_priors:
            self._study.priors = learn_priors(self.settings)

    def _open(self, opened: Opened, *, notice: Callable[[str], None], devices: Devices) -> None:
        """Take up the study where its last driver left it."""
        settings, num_classes = self.settings, self._num_classes
        self._study.check_identity(opened.dataset, opened.identity, notice=notice)
        self._study.recover()
        num_failed = self._study.release_failed()
        self.budget = settings.budget + num_failed
        if num_failed:
            notice(
                f"{num_failed} failed trials do not count in the budget; they are tried again after the next success"
            )
        self._study.queue_presets()
        reference_ms = self._study.reference_latency_ms
        if reference_ms is None:
            began = time.monotonic()
            reference_ms = (
                slowest_latency_ms(settings, num_classes=num_classes, devices=devices)
                if settings.max_latency_ms is None
                else settings.max_latency_ms * _BEYOND_LIMIT
            )
            self._study.reference_latency_ms = reference_ms
            self._count(time.monotonic() - began)
        reference = Reference(ap=0.0, latency_ms=reference_ms)
        self.summary = Summary(records=tuple(self._study.records()), reference=reference)
        for record in self.summary.records:  # where the file that has the scale of their latencies was deleted
            if record.result.latency is not None and not record.result.is_latency_cached:
                LatencyCache(settings.latency_cache).share_scale(record.result.latency, opened.identity)
                break
        self._keep = self._study.choose_kept()
        # Of trials whose driver was killed before it did, or of all where the user chose anew.
        if num_deleted := self._delete_weights():
            notice(
                f"the weights of {counted(num_deleted, 'trial(s) that is|are')} not on the front are deleted (--keep front)"
            )
        self.id = self._study.id
        self.description: Mapping[str, str] = {
            "space": f"{settings.space.name}: {settings.space.description}",
            "max_latency_ms": str(settings.max_latency_ms),
            "sampler": f"{settings.sampler}, seed {settings.seed}",
            "reference_latency_ms": f"{reference.latency_ms:.3f}",
        }
        if settings.one_shot:
            shared, trial = shared_training(settings.train), trial_training(settings.train)
            self.description = {
                **self.description,
                "one_shot": f"{counted(shared.epochs, 'epoch(s)')} of shared weights, seed {shared.seed}; "
                f"{counted(trial.epochs, 'epoch(s)')} of each trial",
            }
            self._check_shared_file()
        if settings.prior:
            self.description = {**self.description, "prior": ", ".join(settings.prior)}

    def preparation(self) -> TrialRequest | None:
        """Return the training of the shared weights, where the study needs it and it has not ended."""
        settings = self.settings
        if not settings.one_shot or self._study.shared is not None:
            return None
        claim_folder(self._shared_folder, self.id)
        (largest,) = settings.space.largest(num_classes=self._num_classes)
        result = read_result(self._shared_folder, study_id=self.id, architecture=largest)
        is_there = (self._shared_folder / SHARED_FILE).is_file()
        if result is not None and result.state == "complete" and is_there:  # the driver was killed before it heard
            self.prepared(result)
            return None
        (self._shared_folder / RESULT_FILE).unlink(missing_ok=True)  # no reason of an earlier failure is the next one's
        request = self._request(-1, largest, shared_training(settings.train))
        self._notice(
            f"training shared weights first, {counted(request.train.epochs, 'epoch(s)')}; each trial then begins with its "
            f"slice of them and trains for {counted(trial_training(settings.train).epochs, 'epoch(s)')}"
        )
        task = OneShotTask(space=settings.space, num_scored=NUM_SCORED)
        return replace(request, work_dir=self._shared_folder, one_shot=task)

    def prepared(self, result: TrialResult) -> None:
        """Have the study keep what networks with shared weights scored.

        Raises:
            OneShotError: the training failed.
        """
        if result.state != "complete":
            raise OneShotError(
                f"shared weights could not be trained: {result.reason}",
                hint="remove the cause, then run the same command again",
            )
        scores = read_scores(self._shared_folder)
        prior = shared_prior(scores, dataset=self.settings.dataset, num_classes=self._num_classes)
        if says_nothing(prior):
            self._notice(
                "networks taken out of the shared weights score too much alike: the sampler learns nothing from them"
            )
        self._study.shared = SharedRecord(prior=prior, seconds=sum(result.seconds.values()))
        best = max(ap for _, ap in scores)
        self._notice(
            f"shared weights trained for {counted(result.epochs, 'epoch(s)')} in {sum(result.seconds.values()):.0f} s; of "
            f"{counted(len(scores), 'network(s)')} taken out untrained the best has AP {best:.4f}"
        )

    @property
    def _shared_folder(self) -> Path:
        return self.settings.folder / SHARED_FOLDER

    def _check_shared_file(self) -> None:
        path = self._shared_folder / SHARED_FILE
        if self._study.shared is not None and not path.is_file():
            raise StudyError(
                f"the shared weights of study {self.settings.name!r} are missing: {path}",
                hint="restore the file, or begin another study with --study NAME",
            )

    def ask(self) -> Proposal | None:
        """Ask the sampler for the next architecture; failed ones are left when it has none."""
        asked = self._study.ask()
        if asked is None and self._study.queue_failed():
            asked = self._study.ask()
        if asked is None:
            return None
        number, architecture, why = asked
        request = replace(
            self._request(number, architecture, in_one_format(self._trial_training(), self.summary.records)),
            max_latency_ms=self.settings.max_latency_ms,
            parent=self._find_start(architecture),
            is_shared=self.settings.one_shot,
        )
        return Proposal(request=request, why=why, is_retry=self._study.has_failed(architecture))

    def tell(self, number: int, result: TrialResult) -> TrialRecord:
        """Record a trial's end in the study."""
        record = self._study.tell(number, result)
        if result.state in ("complete", "pruned"):  # whatever made earlier trials fail, it no longer fails all
            self._study.queue_failed()
        records = sorted([*self.summary.records, record], key=lambda one: one.number)
        self.summary = replace(self.summary, records=tuple(records))
        self._delete_weights()
        return record

    def _delete_weights(self) -> int:
        return delete_weights(self.settings, self.summary) if self._keep == "front" else 0

    def interrupt(self, number: int) -> None:
        """Queue a running trial's architecture again."""
        self._study.interrupt(number)

    def why_prune(self, request: TrialRequest, progress: Sequence[Progress]) -> str:
        """Return why a trial cannot reach the front any more; the paper's presets always run to their end."""
        if not self.settings.prune or self._study.is_preset(request.architecture):
            return ""
        latency_ms = next(one.latency_ms for one in progress if one.latency_ms is not None)
        curve = [(one.epoch, one.ap) for one in progress if one.ap is not None]
        return cannot_reach_front(curve, latency_ms, num_epochs=request.train.epochs, finished=self.summary.records)

    def write_reports(self, summary: Summary, title: str) -> Sequence[Path]:
        """Write the front's picture, tables and page."""
        return write_reports(summary, self.settings.folder, title=title)

    def close(self) -> None:
        """Let another process drive the study."""
        self._study.release()

    def _count(self, seconds: float) -> None:
        self.seconds_measuring += seconds

    def _request(self, number: int, architecture: Architecture, train: TrainSettings) -> TrialRequest:
        """Return a request on the study's data and device."""
        return to_request(
            self.settings,
            number,
            architecture,
            study_id=self.id,
            device_key=self._device_key,
            broken_images=self._broken_images,
            fingerprint=self._fingerprint,
            num_classes=self._num_classes,
            train=train,
        )

    def _trial_training(self) -> TrainSettings:
        return trial_training(self.settings.train) if self.settings.one_shot else self.settings.train

    def _find_start(self, architecture: Architecture) -> Path | None:
        """Return the file of weights that a trial begins with; None for its own."""
        if self.settings.one_shot:
            return self._shared_folder / SHARED_FILE
        return self._find_parent(architecture) if self.settings.inherit else None

    def _find_parent(self, architecture: Architecture) -> Path | None:
        """Return the checkpoint of the finished trial whose weights fit best."""
        checkpoints = {
            record.number: self.settings.trial_folder(record.number) / CHECKPOINT_FILE
            for record in self.summary.records
            if record.point is not None
        }
        kept = [record for record in self.summary.records if record.point and checkpoints[record.number].is_file()]
        parent = best_parent(architecture, kept)
        return None if parent is None else checkpoints[parent.number]


def check_priors(settings: StudySettings) -> None:
    """Refuse a new study whose priors say nothing; one that exists has copies of its own.

    Raises:
        StudyError: one does not exist, or says nothing.
    """
    if settings.prior and settings.name not in study_names(settings.root):
        learn_priors(settings)


def learn_priors(settings: StudySettings) -> tuple[Prior, ...]:
    """Return what the studies named as a study's priors say.

    Raises:
        StudyError: one does not exist, or says nothing.
    """
    return tuple(
        built_in_prior() if name == BUILT_IN else replace(learn_prior(read_study(*settings.place_of(name))), study=name)
        for name in settings.prior
    )


def with_available_weights(settings: StudySettings, notice: Callable[[str], None]) -> StudySettings:
    """Remove the transfer axis from backbones without available ImageNet weights: their trials would all be alike.

    A study goes on as it began: without it also where the weights have become available since.

    Args:
        settings: The study.
        notice: Called with a note of the backbones without weights.

    Raises:
        StudyError: the study began with weights that are no longer available.
    """
    wanted = {skeleton.backbone for skeleton in settings.space.skeletons if skeleton.transfer}
    recorded = begun_with(settings.root, settings.name)
    begun = (recorded or {}).get("space", {}).get("backbones", {})
    without = {name for name in wanted if name in begun and begun[name]["transfer"] == [0]}
    reasons = {name: reason for name in sorted(wanted - without) if (reason := why_unavailable(name))}
    if missing := [name for name in reasons if name in begun]:
        raise StudyError(
            f"trials of study {settings.name!r} start from ImageNet weights of {missing[0]}, which are not available now: "
            f"{reasons[missing[0]]}",
            hint="name a folder that holds them with --weights-dir, or begin another study with --study NAME",
        )
    if reasons:
        first = next(iter(reasons.values()))
        notice(f"{', '.join(reasons)} start from random weights in this study ({first})")
    elif without:
        notice(f"{', '.join(sorted(without))} start from random weights in this study, as it began")
    return replace(settings, space=settings.space.without_transfer(without | set(reasons)))


def make_sampler(
    settings: StudySettings,
    *,
    num_classes: int,
    devices: Devices,
    on_look_up: Callable[[float], None],
    notice: Callable[[str], None],
    workers: int = 1,
) -> BaseSampler:
    """Return the study's sampler.

    Args:
        settings: The study.
        num_classes: Classes of its detectors, for samplers that measure.
        devices: Measure latencies for a proposal.
        on_look_up: Called with the seconds of each measurement made for a proposal.
        notice: Called with a note for the user about each such measurement that failed.
        workers: Trials at once.
    """
    if settings.sampler != "ehvi":
        return SpaceSampler(settings.space, name=settings.sampler, seed=settings.seed)

    strategy = StrategySettings(max_latency_ms=settings.max_latency_ms)
    is_told = False

    def look_up_ms(architecture: Architecture) -> float:
        nonlocal is_told
        if not is_told:
            notice(f"measuring latencies of candidates, for at most {SHARE:.0%} of the time of trainings")
            is_told = True
        began = time.monotonic()
        try:
            return devices.measure_ms(architecture, settings, num_classes=num_classes)
        finally:
            on_look_up(time.monotonic() - began)

    return EhviSampler(
        settings.space,
        look_up_ms,
        notice=notice,
        num_classes=num_classes,
        settings=strategy,
        seed=settings.seed,
        workers=workers,
    )
