"""Asks who holds the measurement lock."""

import fcntl
from pathlib import Path

from trials.latency.measurement_lock import MACHINE_FOLDER


def is_measuring(folder: Path = MACHINE_FOLDER) -> bool:
    """Return whether trainings have to wait."""
    for path in folder.glob("yoloret-nas-measurement*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def may_measure(folder: Path = MACHINE_FOLDER) -> bool:
    """Return whether another process could measure on this machine at once."""
    for path in folder.glob("yoloret-nas-measurement*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True
