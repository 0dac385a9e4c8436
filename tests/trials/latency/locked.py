"""Asks whether a measurement holds the measurement lock."""

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
