"""WIDER FACE's text files: for each image its name, how many faces it has, and a line ``x y w h ...`` for each.

Faces marked as invalid become ignored ones, as the benchmark's evaluation has it; those without an area are left out.
Datumaro writes a class at a line's end.

Source: the readme of WIDER FACE's annotations (wider_face_split).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from trials.data.formats.file_tree import FileTree, is_image, read_list
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    OtherFileError,
)

_HEAD = re.compile(rb"[^\n]+\.\w+\s*\n\d+\s*\n\s*[\d.]+( [-\w.]+){3,}")
_NUM_ATTRIBUTES = 6
_INVALID = 7  # x, y, w, h, blur, expression, illumination, invalid, occlusion, pose


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    lines = read_list(path)
    if not lines or not is_image(Path(lines[0])) or all(is_image(Path(line)) for line in lines):
        raise OtherFileError  # wider_face_test_filelist.txt has names only
    begins = [place for place, line in enumerate(lines) if is_image(Path(line))]
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        if begin + 1 == end:
            yield ForeignImage(name=lines[begin], objects=None)
            continue
        count, *faces = lines[begin + 1 : end]
        if count == "0":
            faces = []  # a line of zeros follows
        fault = "" if count == str(len(faces)) else f"says {count[:20]!r} faces and lists {len(faces)}"
        yield ForeignImage(name=lines[begin], objects=faces, fault=fault)


def _read_box(line: str, size_hw: tuple[int, int]) -> LabelledBox:
    words = line.split()
    left, top, width, height = (float(word) for word in words[:4])
    if width == 0 or height == 0:  # the published files have some
        raise NoBoxError("face without area")
    has_attributes = len(words) >= 4 + _NUM_ATTRIBUTES
    name = " ".join(words[4 + _NUM_ATTRIBUTES * has_attributes :]) or "face"
    box = (left, top, left + width, top + height)
    return LabelledBox(name, box, is_ignored=has_attributes and words[_INVALID] == "1")


WIDER_FACE = ForeignFormat(
    title="WIDER FACE",
    suffix=".txt",
    is_file_per_image=False,
    is_it=lambda head: bool(_HEAD.match(head)),
    read_images=_read_images,
    read_box=_read_box,
)
