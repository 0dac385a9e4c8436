"""Apple's Create ML: one JSON list of images, boxes by centre, width and height in pixels.

Source: developer.apple.com, Create ML, "Building an object detector data source".
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trials.data.formats.file_tree import FileTree
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    OtherFileError,
    has_keys,
    read_json,
    read_name,
)


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    document = read_json(path)
    if not isinstance(document, list) or not any(
        isinstance(e, dict) and {"annotations", "annotation"} & e.keys() for e in document
    ):
        raise OtherFileError
    for place, entry in enumerate(document):
        if isinstance(entry, dict):
            name = str(entry.get("image") or entry.get("imagefilename") or "")
            yield ForeignImage(name=name, objects=entry.get("annotations", entry.get("annotation")))
        else:
            yield ForeignImage(name=f"entry {place}", objects=None, fault="is not an object")


def _read_box(annotation: dict[str, Any], size_hw: tuple[int, int]) -> LabelledBox:
    x, y, width, height = (float(annotation["coordinates"][key]) for key in ("x", "y", "width", "height"))
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return LabelledBox(read_name(annotation["label"]), box)


CREATEML = ForeignFormat(
    title="Create ML JSON",
    suffix=".json",
    is_file_per_image=False,
    is_it=lambda head: head.lstrip().startswith(b"[") and has_keys(head, "coordinates", "annotations?"),
    read_images=_read_images,
    read_box=_read_box,
)
