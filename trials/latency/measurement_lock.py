"""Keeps the machine quiet while something is timed on it: trainings hold it shared, a measurement exclusively.

It consists of two lock files, so that a measurement need not wait for the end of a training. A training holds the first file
shared. A measurement locks the second; trainings see this at their next step and release the first, which the measurement
then locks exclusively. The kernel drops the locks of a process that dies. The files are the same for all studies and all
users of the machine, since other studies disturb a measurement as much as one's own.

A process that hangs, or that its user has suspended, keeps its locks. So nobody waits for ever: after `PATIENCE_S` the
device counts as away.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trials.latency.device import DeviceAwayError

MACHINE_FOLDER = Path("/tmp")
"""Writable for all users, and not affected by `TMPDIR`, which may differ between them."""
FOLDER_VARIABLE = "YOLORET_NAS_LOCKS"
"""Environment variable that names another folder: one that containers of a machine share, or one of a run of tests alone."""

PATIENCE_S = 1200.0
"""Longest wait for other processes. Trainings pause between two steps, but not while they are scored or data are opened, and
several measurements may be ahead. It is less than a trial may be silent (`search.driver.watchdog`)."""
_POLL_S = 0.02


class MeasurementLock:
    """One process's hold of the machine's measurement lock; `shared` comes first.

    Args:
        folder: Where the lock files are; None for `machine_folder`.
        finish: Called before the lock is released: it waits for work that this process has queued on a GPU.
        patience_s: Longest wait for other processes.

    Every method raises `DeviceAwayError` where others hold the lock for longer than that. This process may then hold
    nothing: what goes on all the same calls `regain` first.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        finish: Callable[[], None] = lambda: None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._finish = finish
        self._patience_s = patience_s
        folder = folder or machine_folder()
        self._paths = (folder / "yoloret-nas-measurement.lock", folder / "yoloret-nas-measurement-request.lock")
        self._lock = self._request = -1

    @contextmanager
    def shared(self) -> Iterator["MeasurementLock"]:
        """Hold the lock shared while the block runs, beside any number of others."""
        self._lock, self._request = (_open_for_all(path) for path in self._paths)
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
        self._wait_for(self._request, fcntl.LOCK_EX)
        try:
            self._wait_for(self._lock, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            fcntl.flock(self._request, fcntl.LOCK_UN)
            self._acquire_shared()

    def regain(self) -> None:
        """Hold the lock shared again where another method has raised."""
        with self.released():  # whether or not it is held: a measurement may wait for it
            pass

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
        self._wait_for(self._request, fcntl.LOCK_SH)  # until no measurement waits or runs
        self._wait_for(self._lock, fcntl.LOCK_SH)
        fcntl.flock(self._request, fcntl.LOCK_UN)

    def _wait_for(self, file: int, kind: int) -> None:
        until = time.monotonic() + self._patience_s
        while True:
            try:
                return fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    break
            time.sleep(_POLL_S)
        what = "this machine is not free: another process measures on it"
        if kind == fcntl.LOCK_EX:
            what = "cannot measure on this machine: another process trains or measures"
        raise DeviceAwayError(
            f"{what}, and has not paused for {self._patience_s:.0f} s",
            hint=f"find it with `fuser -v {' '.join(map(str, self._paths))}`; resume it if it is suspended, or end it",
        )


def machine_folder() -> Path:
    """Return where the lock files of this machine are; make a folder that the variable names."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or MACHINE_FOLDER).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open_for_all(path: Path) -> int:
    """Open a lock file that any user may open; create it where it is missing."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            # No O_CREAT: Linux refuses it for another user's file in a folder such as /tmp. No link is followed.
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            os.utime(file)  # /tmp is cleared of files that nobody has touched for days
            return file
        with contextlib.suppress(FileExistsError):  # another process was first
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(file, 0o666)  # whatever this user's umask is
            return file
