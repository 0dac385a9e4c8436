"""Carries reports from a training in several processes to the one that started it."""

import threading
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType

from trials.progress import Progress, Report
from trials.training.epoch_reports import Outcome

_POLL_S = 0.2


class RemoteReport:
    """The end that travels to the training processes; only the first of them speaks.

    Args:
        connection: To the process that listens.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, progress: Progress) -> bool:
        """Report, and wait for the answer."""
        self._connection.send(progress)
        return bool(self._connection.recv())

    def finish(self, outcome: Outcome) -> None:
        """Send what came out."""
        self._connection.send(outcome)


class ReportPipe:
    """Listens while the training runs elsewhere; a context manager.

    Args:
        report: Called in a thread of this process.
    """

    def __init__(self, report: Report) -> None:
        self.outcome: Outcome | None = None
        self._report = report
        self._failure: Exception | None = None
        self._here, there = get_context("spawn").Pipe()
        self.remote = RemoteReport(there)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="training-reports", daemon=True)

    def __enter__(self) -> "ReportPipe":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _listen(self) -> None:
        while not (self._is_over.is_set() and not self._here.poll()):
            if not self._here.poll(_POLL_S):
                continue
            message = self._here.recv()
            if isinstance(message, Outcome):
                self.outcome = message
            else:
                self._here.send(self._answer(message))

    def _answer(self, progress: Progress) -> bool:
        if self._failure is not None:
            return False
        try:
            return self._report(progress)
        except Exception as error:  # raised again in the process's own thread; the training must not wait for ever
            self._failure = error
            return False
