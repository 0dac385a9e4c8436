"""The events of a run that an observer, such as the terminal, can show."""

from typing import Protocol

from search.front.record import TrialRecord
from search.front.summary import Summary
from spaces import Architecture
from trials.progress import Progress


class View(Protocol):
    """Observes a run. No method may raise."""

    def checking_images(self, done: int, whole: int) -> None:
        """Images of the dataset are decoded, to find broken ones; called after each, before `opened`."""

    def opened(self, summary: Summary, *, budget: int) -> None:
        """The study is open, with the trials it already has."""

    def started(self, number: int, architecture: Architecture) -> None:
        """A trial starts."""

    def progressed(self, number: int, progress: Progress) -> None:
        """A running trial reports progress."""

    def finished(self, record: TrialRecord, summary: Summary) -> None:
        """A trial ended; `summary` includes it."""

    def put_back(self, number: int) -> None:
        """A running trial was given up without a result; its architecture will be tried again."""

    def noticed(self, message: str) -> None:
        """A note for the user."""
