"""The protocol between the driver and what runs its trials; `search.driver.local_executor` implements it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trials.progress import Progress
from trials.trial_result import TrialRequest, TrialResult


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """A trial reports progress; with a score, it waits for the driver's `Executor.answer`."""

    number: int
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A trial ended, in any state."""

    number: int
    result: TrialResult


@dataclass(frozen=True, kw_only=True)
class Died:
    """A trial's process ended by itself, or for lack of memory, without a result."""

    number: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A trial was ended from outside: its process was killed, or its machine is gone. It says nothing of the network."""

    number: int
    reason: str


Event = Progressed | Finished | Died | Lost


class Executor(Protocol):
    """Runs trials, several at once if it can; nothing a trial needs may live only in the driver's memory."""

    @property
    def capacity(self) -> int:
        """How many trials may run at once now; 0 while a cluster has no node for one."""

    def start(self, request: TrialRequest) -> None:
        """Start a trial; at most `capacity` run at once."""

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        """Wait up to `timeout_s` seconds for events; return them, possibly none."""

    def answer(self, number: int, *, go_on: bool) -> None:
        """Answer a score: continue, or stop as pruned."""

    def withdraw(self) -> Sequence[int]:
        """Forget the trials that were started and wait for a machine; return their numbers."""

    def kill(self, number: int) -> None:
        """Kill a running trial; nothing more is heard of it."""

    def close(self) -> Sequence[Finished]:
        """Kill all running trials; return those that had ended, unheard; harmless when repeated."""
