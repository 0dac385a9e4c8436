"""Supervisely: a folder for each dataset with ``img/`` and ``ann/``, a JSON file for each image.

It counts pixels, and includes the last one.

Source: docs.supervisely.com, "Supervisely annotation format", "Objects"; supervisely's ``geometry/rectangle.py``.
"""

import base64
import struct
import zlib
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
    has_keys,
    read_json,
    read_name,
    read_size,
)
from trials.data.formats.outlines import Xyxy, bound
from trials.data.images.image_file import MOST_PIXELS

_PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_OUTLINES = frozenset({"rectangle", "polygon"})


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list) or "size" not in document:
        raise OtherFileError
    size = document["size"]
    yield ForeignImage(
        name=path.stem, objects=document["objects"], size_hw=read_size(size.get("height"), size.get("width"))
    )


def _read_box(item: dict[str, Any], size_hw: tuple[int, int]) -> LabelledBox:
    return LabelledBox(read_name(item["classTitle"]), _bound_shape(item))


def _bound_shape(item: dict[str, Any]) -> Xyxy:
    kind = item.get("geometryType") or item.get("shape") or ("bitmap" if "bitmap" in item else "polygon")
    if kind == "bitmap":
        left, top = (float(value) for value in item["bitmap"]["origin"])
        width, height = _bitmap_size(item["bitmap"]["data"])
        return left, top, left + width, top + height
    if kind not in _OUTLINES:
        raise NoBoxError(str(kind))
    left, top, right, bottom = bound(item["points"]["exterior"])
    return left, top, right + 1, bottom + 1


def _bitmap_size(data: str) -> tuple[int, int]:
    """Return width and height of a mask, a zipped PNG, from its first bytes: the whole may unpack to gigabytes."""
    try:
        head = zlib.decompressobj().decompress(base64.b64decode(data), len(_PNG_HEAD) + 8)
    except (zlib.error, ValueError) as error:
        raise ValueError(f"has a broken bitmap: {error}") from error
    if len(head) < len(_PNG_HEAD) + 8 or not head.startswith(_PNG_HEAD):
        raise ValueError("has a broken bitmap: it is no PNG")
    width, height = struct.unpack(">II", head[len(_PNG_HEAD) :])
    if width * height > MOST_PIXELS:
        raise ValueError(f"has a broken bitmap: it has {width}×{height} pixels")
    return width, height


SUPERVISELY = ForeignFormat(
    title="Supervisely JSON",
    suffix=".json",
    is_file_per_image=True,
    is_it=lambda head: has_keys(head, "objects", "classTitle"),
    read_images=_read_images,
    read_box=_read_box,
)
