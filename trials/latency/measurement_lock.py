"""A machine that is quiet while something is timed on it, though several trials train there.

Trials on one machine share two lock files. Who trains holds the *room*, and between two training steps looks at the
*gate*; who measures takes the gate, which makes the others step aside at their next step, then waits for the empty room.
The kernel drops the locks of a process that dies.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType


class QuietMachine:
    """This process's place in the room; a context in which it works.

    Args:
        folder: Where the lock files are, the same for all trials of the machine.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "room.lock", folder / "gate.lock"
        self._room = self._gate = -1

    def __enter__(self) -> "QuietMachine":
        self._room, self._gate = (os.open(path, os.O_RDWR | os.O_CREAT, 0o644) for path in self._paths)
        self._come_in()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._room)
        os.close(self._gate)

    def step_aside(self) -> None:
        """Wait outside if somebody wants to measure; a few microseconds if nobody does."""
        try:
            fcntl.flock(self._gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._room, fcntl.LOCK_UN)
            self._come_in()
        else:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the machine for oneself while the block runs."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)
            fcntl.flock(self._gate, fcntl.LOCK_UN)
            self._come_in()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Leave the room while the block waits for somebody else, who may want to measure before he answers."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        try:
            yield
        finally:
            self._come_in()

    def _come_in(self) -> None:
        fcntl.flock(self._gate, fcntl.LOCK_SH)
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
