"""Tracking that the search never waits for: one thread owns MLflow's client and writes what the driver hands it.

A store may be slow, or away for hours. Writes then wait in a queue, and are made, in their order, once it is back. What is
left at the end is named; the next start of the same study writes it from the study's own record.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.settings import RunSettings
from search.tracking.location import shown_uri
from search.tracking.runs import StudyRuns
from search.tracking.store import unusable, why_unusable
from spaces import Architecture, YoloRetError
from trials.progress import Progress

_OPENING_S = 5.0
"""How long the store may take to open before the user is told what is waited for."""
_RETRY_S = 5.0
"""Pause after a write that failed."""
_MAX_REFUSALS = 3
"""Tries of a write that fails although the store opens; it is then left out, so that others need not wait for it."""
_PATIENCE_S = 60.0
"""How long the end of a run waits for a single write."""
_PATIENCE_IN_TROUBLE_S = 10.0
"""The same while the last write failed, or after the user asked to end at once."""
_TICK_S = 0.25
_MAX_NAMED = 8
"""Trials that a note names one by one."""


@dataclass(frozen=True)
class _Write:
    what: str
    """What MLflow lacks without it."""
    write: Callable[[StudyRuns], None]


class Tracking:
    """Writes a study's or an experiment's runs to MLflow in the background.

    A context manager: its end waits for the last writes as long as they succeed, and names those that do not. No method
    waits for MLflow, or raises its errors.

    Args:
        settings: The study or experiment.
        notice: Called in the caller's thread with a note for the user.
        is_hurried: Whether the user asked to end at once.

    Raises:
        StudyError, StorageError: the store cannot be used now, at the start.
    """

    def __init__(
        self, settings: RunSettings, *, notice: Callable[[str], None], is_hurried: Callable[[], bool] = lambda: False
    ) -> None:
        self.uri = shown_uri(settings.root)
        self._settings, self._notice, self._is_hurried = settings, notice, is_hurried
        self._begin: _Write | None = None
        self._changed = threading.Condition()  # guards all below
        self._writes = deque([_Write("", lambda runs: None)])  # the first write opens the store, and nothing more
        self._refused: list[str] = []
        self._error: Exception | None = None  # of the last write, if it failed
        self._is_trouble_told = self._is_over = False
        self._last_success = time.monotonic()
        threading.Thread(target=self._work, name="mlflow", daemon=True).start()
        self._wait_until_open()

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the last writes, with bounded patience; name what is missing in MLflow then."""
        with self._changed:
            began = time.monotonic()
            while self._writes and time.monotonic() - max(began, self._last_success) < self._patience_s():
                self._changed.wait(_TICK_S)
            missing = list(dict.fromkeys([*self._refused, *(one.what for one in self._writes)]))
            reason, self._is_over = self._reason(), True
            self._changed.notify_all()
        if missing:
            self._notice(
                f"MLflow store {self.uri} lacks {_in_words(missing)}{f' ({reason})' if reason else ''}; "
                "nothing is lost: once the store takes it, the same command writes it from the study"
            )

    def begin(self, study_id: str, description: Mapping[str, str]) -> None:
        """Open the study's runs: `StudyRuns.begin`."""
        self._begin = _Write("the study's run", lambda runs: runs.begin(study_id, description))
        self._put(self._begin)

    def catch_up(self, summary: Summary) -> None:
        """Write what is missing of finished trials: `StudyRuns.catch_up`."""
        self._put(_Write("earlier trials", lambda runs: runs.catch_up(summary)))

    def started(self, number: int, architecture: Architecture, *, why: str = "") -> None:
        """Open a trial's run: `StudyRuns.started`."""
        self._put(_Write(f"trial {number}", lambda runs: runs.started(number, architecture, why=why)))

    def scored(self, number: int, progress: Progress) -> None:
        """Add one epoch to a trial's curves: `StudyRuns.scored`."""
        self._put(_Write(f"trial {number}", lambda runs: runs.scored(number, progress)))

    def prepared(self, losses: Sequence[tuple[int, float]]) -> None:
        """Add epochs to the curve of the shared weights: `StudyRuns.prepared`."""
        self._put(_Write("the curve of the shared weights", lambda runs: runs.prepared(losses)))

    def interrupted(self, number: int) -> None:
        """End the run of a trial that will be tried again: `StudyRuns.interrupted`."""
        self._put(_Write(f"trial {number}", lambda runs: runs.interrupted(number)))

    def finished(self, record: TrialRecord, *, seconds: float | None) -> None:
        """Write a trial's end: `StudyRuns.finished`."""
        self._put(_Write(f"trial {record.number}", lambda runs: runs.finished(record, seconds=seconds)))

    def update(self, summary: Summary) -> None:
        """Write the hypervolume after the newest trial: `StudyRuns.update`."""
        self._put(_Write("the hypervolume", lambda runs: runs.update(summary)))

    def close(self, summary: Summary, *, status: str, files: Sequence[Path]) -> None:
        """Write the front, and end the study's run: `StudyRuns.mark_front`, `StudyRuns.end`."""
        self._put(_Write("the front", lambda runs: runs.mark_front(summary)))
        self._put(_Write("the front", lambda runs: runs.end(summary, status=status, files=files)))

    def _wait_until_open(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._error or not self._writes, timeout=_OPENING_S):
                self._notice(f"waiting for MLflow store {self.uri}")
                self._changed.wait_for(lambda: self._error or not self._writes)
            if self._error is None:
                return
            self._is_over = True
            self._changed.notify_all()
        if isinstance(self._error, YoloRetError):
            raise self._error
        raise unusable(self._settings.root, self._error) from self._error

    def _put(self, write: _Write) -> None:
        with self._changed:
            self._writes.append(write)
            self._changed.notify_all()
            reason, was_told = self._reason(), self._is_trouble_told
            self._is_trouble_told = bool(reason)
        if reason and not was_told:
            self._notice(f"MLflow store {self.uri} cannot be used now; the search continues without it ({reason})")
        elif was_told and not reason:
            self._notice(f"MLflow store {self.uri} can be used again")

    def _patience_s(self) -> float:
        return _PATIENCE_IN_TROUBLE_S if self._error or self._is_hurried() else _PATIENCE_S

    def _reason(self) -> str:
        return "" if self._error is None else why_unusable(self._error)

    def _work(self) -> None:
        """Make the writes, in their order, until the run is over."""
        runs: StudyRuns | None = None
        num_refusals = 0
        while (write := self._next()) is not None:
            try:
                if runs is None:
                    runs = StudyRuns(self._settings)
                    if self._begin is not None:
                        # Not counted where it is refused: without it no write can be made, so to leave one out helps none.
                        self._begin.write(runs)
                num_refusals += 1
                write.write(runs)
            except Exception as error:  # of any kind: the libraries below MLflow raise their own
                runs = None  # what it knows of the store may be false now
                num_refusals = self._failed(error, num_refusals=num_refusals)
            else:
                num_refusals = 0
                self._succeeded()

    def _next(self) -> _Write | None:
        with self._changed:
            self._changed.wait_for(lambda: self._writes or self._is_over)
            return None if self._is_over else self._writes[0]

    def _succeeded(self) -> None:
        with self._changed:
            self._writes.popleft()
            self._error, self._last_success = None, time.monotonic()
            self._changed.notify_all()

    def _failed(self, error: Exception, *, num_refusals: int) -> int:
        """Pause before the write is tried again, or leave it out; return how often the first write was refused."""
        with self._changed:
            self._error = error
            if num_refusals == _MAX_REFUSALS:
                self._refused.append(self._writes.popleft().what)
                num_refusals = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over, timeout=_RETRY_S)
        return num_refusals


def _in_words(missing: Sequence[str]) -> str:
    """Return what is missing in a few words, however many trials they are."""
    shown = ", ".join(missing[:_MAX_NAMED])
    return shown if len(missing) <= _MAX_NAMED else f"{shown} and {len(missing) - _MAX_NAMED} more"
