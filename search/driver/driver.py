"""The driver: starts trials, hears how they go, records how they end, until the budget is spent."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from search.driver.executor import Died, Event, Executor, Lost, Progressed
from search.driver.interruption import StopRequest
from search.driver.repeated_failure import RepeatedFailure, RepeatedFailureError
from search.driver.view import View
from search.driver.watchdog import MIN_SILENCE_S, longest_silence_s
from search.driver.work import Work
from search.front.summary import Summary
from search.strategy.accuracy.estimates import with_estimates
from search.study.errors import ProposalStoppedError, StorageError, TakenOverError
from search.tracking.tracking import Tracking
from spaces import YoloRetError
from spaces.counted import counted
from trials.latency import DeviceAwayError, UnusableDeviceError
from trials.latency.cache import LatencyCacheError
from trials.progress import Phase, Progress
from trials.trial_result import TrialRequest, TrialResult

_POLL_S = 0.25
_MAX_TIMES_AWAY = 4
"""Trials in a row of each worker that end because the device is away (5 minutes each over ssh) before the run ends."""

_MOST_LOSSES = 3
"""Times that the training of an architecture with one seed may be ended from outside in one run before it counts as failed:
a network that takes its machine down with it must not do so for ever."""

Ending = Literal["done", "exhausted", "interrupted"]
"""The budget is spent; no architecture is left; the user ended the run, perhaps during its last trial."""


class OutsideFaultError(YoloRetError):
    """A fault of the data or of this machine stops every trial; the one that met it is put back."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a search or an experiment came to."""

    summary: Summary
    """All finished trials, with estimates of their AP."""
    budget: int
    """How many finished trials the run was to come to, those that failed in earlier runs included."""
    ending: Ending
    """Why the run ended."""
    tracking_uri: str
    """MLflow's store, without credentials."""
    seconds: float
    """Wall-clock time of this run."""
    seconds_by_phase: Mapping[str, float]
    """What the workers of this run spent their time on, summed over them: the phases of `TrialResult.seconds`, and
    ``idle``: without a trial, at the end while others finished the last ones of the budget, or while one trained weights
    that all trials share."""


@dataclass(kw_only=True)
class _Running:
    request: TrialRequest
    is_retry: bool
    began: float
    phase: Phase = "build"
    silent_s: float = 0.0
    """Time that the driver has waited without a message from it."""
    progress: list[Progress] = field(default_factory=list)
    """Messages that carried a latency or a score."""
    prune_reason: str = ""


class Driver:
    """Runs the trials of a `Work`; nothing else writes the study or MLflow.

    Its time counts from `began`, a `time.monotonic` before data and device were opened.
    """

    def __init__(
        self, work: Work, executor: Executor, *, view: View, tracking: Tracking, title: str, began: float
    ) -> None:
        self._work, self._executor, self._view, self._tracking = work, executor, view, tracking
        self._title = title
        self._began = began
        self._running: dict[int, _Running] = {}
        self._heard: deque[Event] = deque()
        """Events that the executor gave away and that are not handled yet."""
        self._is_ending = self._is_exhausted = self._waits_for_an_end = False
        self._stop_requested: Callable[[], StopRequest] = lambda: "no"
        self._times_away = 0
        self._losses: dict[tuple[bool, str, int], int] = defaultdict(int)
        self._failure = RepeatedFailure()
        self._seconds: dict[str, float] = defaultdict(float)
        self._seconds["measure"] = work.seconds_measuring * executor.capacity  # measured with all workers waiting

    def run(self, stop_requested: Callable[[], StopRequest]) -> RunResult:
        """Run trials until the budget is spent, nothing is left to try, or the user ends it.

        Raises:
            DeviceAwayError: the latency device stays away; every finished trial is kept.
            OutsideFaultError: the data or this machine is at fault; likewise.
            RepeatedFailureError: the trials fail with one cause; likewise.
            YoloRetError: of the executor or the work; likewise.
        """
        self._tracking.catch_up(self._work.summary)
        if self._work.shared_losses:
            self._tracking.prepared(self._work.shared_losses)
        self._view.opened(self._work.summary, budget=self._work.budget)
        self._stop_requested = stop_requested
        try:
            ending = self._loop()
        except (
            StorageError,
            TakenOverError,
        ):  # nothing can be recorded: the driver after this one puts the trials back
            raise
        except YoloRetError:
            self._put_all_back()
            self._close(status="KILLED")
            raise
        is_whole = ending != "interrupted" or len(self._work.summary.records) >= self._work.budget
        summary = self._close(status="FINISHED" if is_whole else "KILLED")
        if is_whole:
            self._work.end()
        return RunResult(
            summary=summary,
            budget=self._work.budget,
            ending=ending,
            tracking_uri=self._tracking.uri,
            seconds=time.monotonic() - self._began,
            seconds_by_phase=dict(self._seconds),
        )

    def _loop(self) -> Ending:
        while True:
            requested = self._stop_requested()
            self._is_ending = requested != "no"
            if requested == "now" or (self._is_ending and self._is_preparing()):  # which resumes where it stopped
                self._put_all_back()
            elif requested == "finish":
                for number in self._executor.withdraw():  # they would be trained yet, or wait for a machine for ever
                    self._put_back(number)
            else:
                self._fill()
            if not self._running and not self._waits_for_machines():
                return self._end()
            num_idle, before = max(0, self._executor.capacity - len(self._running)), time.monotonic()
            self._heard.extend(self._executor.events(timeout_s=_POLL_S))
            # It took longer where this process was stopped, and its trials with it.
            waited_s = min(time.monotonic() - before, _POLL_S)
            for running in self._running.values():
                running.silent_s += waited_s
            while self._heard:
                self._handle(self._heard.popleft())
            self._end_hung()
            self._seconds["idle"] += num_idle * (time.monotonic() - before)

    def _is_preparing(self) -> bool:
        return any(running.request.one_shot is not None for running in self._running.values())

    def _waits_for_machines(self) -> bool:
        """Return whether a trial could start as soon as a cluster has a node for it."""
        is_done = len(self._work.summary.records) >= self._work.budget or self._is_exhausted or self._failure.message
        return not (self._executor.capacity or self._is_ending or is_done)

    def _end(self) -> Ending:
        num_finished, budget = len(self._work.summary.records), self._work.budget
        # Also where only the last trial was left: what would follow the search must not begin.
        if self._is_ending or self._stop_requested() != "no":
            return "interrupted"
        if num_finished >= budget:
            return "done"
        if self._is_exhausted:
            return "exhausted"
        raise RepeatedFailureError(
            f"{self._failure.message}; {num_finished} of {counted(budget, 'trial(s) is|are')} finished",
            hint="remove the cause, then run the same command again: it resumes, and tries the failed trials again",
        )

    def _close(self, *, status: str) -> Summary:
        summary = with_estimates(self._work.summary)
        self._tracking.close(summary, status=status, files=self._work.write_reports(summary, self._title))
        return summary

    def _fill(self) -> None:
        while len(self._running) < self._executor.capacity and not self._is_exhausted and not self._failure.message:
            if self._waits_for_an_end or len(self._work.summary.records) + len(self._running) >= self._work.budget:
                return
            if self._stop_requested() != "no" or self._is_preparing():
                return
            if (preparation := self._work.preparation()) is not None:
                self._start(preparation)
                return
            before = self._work.seconds_measuring
            try:
                proposal = self._work.ask()
            except ProposalStoppedError:
                return
            except (DeviceAwayError, UnusableDeviceError, LatencyCacheError) as error:
                if not self._running:
                    cure = "" if isinstance(error, DeviceAwayError) else error.hint
                    raise self._device_away(error.message, cure=cure) from error
                self._view.noticed(f"no trial starts before a running one ends: {error.message}")
                self._waits_for_an_end = True
                return
            finally:
                # Running trials count that time as their own.
                num_waiting = self._executor.capacity - len(self._running)
                self._seconds["measure"] += (self._work.seconds_measuring - before) * num_waiting
            if proposal is None:
                self._is_exhausted = True
                return
            if proposal == "later":
                self._waits_for_an_end = True
                return
            request = proposal.request
            if self._stop_requested() != "no":  # the user ended the run while latencies were measured
                self._work.interrupt(request.number)
                return
            self._start(request, is_retry=proposal.is_retry)
            self._tracking.started(request.number, request.architecture, why=proposal.why)

    def _start(self, request: TrialRequest, *, is_retry: bool = False) -> None:
        self._running[request.number] = _Running(request=request, is_retry=is_retry, began=time.monotonic())
        self._executor.start(request)
        self._view.started(request.number, request.architecture)

    def _put_all_back(self) -> None:
        """Kill the running trials; record those that had ended, and put the others back."""
        self._is_ending = True
        self._heard.extend(self._executor.close())
        while self._heard:  # an error in handling one of them may be why all are put back
            event = self._heard.popleft()
            if not isinstance(event, Progressed):
                self._handle(event)
        for number in list(self._running):
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        running = self._running.pop(number)
        self._is_exhausted = self._waits_for_an_end = False
        if running.request.one_shot is not None:  # it resumes from its own checkpoint
            self._view.put_back(number)
            if self._is_ending:
                self._view.noticed("the training of the shared weights has stopped; the same command goes on with it")
            return
        self._work.interrupt(number)
        self._tracking.interrupted(number)
        self._view.put_back(number)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Progressed):
            self._on_progress(event.number, event.progress)
            return
        if isinstance(event, Lost):
            self._on_lost(event.number, event.reason)
            return
        result = TrialResult(state="failed", reason=event.reason) if isinstance(event, Died) else event.result
        if result.is_device_away:
            self._on_device_away(event.number, result)
        elif result.is_outside_fault:
            self._on_outside_fault(event.number, result)
        elif result.state == "failed" and self._is_ending:
            self._put_back(event.number)  # the signal that ends the run may have reached the trial or its data workers
        else:
            self._on_end(event.number, result)

    def _on_progress(self, number: int, progress: Progress) -> None:
        self._view.progressed(number, progress)
        running = self._running[number]
        running.phase, running.silent_s = progress.phase, 0.0
        if progress.latency_ms is not None or progress.ap is not None:
            running.progress.append(progress)
        if running.request.one_shot is not None and progress.phase == "train" and progress.step == progress.num_steps:
            self._tracking.prepared([(progress.epoch, progress.loss or 0.0)])
        if progress.ap is not None:
            running.prune_reason = self._work.why_prune(running.request, running.progress)
            self._executor.answer(number, go_on=not running.prune_reason)
            self._tracking.scored(number, progress)

    def _on_end(self, number: int, result: TrialResult) -> None:
        self._times_away = 0
        self._waits_for_an_end = False
        running = self._running.pop(number)
        if result.state == "pruned":
            result = replace(result, reason=running.prune_reason)
        for phase, seconds in result.seconds.items():
            self._seconds[phase] += seconds
        if running.request.one_shot is not None:
            self._on_prepared(number, result)
            return
        record = self._work.tell(number, result)
        if result.state != "failed" or not running.is_retry:
            self._failure.hear(result)
        try:
            if not self._is_ending:
                self._fill()  # before the bookkeeping below, so that no worker waits for it
        finally:
            self._tracking.finished(record, seconds=time.monotonic() - running.began)
            self._tracking.update(self._work.summary)
            self._view.finished(record, self._work.summary)
        if self._failure.message and self._running:
            self._view.noticed(f"{self._failure.message}; no further one starts unless a running trial completes")

    def _on_prepared(self, number: int, result: TrialResult) -> None:
        self._view.put_back(number)
        self._tracking.prepared([(epoch, loss) for epoch, loss, *_ in result.history])
        self._work.prepared(result)
        if not self._is_ending:
            self._fill()

    def _end_hung(self) -> None:
        """End trials that have been silent for too long as failed."""
        silent = [number for number, running in self._running.items() if running.silent_s > MIN_SILENCE_S]
        for number in silent:
            running = self._running[number]
            devices = (running.request.device, *running.request.also_measure)
            limit_s = longest_silence_s(self._work.summary.records, running.phase, devices=devices)
            if running.silent_s > limit_s:
                reason = (
                    f"it was ended as hung: in phase {running.phase} it reported nothing for {limit_s / 60:.0f} min"
                )
                try:
                    self._executor.kill(number)
                finally:  # put back, it would hang again first of all
                    self._on_end(number, TrialResult(state="failed", reason=reason))

    def _on_lost(self, number: int, reason: str) -> None:
        """Put a trial back that was ended from outside; fail it where that repeats."""
        request = self._running[number].request
        is_shared = request.one_shot is not None
        what = "the training of the shared weights" if is_shared else f"trial {number}"
        key = (is_shared, request.architecture.key, request.train.seed)
        if not self._is_ending:
            self._losses[key] += 1
        if self._losses[key] >= _MOST_LOSSES:
            self._on_end(number, TrialResult(state="failed", reason=f"{reason}, {_MOST_LOSSES} times in this run"))
            return
        self._put_back(number)
        self._view.noticed(f"{what} will be tried again: {reason}")

    def _on_device_away(self, number: int, result: TrialResult) -> None:
        """Put a trial back whose device stayed away longer than its own patience; end the run where that repeats."""
        self._times_away += 1
        self._put_back(number)
        if not self._is_ending and self._times_away >= _MAX_TIMES_AWAY * self._executor.capacity:
            raise self._device_away(result.reason)
        self._view.noticed(f"trial {number} waits for its device and will be tried again: {result.reason}")

    def _device_away(self, reason: str, *, cure: str = "") -> DeviceAwayError:
        num_finished = len(self._work.summary.records)
        return DeviceAwayError(
            f"{reason}; {num_finished} of {counted(self._work.budget, 'trial(s) is|are')} finished, none was lost",
            hint=f"{cure or 'bring the device back as it was'}; then run the same command again: it resumes",
        )

    def _on_outside_fault(self, number: int, result: TrialResult) -> None:
        """Put a trial back that says nothing about its architecture, and end the run: the next would end alike."""
        self._put_back(number)
        if not self._is_ending:
            num_finished = len(self._work.summary.records)
            raise OutsideFaultError(
                f"{result.reason}; {num_finished} of {counted(self._work.budget, 'trial(s) is|are')} finished, "
                "none was lost",
                hint="remove the cause, then run the same command again: it resumes",
            )
