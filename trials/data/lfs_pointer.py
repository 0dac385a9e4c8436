"""Git LFS pointers: the few lines that stand for a large file which was not downloaded.

Source: git-lfs, docs/spec.md, "The Pointer".
"""

from pathlib import Path

_BEGIN = b"version https://git-lfs.github.com/spec/"
LFS_ADVICE = "it is a Git LFS pointer, not the file itself: run 'git lfs pull' in its folder"


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file holds a pointer; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_BEGIN)) == _BEGIN
    except OSError:
        return False
