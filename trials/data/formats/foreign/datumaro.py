"""Datumaro's own JSON: one file for each split, boxes xywh in pixels.

Annotations of one group are of one object, if their class is the same: its outline in several parts, or its box besides.

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
    NoClassError,
    OtherFileError,
    has_keys,
    read_json,
    read_name,
    read_size,
)
from trials.data.formats.outlines import Xyxy, bound, bound_boxes, bound_turned
from trials.data.formats.stated_values import read_flag, read_rotation

_IGNORED = ("is_crowd", "difficult")  # what it makes of COCO's crowds and of VOC's difficult objects
_WITH_BOX = frozenset({"bbox", "polygon"})


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("items"), list):
        raise OtherFileError
    names = [label["name"] for label in document["categories"]["label"]["labels"]]
    for item in document["items"]:
        image = item.get("image") or item.get("media") or {}
        height, width = (image.get("size") or (None, None))[:2]
        annotations = item.get("annotations", ())
        groups: dict[object, list[dict[str, Any]]] = {}
        for number, annotation in enumerate(annotations):
            group = annotation.get("group") if annotation["type"] in _WITH_BOX else None
            key = (annotation.get("label_id"), group) if group else number
            groups.setdefault(key, []).append(annotation | {"names": names})
        yield ForeignImage(
            name=str(image.get("path") or item["id"]),
            objects=list(groups.values()),
            size_hw=read_size(height, width),
            remark="annotations of one class and group are joined to one object"
            if len(groups) < len(annotations)
            else "",
        )


def _read_box(annotations: list[dict[str, Any]], size_hw: tuple[int, int]) -> LabelledBox:
    box = bound_boxes(_bound_annotation(annotation) for annotation in annotations)
    label, names = annotations[0].get("label_id"), annotations[0]["names"]
    if label is None:
        raise NoClassError(f"{annotations[0]['type']} without a class")
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise ValueError(f"has an unknown class {label!r}")
    flags = [(_attributes(annotation).get(name), name) for annotation in annotations for name in _IGNORED]
    return LabelledBox(read_name(names[label]), box, is_ignored=any(read_flag(*flag) for flag in flags))


def _bound_annotation(annotation: dict[str, Any]) -> Xyxy:
    if annotation["type"] == "bbox":
        left, top, width, height = (float(value) for value in annotation["bbox"])
        return bound_turned((left, top, left + width, top + height), read_rotation(_attributes(annotation)))
    if annotation["type"] == "polygon":
        points = annotation["points"]
        return bound(list(zip(points[::2], points[1::2], strict=True)))
    raise NoBoxError(str(annotation["type"]))


def _attributes(annotation: dict[str, Any]) -> dict[str, Any]:
    return annotation.get("attributes") or {}


DATUMARO = ForeignFormat(
    title="Datumaro JSON",
    suffix=".json",
    is_file_per_image=False,
    is_it=lambda head: has_keys(head, "categories", "items"),
    read_images=_read_images,
    read_box=_read_box,
)
