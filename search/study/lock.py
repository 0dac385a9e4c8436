"""Locks between drivers, which the kernel drops with their holder: one driver per study, one creator of the stores."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from search.study.errors import StudyError

_DRIVER_LOCK = "driver.lock"
_GLANCE_S = 0.1
"""`is_driven` holds a lock for much less."""


@contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Hold a study's folder for this process.

    The kernel drops the lock when the process ends, so a killed driver blocks nobody.

    Raises:
        StudyError: another process drives the study.
    """
    with (folder / _DRIVER_LOCK).open("a+", encoding="utf-8") as file:
        if not _try_lock(file, fcntl.LOCK_EX):
            time.sleep(_GLANCE_S)
            if not _try_lock(file, fcntl.LOCK_EX):
                file.seek(0)
                raise StudyError(
                    f"study {folder.name!r} is being searched by process {file.read().strip() or 'unknown'}",
                    hint="wait for it, or choose another name (--study; --name for trainings)",
                )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_driven(folder: Path) -> bool:
    """Tell whether a process drives the study of this folder now."""
    try:
        with (folder / _DRIVER_LOCK).open(encoding="utf-8") as file:
            return not _try_lock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _try_lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def creation_lock(root: Path) -> Iterator[None]:
    """Wait until no other process creates the stores of a folder of studies; then hold it for this one.

    Two processes that create one SQLite file together fail: each adds the tables that the other has just added. A process
    that may write nothing there creates nothing, and needs no lock to read.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context((root / "creation.lock").open("a", encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
