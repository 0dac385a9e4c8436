"""Folders for the temporary files of this process and its trials, which outlive neither.

A killed process cannot delete its temporary files. So all of a process lie in folders that have its identity in their names,
and the next process deletes those of dead ones: of its own host, if the host has started anew or the process is gone. On a
disk that hosts or containers share it leaves those of the others, whose processes it does not see.
"""

import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from trials.processes import boot, container, identify, is_alive

_NAME = re.compile(r"yoloret-nas-(?P<process>\d+-\d+)-(?P<host>\w{6})(?P<boot>\w{6})(?P<container>\w{6})-\w+")
_SHORT = Path("/tmp")


@cache
def scratch_folder() -> Path:
    """Return this process's folder; it is deleted when the process ends by itself."""
    return _make_folder(Path(tempfile.gettempdir()))


@cache
def socket_folder() -> Path:
    """Return this process's folder for sockets, likewise: their paths have at most 107 bytes, and TMPDIR may be long."""
    return _make_folder(_SHORT)


def scratch_prefix() -> str:
    """Return how the name of a temporary folder begins that the next process may delete once this one is dead."""
    return f"yoloret-nas-{identify(os.getpid())}-{''.join(_place())}-"


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for the length of a ``with``, which the next process deletes if this one is killed meanwhile."""
    return tempfile.TemporaryDirectory(prefix=scratch_prefix())


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Have this process and its libraries put their temporary files into a folder while the block runs."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def delete_scratch() -> None:
    """Delete this process's folders, before it is killed."""
    for folder in (scratch_folder, socket_folder):
        shutil.rmtree(folder(), ignore_errors=True)
        folder.cache_clear()


def _make_folder(parent: Path) -> Path:
    _delete_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=scratch_prefix(), dir=parent))
    # After multiprocessing has deleted its own folder in it, which has priority -100.
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-200)
    return folder


@cache
def _place() -> tuple[str, str, str]:
    """Return digests of the host's name, its start and the container."""
    host, start, here = (hashlib.sha256(one.encode()).hexdigest()[:6] for one in (platform.node(), boot(), container()))
    return host, start, here


def is_left_behind(name: str) -> bool:
    """Return whether a name that begins with a `scratch_prefix` is of a dead process, as far as this process can know."""
    found = _NAME.fullmatch(name)
    if found is None:
        return False
    host, start, here = _place()
    if found["host"] != host:
        return False
    return found["boot"] != start or (found["container"] == here and not is_alive(found["process"]))


def _delete_left_behind(parent: Path) -> None:
    for entry in parent.iterdir():
        if is_left_behind(entry.name):
            with suppress(FileNotFoundError):  # another process may do the same
                if entry.is_dir() and entry.stat().st_uid == os.getuid():
                    shutil.rmtree(entry, ignore_errors=True)
