"""Open Images' CSV: a row for each box, in fractions of the image; classes by codes that another file names.

``IsGroupOf`` boxes hold more than five objects: they become ignored ones, as the Open Images Challenge scores them.

Source: storage.googleapis.com/openimages/web, "Data Formats", "Boxes".
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from trials.data.formats.file_tree import FileTree, read_text
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    OtherFileError,
    read_name,
)

_NAMES_FILE = "class-descriptions"  # its name goes on with -boxable, or oidv6- stands before
_SIDES = ("XMin", "YMin", "XMax", "YMax")


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    if _NAMES_FILE in path.name:
        return  # read with the files of boxes
    rows = csv.DictReader(read_text(path).splitlines())
    if not {"ImageID", "LabelName", *_SIDES} <= set(rows.fieldnames or ()):
        raise OtherFileError
    names: dict[str, str] = {}
    for file in tree.files:
        if _NAMES_FILE in file.name and file.suffix.lower() == ".csv":
            names |= {row[0]: row[1] for row in csv.reader(read_text(file).splitlines()) if len(row) > 1}
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_image.setdefault(row["ImageID"], []).append(
            row | {"LabelName": names.get(row["LabelName"], row["LabelName"])}
        )
    for name, objects in by_image.items():
        yield ForeignImage(name=name, objects=objects)


def _read_box(row: dict[str, str], size_hw: tuple[int, int]) -> LabelledBox:
    if missing := [side for side in _SIDES if not row[side]]:
        raise ValueError(f"has no {missing[0]}")
    height, width = size_hw
    left, top, right, bottom = (float(row[side]) for side in _SIDES)
    box = (left * width, top * height, right * width, bottom * height)
    return LabelledBox(read_name(row["LabelName"]), box, is_ignored=row.get("IsGroupOf") == "1")


OPEN_IMAGES = ForeignFormat(
    title="Open Images CSV",
    suffix=".csv",
    is_file_per_image=False,
    is_it=lambda head: head.startswith(b"ImageID,") and b"XMin" in head.split(b"\n")[0],
    read_images=_read_images,
    read_box=_read_box,
)
