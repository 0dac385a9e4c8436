"""The search: a driver over a study, which is asked for architectures until its budget is spent."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from search.driver.devices import Devices, LocalDevices
from search.driver.driver import RunResult
from search.driver.executor import Executor
from search.driver.interruption import StopRequest
from search.driver.open_and_drive import Opened, open_and_drive
from search.driver.preparation.available_weights import with_available_weights
from search.driver.preparation.input_aspect import with_input_aspect
from search.driver.preparation.one_shot_preparation import OneShotPreparation
from search.driver.preparation.preflight import refuse_space
from search.driver.preparation.priors import check_priors, learn_priors
from search.driver.preparation.reference_latency import choose_reference_ms
from search.driver.preparation.sampler import make_sampler
from search.driver.view import View
from search.driver.work import Proposal, further_keys, in_one_format, to_request
from search.front.pareto import Reference
from search.front.record import TrialRecord, first_latencies
from search.front.summary import Summary
from search.reports import write_reports
from search.strategy import best_parent, cannot_reach_front
from search.study.errors import StudyError
from search.study.kept_weights import delete_weights
from search.study.one_shot import trial_training
from search.study.read_study import EXPERIMENT_FILE, study_names
from search.study.settings import StudySettings
from search.study.study import Study
from spaces import Architecture
from spaces.counted import counted
from trials.latency.open_device import without_limits
from trials.one_shot.sandwich import check_shareable
from trials.progress import Progress
from trials.training import CHECKPOINT_FILE, TrainSettings
from trials.trial_result import TrialRequest, TrialResult


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

        def make_work(opened: Opened) -> SearchWork:
            return SearchWork(
                with_input_aspect(settings, opened.dataset, view.noticed),
                opened,
                notice=view.noticed,
                devices=devices,
                stop_requested=stop_requested,
                workers=lambda: max(1, executor.capacity),
            )

        def refuse(opened: Opened) -> None:
            if is_new:
                num_classes = len(opened.dataset.class_names)
                fitting = with_input_aspect(settings, opened.dataset, lambda note: None)
                refuse_space(fitting, devices=devices, num_classes=num_classes, notice=view.noticed)

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
        stop_requested: Asked before and during each measurement for a proposal: whether the user wants to end.
        workers: Returns how many trials run at once.

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
        stop_requested: Callable[[], StopRequest],
        workers: Callable[[], int],
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
            identity=opened.identity,
            devices=devices,
            scale=lambda: first_latencies(self.summary.records, settings.device).get(without_limits(settings.device)),
            on_look_up=self._count,
            notice=notice,
            stop_requested=stop_requested,
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
        self._study.recover()  # first: its results are of the data that the study had
        self._study.check_identity(opened.dataset, opened.identity, notice=notice)
        num_failed, num_again = self._study.release_failed()
        self.budget = settings.budget + num_failed
        self._study.note_budget(self.budget)
        if num_failed:
            again = (
                f"; {counted(num_again, 'network(s) is|are')} tried again after the next success" if num_again else ""
            )
            notice(f"{counted(num_failed, 'failed trial(s) does|do')} not count in the budget{again}")
        self._study.queue_presets()
        reference_ms = self._study.reference_latency_ms
        if reference_ms is None:
            began = time.monotonic()
            reference_ms = choose_reference_ms(settings, num_classes=num_classes, devices=devices)
            self._study.reference_latency_ms = reference_ms
            self._count(time.monotonic() - began)
        reference = Reference(ap=0.0, latency_ms=reference_ms)
        self.summary = Summary(records=tuple(self._study.records()), reference=reference)
        self._keep = self._study.choose_kept()
        # Of trials whose driver was killed before it did, or of all where the user chose anew.
        if num_deleted := self._delete_weights():
            notice(
                f"the weights of {counted(num_deleted, 'trial(s) that is|are')} not on the front are deleted (--keep front)"
            )
        self.id = self._study.id
        self._preparation: OneShotPreparation | None = None
        if settings.one_shot:
            self._preparation = OneShotPreparation(settings, self._study, num_classes=num_classes, notice=notice)

    @property
    def description(self) -> Mapping[str, str]:
        """What MLflow shows of the study."""
        settings = self.settings
        lines = {
            "space": f"{settings.space.name}: {settings.space.description}",
            "aspect": ", ".join(map(str, settings.space.values("aspect"))),
            "max_latency_ms": str(settings.max_latency_ms),
            "sampler": f"{settings.sampler}, seed {settings.seed}",
            "reference_latency_ms": f"{self.summary.reference.latency_ms:.3f}",
        }
        if self._preparation is not None:
            lines["one_shot"] = self._preparation.description
        if settings.prior:
            lines["prior"] = ", ".join(settings.prior)
        return lines

    @property
    def shared_losses(self) -> Sequence[tuple[int, float]]:
        """The curve of the shared weights, once they are trained."""
        return self._study.shared.losses if self._study.shared is not None else ()

    def preparation(self) -> TrialRequest | None:
        """Return the training of the shared weights, where the study needs it and it has not ended."""
        return self._preparation.preparation(self._request) if self._preparation else None

    def prepared(self, result: TrialResult) -> None:
        """Have the study keep what networks with shared weights scored.

        Raises:
            OneShotError: the training failed.
        """
        assert self._preparation is not None  # it asked for the training
        self._preparation.prepared(result)

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
            is_shared=self._preparation is not None,
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
        epochs, finished = request.train.epochs, self.summary.records
        if reason := cannot_reach_front(curve, latency_ms, num_epochs=epochs, finished=finished):
            self._study.note_prune(request.number, reason)
        return reason

    def write_reports(self, summary: Summary, title: str) -> Sequence[Path]:
        """Write the front's picture, tables and page."""
        return write_reports(summary, self.settings.folder, title=title)

    def end(self) -> None:
        """Have the study record that this run came to its end."""
        self._study.note_budget(None)

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
            also_keys=further_keys(self.summary.records),
            scales=first_latencies(self.summary.records, self.settings.device),
            broken_images=self._broken_images,
            fingerprint=self._fingerprint,
            num_classes=self._num_classes,
            train=train,
        )

    def _trial_training(self) -> TrainSettings:
        return trial_training(self.settings.train) if self.settings.one_shot else self.settings.train

    def _find_start(self, architecture: Architecture) -> Path | None:
        """Return the file of weights that a trial begins with; None for its own."""
        if self._preparation is not None:
            return self._preparation.file
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
