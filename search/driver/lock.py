"""Locks between drivers, which the kernel drops with their holder: one driver per study, one creator of the stores."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.study.errors import StudyError


@contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Hold a study's folder for this process.

    The kernel drops the lock when the process ends, so a killed driver blocks nobody.

    Raises:
        StudyError: another process drives the study.
    """
    path = folder / "driver.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise StudyError(
                f"study {folder.name!r} is being searched by process {file.read().strip() or 'unknown'}",
                hint="wait for it, or choose another --study",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def creation_lock(root: Path) -> Iterator[None]:
    """Wait until no other process creates the stores of a folder of studies; then hold it for this one.

    Two processes that create one SQLite file together fail: each adds the tables that the other has just added.
    """
    with (root / "creation.lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
