"""KITTI's object detection: a text file for each image, an object a line.

A line is the class, how far the object is truncated and occluded, an angle, the box's xyxy in pixels, and the object in
space; a detector's results have a score besides. ``DontCare`` are regions where nobody looked for objects.

Source: the readme of KITTI's object development kit.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from trials.data.formats.file_tree import FileTree, read_list
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    OtherFileError,
)

_LINE = re.compile(r"(?P<name>[^\W\d].*?)(?P<numbers>(\s+[-+\d.eE]+){14,15})\s*")  # a class's name may have spaces
_WORD = re.compile(r"[^\W\d][^:]*?\s")
_DONT_CARE = "DontCare"


def _is_it(head: bytes) -> bool:
    return bool(_LINE.fullmatch(head.split(b"\n")[0].decode(errors="replace")))


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    lines = read_list(path)
    is_other = bool(lines) and not any(_WORD.match(line) for line in lines)  # calib/ (P0: ...), oxts/ (numbers)
    if is_other or (not tree.images_of_stem(path.stem) and not any(_LINE.fullmatch(line) for line in lines)):
        raise OtherFileError
    yield ForeignImage(name=path.stem, objects=lines)


def _read_box(line: str, size_hw: tuple[int, int]) -> LabelledBox:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line[:40]!r} is not a class and 14 numbers")
    left, top, right, bottom = (float(number) for number in found["numbers"].split()[3:7])
    if found["name"] == _DONT_CARE:
        raise NoBoxError(_DONT_CARE)
    return LabelledBox(found["name"], (left, top, right, bottom))


KITTI = ForeignFormat(
    title="KITTI",
    suffix=".txt",
    is_file_per_image=True,
    is_it=_is_it,
    read_images=_read_images,
    read_box=_read_box,
)
