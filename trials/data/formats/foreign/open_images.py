"""Open Images' CSV: a row for each box, in fractions of the image; classes by codes that another file names.

``IsGroupOf`` boxes hold more than five objects: they become ignored ones, as the Open Images Challenge scores them.

Source: storage.googleapis.com/openimages/web, "Data Formats", "Boxes".
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from trials.data.formats.file_tree import FileTree, read_head, read_text
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    OtherFileError,
    read_name,
)
from trials.data.formats.stated_values import read_flag

_NAMED_CODE = re.compile(rb"/[a-z]+/\w+,")
"""Begins a row of the classes' names: class-descriptions-boxable.csv, or FiftyOne's classes.csv."""
_CODE = re.compile(r"/[a-z]+/\w+")
_NAME = "class"
_SIDES = ("XMin", "YMin", "XMax", "YMax")


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    if _holds_names(path):
        return  # read with the files of boxes
    rows = csv.DictReader(read_text(path).splitlines())
    if not {"ImageID", "LabelName", *_SIDES} <= set(rows.fieldnames or ()):
        raise OtherFileError
    names: dict[str, str] = {}
    for file in tree.files:
        if file.suffix.lower() == ".csv" and _holds_names(file):
            names |= {row[0]: row[1] for row in csv.reader(read_text(file).splitlines()) if len(row) > 1}
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_image.setdefault(row["ImageID"], []).append(row | {_NAME: names.get(row["LabelName"], "")})
    for name, objects in by_image.items():
        yield ForeignImage(name=name, objects=objects)


def _read_box(row: dict[str, str], size_hw: tuple[int, int]) -> LabelledBox:
    if missing := [side for side in _SIDES if not row[side]]:
        raise ValueError(f"has no {missing[0]}")
    height, width = size_hw
    left, top, right, bottom = (float(row[side]) for side in _SIDES)
    box = (left * width, top * height, right * width, bottom * height)
    remark = (
        ""
        if row[_NAME] or not _CODE.fullmatch(row["LabelName"])
        else "the class is called by its code, no file names it"
    )
    is_group = read_flag(row.get("IsGroupOf"), "IsGroupOf")
    return LabelledBox(read_name(row[_NAME] or row["LabelName"]), box, is_ignored=is_group, remark=remark)


def _holds_names(path: Path) -> bool:
    return "class-descriptions" in path.name or bool(_NAMED_CODE.match(read_head(path)))


OPEN_IMAGES = ForeignFormat(
    title="Open Images CSV",
    suffix=".csv",
    is_file_per_image=False,
    is_it=lambda head: head.startswith(b"ImageID,") and b"XMin" in head.split(b"\n")[0],
    read_images=_read_images,
    read_box=_read_box,
)
