"""LabelMe: a JSON file for each image (the desktop tool), or an XML file (the web tool).

Source: labelme's ``_label_file.py`` and its example ``labelme2coco.py``, which joins the shapes of one label and group id;
the XML as datumaro's ``labelme.py`` reads it.
"""

import os.path
from collections.abc import Iterable
from math import dist
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from trials.data.formats.file_tree import FileTree, file_name
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    OtherFileError,
    has_keys,
    read_json,
    read_name,
    read_size,
    read_xml,
)
from trials.data.formats.outlines import Xyxy, bound, bound_boxes
from trials.data.formats.stated_values import read_flag

_OUTLINES = frozenset({"rectangle", "oriented_rectangle", "polygon", "rotation"})  # "rotation" is X-AnyLabeling's
_WITH_BOX = _OUTLINES | {"circle", "mask"}
_OLDEST_KIND = "polygon"  # what versions before 3 wrote had no other


def _is_json(head: bytes) -> bool:
    return has_keys(head, "shapes") and any(has_keys(head, key) for key in ("imagePath", "imageData", "flags"))


def _read_json_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise OtherFileError
    groups: dict[object, list[Any]] = {}
    for number, shape in enumerate(document["shapes"]):
        group = shape.get("group_id") if isinstance(shape, dict) and _kind(shape) in _WITH_BOX else None
        key = number if group is None else (str(shape.get("label")), str(group))
        groups.setdefault(key, []).append(shape)
    is_joined = len(groups) < len(document["shapes"])
    stated = str(document.get("imagePath") or "")
    is_inside_alone = document.get("imageData") and not _has_image_file(path, stated, tree)
    yield ForeignImage(
        name=stated,
        objects=None if is_inside_alone else list(groups.values()),
        size_hw=read_size(document.get("imageHeight"), document.get("imageWidth")),
        fault="its image is in this file alone (imageData): write it beside it, labelme_export_json does"
        if is_inside_alone
        else "",
        remark="shapes of one label and group id are joined to one object" if is_joined else "",
    )


def _has_image_file(path: Path, stated: str, tree: FileTree) -> bool:
    stems = (Path(file_name(stated)).stem, path.stem)
    return os.path.isfile(path.parent / stated) or any(tree.images_of_stem(stem) for stem in stems)


def _read_json_box(shapes: list[Any], size_hw: tuple[int, int]) -> LabelledBox:
    return LabelledBox(read_name(shapes[0]["label"]), bound_boxes(_bound_shape(shape) for shape in shapes))


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get("shape_type") or _OLDEST_KIND)


def _bound_shape(shape: dict[str, Any]) -> Xyxy:
    kind = _kind(shape)
    if kind == "circle":
        (x, y), edge = shape["points"]
        radius = dist((x, y), edge)
        return x - radius, y - radius, x + radius, y + radius
    if kind == "mask":  # its points are the first and the last pixel
        left, top, right, bottom = bound(shape["points"])
        return left, top, right + 1, bottom + 1
    if kind not in _OUTLINES:
        raise NoBoxError(kind)
    return bound(shape["points"])


def _is_xml(head: bytes) -> bool:
    return b"<annotation>" in head and (b"<polygon>" in head or b"<nrows>" in head) and b"<bndbox>" not in head


def _read_xml_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    root = read_xml(path, root_tag="annotation")
    yield ForeignImage(
        name=file_name(root.findtext("filename") or ""),
        objects=[item for item in root.iter("object") if not read_flag(item.findtext("deleted"), "deleted")],
        size_hw=read_size(root.findtext("imagesize/nrows"), root.findtext("imagesize/ncols")),
    )


def _read_xml_box(item: ElementTree.Element, size_hw: tuple[int, int]) -> LabelledBox:
    if (mask := item.find("segm/box")) is not None:
        points = [[mask.findtext(f"{axis}{end}") for axis in "xy"] for end in ("min", "max")]
    else:
        points = [[point.findtext("x"), point.findtext("y")] for point in item.iterfind("polygon/pt")]
    return LabelledBox(read_name(item.findtext("name")), bound(points))


LABELME = ForeignFormat(
    title="LabelMe JSON",
    suffix=".json",
    is_file_per_image=True,
    is_it=_is_json,
    read_images=_read_json_images,
    read_box=_read_json_box,
    is_stated_first=True,  # labelme opens the image at this place
)
LABELME_XML = ForeignFormat(
    title="LabelMe XML",
    suffix=".xml",
    is_file_per_image=True,
    is_it=_is_xml,
    read_images=_read_xml_images,
    read_box=_read_xml_box,
)
