"""Experiments: a driver over a list of trainings, each run to its end."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from search.driver.devices import Devices, LocalDevices
from search.driver.driver import RunResult
from search.driver.executor import Executor
from search.driver.interruption import StopRequest
from search.driver.open_and_drive import Opened, open_and_drive
from search.driver.view import View
from search.driver.work import Proposal, further_keys, in_one_format, to_request
from search.front.record import TrialRecord, first_latencies
from search.front.summary import Summary
from search.strategy.repeats import Repeats, choose_repeat
from search.study.data_record import check_data
from search.study.errors import StudyError
from search.study.experiment import ExperimentSettings, Variant, note_budget, note_device, open_experiment, to_summary
from trials.progress import Progress
from trials.training.settings import LAST_FILE
from trials.trial_result import (
    RESULT_FILE,
    TRACEBACK_ELSEWHERE_FILE,
    TRACEBACK_FILE,
    TrialRequest,
    TrialResult,
    read_result,
)

WriteReports = Callable[[Sequence[TrialRecord]], Sequence[Path]]
"""Writes tables and pictures of the requested variants' records; returns the files."""


def run_experiment(
    settings: ExperimentSettings,
    variants: Sequence[Variant],
    *,
    repeats: Repeats | None = None,
    executor: Executor,
    devices: Devices | None = None,
    view: View,
    stop_requested: Callable[[], StopRequest] = lambda: "no",
    write_reports: WriteReports = lambda records: (),
) -> tuple[RunResult, list[TrialRecord]]:
    """Train the variants that are not finished; those that failed in an earlier run are trained again, after the others.

    Args:
        settings: Which experiment; an existing one is resumed, with further variants if some are new.
        variants: What to train.
        repeats: Further trainings of these architectures, those of earlier runs included; None where only the listed ones
            count.
        executor: Where; closed at the end.
        devices: Where latency is measured; None for what this machine has and reaches.
        view: Shows how the run goes.
        stop_requested: Called often: whether the user wants to end.
        write_reports: Its files go onto the experiment's MLflow run.

    Returns:
        How the run ended, and the finished ones of the given variants in their order, then the repeats.

    Raises:
        StudyError: the folder belongs to a study, or to an experiment of other settings or other data.
        DatasetError: the data cannot be read.
        DeviceError: the device cannot be reached.
    """
    make_work = partial(
        ExperimentWork, settings, variants, repeats=repeats, write_reports=write_reports, notice=view.noticed
    )
    result, work = open_and_drive(
        settings, make_work, executor, devices=devices or LocalDevices(), view=view, stop_requested=stop_requested
    )
    return result, work.requested_records()


class ExperimentWork:
    """An experiment as a source of trials: the listed variants, then the repeats that it chooses.

    Raises:
        StudyError: the folder belongs to a study, or to an experiment of other settings, other data or another device.
    """

    description: Mapping[str, str] = {}
    shared_losses: Sequence[tuple[int, float]] = ()
    seconds_measuring = 0.0

    def __init__(
        self,
        settings: ExperimentSettings,
        variants: Sequence[Variant],
        opened: Opened,
        *,
        repeats: Repeats | None = None,
        write_reports: WriteReports,
        notice: Callable[[str], None],
    ) -> None:
        if settings.study_data not in ("", opened.dataset.fingerprint):
            raise StudyError(
                f"the data of {settings.name!r} are not what its study was trained on ({settings.dataset})",
                hint="put them back; or run the search again with --accept-changed-data, and then this",
            )
        self.settings = settings
        self.id, self._variants = open_experiment(settings, variants)
        self._requested = [self._variants.index(variant) for variant in variants]
        self._repeats = repeats
        self._device_key = opened.identity.key
        self._broken_images = opened.broken_images
        self._fingerprint = opened.dataset.fingerprint
        self._num_classes = len(opened.dataset.class_names)
        self._write_reports = write_reports
        results = {
            number: read_result(
                settings.trial_folder(number), study_id=self.id, architecture=self._variants[number].architecture
            )
            for number in range(len(self._variants))
        }
        finished = {number: result for number, result in results.items() if result is not None}
        # A failed training may have failed of a fault in the data, which is now repaired.
        is_begun = any(
            (settings.trial_folder(number) / LAST_FILE).is_file() for number in results if number not in finished
        )
        has_results = is_begun or any(result.state == "complete" for result in finished.values())
        check_data(settings, opened.dataset, former=None, has_results=has_results, notice=notice)
        self._failed = {number for number, result in finished.items() if result.state != "complete"}
        for number in self._failed:
            del finished[number]
        note_device(
            settings,
            opened.identity,
            has_results=bool(finished),
            wants_more=any(number not in finished for number in self._requested) or repeats is not None,
        )
        self._records = {number: self._variants[number].record(number, result) for number, result in finished.items()}
        waiting = [number for number in self._requested if number not in finished]
        self._left = 0
        """Repeats that are not chosen yet."""
        if repeats is not None:
            listed = {(variant.label, variant.architecture) for variant in variants}
            chosen = [
                number
                for number, variant in enumerate(self._variants)
                if (variant.label, variant.architecture) in listed and number not in self._requested
            ]
            # What is finished counts, however many are wanted now; of the others no more than that.
            done = [number for number in chosen if number in finished]
            begun = [number for number in chosen if number not in finished][: max(0, repeats.count - len(done))]
            self._requested += done + begun
            self._left = max(0, repeats.count - len(done) - len(begun))
            waiting += begun
        self._waiting = sorted(dict.fromkeys(waiting), key=self._failed.__contains__)
        for number in self._failed.intersection(self._waiting):  # its last checkpoint stays: it goes on from there
            for name in (RESULT_FILE, TRACEBACK_FILE, TRACEBACK_ELSEWHERE_FILE):
                (settings.trial_folder(number) / name).unlink(missing_ok=True)
        self._end_where_decided()
        note_budget(settings, self.budget)

    @property
    def budget(self) -> int:
        """Listed trainings and repeats, and whatever else is finished; less where no further repeat is worth it."""
        return len(self._records) + len(self._waiting) + len(self._running) + self._left

    @property
    def _running(self) -> list[int]:
        begun = dict.fromkeys(self._requested)
        return [number for number in begun if number not in self._records and number not in self._waiting]

    @property
    def summary(self) -> Summary:
        """All finished trainings of the experiment."""
        return to_summary([self._records[number] for number in sorted(self._records)])

    def requested_records(self) -> list[TrialRecord]:
        """Return the finished ones of the requested variants, in their order."""
        return [self._records[number] for number in self._requested if number in self._records]

    def preparation(self) -> TrialRequest | None:
        """Return None: nothing comes before the first training."""
        return None

    def prepared(self, result: TrialResult) -> None:
        """Do nothing."""

    def ask(self) -> Proposal | Literal["later"] | None:
        """Return the next training."""
        if not self._waiting and self._left:
            self._add_repeat()
        if not self._waiting:
            return "later" if self._left and self._running else None
        number = self._waiting.pop(0)
        variant = self._variants[number]
        request = to_request(
            self.settings,
            number,
            variant.architecture,
            study_id=self.id,
            device_key=self._device_key,
            also_keys=further_keys(self.summary.records),
            scales={**self.settings.scales, **first_latencies(self.summary.records, self.settings.device)},
            broken_images=self._broken_images,
            fingerprint=self._fingerprint,
            num_classes=self._num_classes,
            train=replace(
                in_one_format(self.settings.train, self.summary.records), seed=variant.seed, is_resumable=True
            ),
        )
        return Proposal(request=request, is_retry=number in self._failed)

    def _choose(self) -> Variant | None:
        """Return the next repeat; None where none is worth it, as far as is known."""
        if self._repeats is None:
            return None
        requested = [self._variants[number] for number in dict.fromkeys(self._requested)]
        begun = Counter(variant.architecture for variant in requested)
        chosen = choose_repeat(self.requested_records(), begun, max_latency_ms=self._repeats.max_latency_ms)
        if chosen is None:
            return None
        seed = max(variant.seed for variant in self._variants if variant.architecture == chosen) + 1
        return replace(next(variant for variant in requested if variant.architecture == chosen), seed=seed)

    def _add_repeat(self) -> None:
        """Let the next repeat wait, if there is one."""
        if repeat := self._choose():
            _, self._variants = open_experiment(self.settings, [repeat])
            self._requested.append(len(self._variants) - 1)
            self._waiting.append(len(self._variants) - 1)
            self._left -= 1

    def _end_where_decided(self) -> None:
        """Give up the repeats that are left where all scores are known and none is worth it."""
        if self._left and not self._waiting and not self._running and self._choose() is None:
            self._left = 0

    def tell(self, number: int, result: TrialResult) -> TrialRecord:
        """Record a training's end."""
        self._records[number] = self._variants[number].record(number, result)
        self._end_where_decided()
        return self._records[number]

    def interrupt(self, number: int) -> None:
        """Put a running training back, to be started first."""
        self._waiting.insert(0, number)

    def why_prune(self, request: TrialRequest, progress: Sequence[Progress]) -> str:
        """Never prune: an experiment's trainings are compared in full."""
        return ""

    def write_reports(self, summary: Summary, title: str) -> Sequence[Path]:
        """Write the experiment's own tables and pictures, under titles of their own."""
        return self._write_reports(self.requested_records())

    def end(self) -> None:
        """Have the experiment's file record that this run came to its end."""
        note_budget(self.settings, None)

    def close(self) -> None:
        """Do nothing: its folder's lock is all that an experiment holds."""
