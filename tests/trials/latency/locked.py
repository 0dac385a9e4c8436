"""Asks who holds the measurement lock."""

import fcntl
from pathlib import Path

from trials.latency.measurement_lock import machine_folder


def is_measuring(folder: Path | None = None) -> bool:
    """Return whether trainings have to wait."""
    return not _is_free(folder, fcntl.LOCK_SH)


def may_measure(folder: Path | None = None) -> bool:
    """Return whether another process could measure on this machine at once."""
    return _is_free(folder, fcntl.LOCK_EX)


def _is_free(folder: Path | None, kind: int) -> bool:
    for path in (folder or machine_folder()).glob("yoloret-nas-measurement*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True
