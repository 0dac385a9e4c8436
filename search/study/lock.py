"""Locks between drivers, which the kernel drops with their holder: one driver per study, one creator of the stores."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from search.study.errors import StudyError

_DRIVER_LOCK = "driver.lock"
_CREATION_LOCK = "creation.lock"
CREATION_S = 60.0
"""MLflow creates its tables in a few seconds."""
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

    Raises:
        StudyError: another process holds it for longer than any needs: it is stopped, for example.
    """
    path = root / _CREATION_LOCK
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("a", encoding="utf-8"))
        except OSError:  # of a folder that may only be read
            yield
            return
        ends = time.monotonic() + CREATION_S
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() > ends:
                raise StudyError(
                    f"another process has been creating the stores of {root} for {CREATION_S:.0f} s",
                    hint=f"let it go on, or end it: fuser {path} names it",
                )
            time.sleep(_GLANCE_S)
        yield
