"""Datumaro's own JSON: one file for each split, boxes xywh in pixels.

Source: open-edge-platform/datumaro, documentation, "Datumaro format".
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trials.data.formats.file_tree import FileTree
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    OtherFileError,
    bound,
    has_keys,
    read_json,
    read_name,
    read_size,
)


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("items"), list):
        raise OtherFileError
    names = [label["name"] for label in document["categories"]["label"]["labels"]]
    for item in document["items"]:
        image = item.get("image") or item.get("media") or {}
        height, width = (image.get("size") or (None, None))[:2]
        yield ForeignImage(
            name=str(image.get("path") or item["id"]),
            objects=[annotation | {"names": names} for annotation in item.get("annotations", ())],
            size_hw=read_size(height, width),
        )


def _read_box(annotation: dict[str, Any], size_hw: tuple[int, int]) -> LabelledBox:
    if annotation["type"] == "bbox":
        left, top, width, height = (float(value) for value in annotation["bbox"])
        box = (left, top, left + width, top + height)
    elif annotation["type"] == "polygon":
        points = annotation["points"]
        box = bound(list(zip(points[::2], points[1::2], strict=True)))
    else:
        raise NoBoxError(str(annotation["type"]))
    label = annotation["label_id"]
    if not 0 <= label < len(annotation["names"]):
        raise ValueError(f"has an unknown class {label}")
    is_crowd = (annotation.get("attributes") or {}).get("is_crowd") is True
    return LabelledBox(read_name(annotation["names"][label]), box, is_ignored=is_crowd)


DATUMARO = ForeignFormat(
    title="Datumaro JSON",
    suffix=".json",
    is_file_per_image=False,
    is_it=lambda head: has_keys(head, "categories", "items"),
    read_images=_read_images,
    read_box=_read_box,
)
