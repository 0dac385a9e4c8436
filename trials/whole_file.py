"""Files and folders that are written whole or not at all."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_NAME = 255  # bytes


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, with its suffix, to write to; it takes the place of `path` at the end of the block.

    A reader finds the former file or the new one, also after a power cut. An error in the block leaves the former file as it
    was.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    if len(os.fsencode(partial.name)) > _LONGEST_NAME:
        partial = path.with_name(f"{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path` to fill, which becomes `path` at the end of the block; an error leaves none.

    Args:
        path: Missing, or an empty folder.

    Raises:
        OSError: `path` is neither at the end of the block.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}-partial")
    partial.mkdir()
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
