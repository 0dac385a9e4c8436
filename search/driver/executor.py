"""Where trials run: the protocol between the driver, which alone owns the study, and whatever runs trials for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trials.progress import Progress
from trials.trial_result import TrialRequest, TrialResult


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """A trial says how it goes, and waits for the driver's `Executor.answer` where a score came with it."""

    number: int
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A trial came to its end, of whatever state."""

    number: int
    result: TrialResult


@dataclass(frozen=True, kw_only=True)
class Died:
    """A trial's process ended without a result."""

    number: int
    reason: str


Event = Progressed | Finished | Died


class Executor(Protocol):
    """Runs trials, several at a time if it can; nothing a trial needs lives only in the driver's memory."""

    @property
    def capacity(self) -> int:
        """How many trials may run at once."""

    def start(self, request: TrialRequest) -> None:
        """Begin a trial; at most `capacity` run at once."""

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        """Wait up to so many seconds for something to happen; give what did, possibly nothing."""

    def answer(self, number: int, *, go_on: bool) -> None:
        """Answer a score: go on, or stop as pruned."""

    def close(self) -> None:
        """Stop whatever runs, at once; harmless when repeated."""
