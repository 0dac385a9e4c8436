"""A lock that keeps a machine quiet while something is timed on it: trainings hold it shared, a measurement exclusively.

It consists of two lock files, so that a measurement need not wait for the end of a training. A training holds the first file
shared. A measurement locks the second; trainings see this at their next step and release the first, which the measurement
then locks exclusively. The kernel drops the locks of a process that dies.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class MeasurementLock:
    """One process's hold of the machine's measurement lock; `shared` comes first.

    Args:
        folder: Where the lock files are, the same for all trials of the machine.
        finish: Called before the lock is released: it waits for work that this process has queued on a GPU.
    """

    def __init__(self, folder: Path, *, finish: Callable[[], None] = lambda: None) -> None:
        self._finish = finish
        self._paths = (
            folder / "room.lock",
            folder / "gate.lock",
        )  # named as in earlier versions, which they still exclude
        self._lock = self._request = -1

    @contextmanager
    def shared(self) -> Iterator["MeasurementLock"]:
        """Hold the lock shared while the block runs, beside any number of others."""
        self._lock, self._request = (os.open(path, os.O_RDWR | os.O_CREAT, 0o644) for path in self._paths)
        try:
            self._acquire_shared()
            yield self
        finally:
            os.close(self._lock)
            os.close(self._request)

    def yield_to_measurement(self) -> None:
        """Release the lock until a waiting measurement is done; takes a few microseconds if none waits."""
        try:
            fcntl.flock(self._request, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self._finish()
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._acquire_shared()
        else:
            fcntl.flock(self._request, fcntl.LOCK_UN)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone while the block measures, then shared again."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        fcntl.flock(self._request, fcntl.LOCK_EX)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            fcntl.flock(self._request, fcntl.LOCK_UN)
            self._acquire_shared()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the lock while the block waits for another process, which may measure before it answers."""
        self._finish()
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        try:
            yield
        finally:
            self._acquire_shared()

    def _acquire_shared(self) -> None:
        fcntl.flock(self._request, fcntl.LOCK_SH)  # blocks while a measurement waits or runs
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        fcntl.flock(self._request, fcntl.LOCK_UN)
