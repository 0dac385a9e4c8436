"""KITTI's object detection: a text file for each image, an object a line.

A line is the class, how far the object is truncated and occluded, an angle, the box's xyxy in pixels, and the object in
space; a detector's results have a score besides. ``DontCare`` are regions where nobody
looked for objects: ignored, for every class, as in KITTI's evaluation.

Source: the readme of KITTI's object development kit.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from trials.data.formats.file_tree import FileTree, read_list
from trials.data.formats.foreign.foreign_format import (
    ANY_CLASS,
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    OtherFileError,
)

_LINE = re.compile(r"(?P<name>[^\W\d].*?)(?P<numbers>(\s+[-+\d.eE]+){14,15})\s*")  # a class's name may have spaces
_WORD = re.compile(r"[^\W\d][^:]*?\s")
_NUM_NUMBERS = 14
_OCCLUDED = ("-1", "0", "1", "2", "3")
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
    name, numbers = _divide(found["name"], found["numbers"].split())
    left, top, right, bottom = (float(number) for number in numbers[3:7])
    box = left, top, right, bottom
    return LabelledBox(ANY_CLASS, box, is_ignored=True) if name == _DONT_CARE else LabelledBox(name, box)


def _divide(name: str, numbers: list[str]) -> tuple[str, list[str]]:
    """Return a line's class and numbers: of one more than 14, the last is a score, or the first ends the class's name.

    Raises:
        ValueError: Both or neither can be.
    """
    if len(numbers) == _NUM_NUMBERS or not numbers[0].isdigit():
        return name, numbers
    readings = [(name, numbers), (f"{name} {numbers[0]}", numbers[1:])]
    likely = [reading for reading in readings if _is_likely(reading[1])]
    if len(likely) != 1:
        raise ValueError(
            f"{name} {numbers[0]}: the number may end the class's name, or the line's last one be a score; "
            "write the class without a space"
        )
    return likely[0]


def _is_likely(numbers: list[str]) -> bool:
    truncated, (left, top, right, bottom) = float(numbers[0]), (float(number) for number in numbers[3:7])
    return (truncated == -1 or 0 <= truncated <= 1) and numbers[1] in _OCCLUDED and left <= right and top <= bottom


KITTI = ForeignFormat(
    title="KITTI",
    suffix=".txt",
    is_file_per_image=True,
    is_it=_is_it,
    read_images=_read_images,
    read_box=_read_box,
)
