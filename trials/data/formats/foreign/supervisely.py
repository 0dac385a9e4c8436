"""Supervisely: a folder for each dataset with ``img/`` and ``ann/``, a JSON file for each image.

It counts pixels, and includes the last one.

Source: docs.supervisely.com, "Supervisely annotation format", "Objects"; supervisely's ``geometry/rectangle.py``.
"""

import base64
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from trials.data.formats.file_tree import FileTree
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    OtherFileError,
    Xyxy,
    bound,
    has_keys,
    read_json,
    read_name,
    read_size,
)

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
        try:
            with Image.open(BytesIO(zlib.decompress(base64.b64decode(item["bitmap"]["data"])))) as mask:
                return left, top, left + mask.width, top + mask.height
        except (zlib.error, OSError) as error:
            raise ValueError(f"has a broken bitmap: {error}") from error
    if kind not in _OUTLINES:
        raise NoBoxError(str(kind))
    left, top, right, bottom = bound(item["points"]["exterior"])
    return left, top, right + 1, bottom + 1


SUPERVISELY = ForeignFormat(
    title="Supervisely JSON",
    suffix=".json",
    is_file_per_image=True,
    is_it=lambda head: has_keys(head, "objects", "classTitle"),
    read_images=_read_images,
    read_box=_read_box,
)
