"""A folder for the temporary files of this process and its trials, which outlive neither.

A killed process cannot delete its temporary files. So all of a process lie in one folder that has its number in the name,
and the next process deletes those of dead ones.
"""

import os
import re
import shutil
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

_NAME = re.compile(r"yoloret-nas-(\d+)-\w+")


@cache
def scratch_folder() -> Path:
    """Return this process's folder; it is deleted when the process ends by itself."""
    _delete_left_behind(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=scratch_prefix()))
    # After multiprocessing has deleted its own folder in it, which has priority -100.
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-200)
    return folder


def scratch_prefix() -> str:
    """Return how the name of a temporary folder begins that the next process may delete once this one is dead."""
    return f"yoloret-nas-{os.getpid()}-"


def delete_scratch() -> None:
    """Delete this process's folder, before it is killed."""
    shutil.rmtree(scratch_folder(), ignore_errors=True)
    scratch_folder.cache_clear()


def _delete_left_behind(parent: Path) -> None:
    for entry in parent.iterdir():
        match = _NAME.fullmatch(entry.name)
        if match and entry.is_dir() and entry.stat().st_uid == os.getuid() and not _is_alive(int(match[1])):
            shutil.rmtree(entry, ignore_errors=True)  # another process may do the same


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()
