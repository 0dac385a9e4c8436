"""What the search tells whoever watches; the terminal is one of them."""

from typing import Protocol

from search.study.record import TrialRecord
from search.study.summary import Summary
from spaces import Architecture
from trials.progress import Progress


class View(Protocol):
    """Watches a search. Nothing here may raise for what the search does."""

    def opened(self, summary: Summary, *, budget: int) -> None:
        """The study stands open, with the trials it already has."""

    def started(self, number: int, architecture: Architecture) -> None:
        """A trial begins."""

    def progressed(self, number: int, progress: Progress) -> None:
        """A running trial says where it stands."""

    def finished(self, record: TrialRecord, summary: Summary) -> None:
        """A trial ended, and the study stands so."""

    def put_back(self, number: int) -> None:
        """A running trial was given up without a result; its architecture will be tried again."""

    def noticed(self, message: str) -> None:
        """Something a person should read, once."""
