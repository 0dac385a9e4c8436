"""CVAT's own XML: one file for many images ("CVAT for images"), or for the frames of a video ("CVAT for video").

Source: docs.cvat.ai, "XML annotation format", version 1.1.
"""

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from trials.data.formats.file_tree import FileTree, split_of_folder
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    read_name,
    read_size,
    read_xml,
)
from trials.data.formats.outlines import Xyxy, bound, bound_ellipse, bound_turned
from trials.data.formats.stated_values import read_flag


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    root = read_xml(path, root_tag="annotations")
    for image in root.iter("image"):
        size_hw = read_size(image.get("height"), image.get("width"))
        subset, name = image.get("subset"), image.get("name") or ""  # each subset's images lie in a folder of its name
        split = split_of_folder(subset or "")
        place = f"{subset}/{name}" if subset and name else name
        yield ForeignImage(name=place, objects=list(image), size_hw=size_hw, split=split)
    frames: dict[int, list[ElementTree.Element]] = {}
    for track in root.iter("track"):
        for shape in track:
            shape.set("label", track.get("label") or "")
            if not read_flag(shape.get("outside"), "outside"):  # 1: the object has left the picture
                frames.setdefault(int(shape.attrib["frame"]), []).append(shape)
    for frame, shapes in sorted(frames.items()):
        yield ForeignImage(name=f"frame_{frame:06d}", objects=shapes)


def _read_box(shape: ElementTree.Element, size_hw: tuple[int, int]) -> LabelledBox:
    return LabelledBox(read_name(shape.get("label")), _bound_shape(shape))


def _bound_shape(shape: ElementTree.Element) -> Xyxy:
    degrees = float(shape.get("rotation", "0"))
    if shape.tag == "box":
        left, top, right, bottom = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
        return bound_turned((left, top, right, bottom), degrees)
    if shape.tag == "ellipse":
        x, y, x_radius, y_radius = _numbers(shape, "cx", "cy", "rx", "ry")
        return bound_ellipse((x, y), (x_radius, y_radius), degrees)
    if shape.tag == "mask":
        left, top, width, height = _numbers(shape, "left", "top", "width", "height")
        return left, top, left + width, top + height
    if shape.tag == "polygon":
        return bound([point.split(",") for point in shape.attrib["points"].split(";")])
    raise NoBoxError(shape.tag)


def _numbers(shape: ElementTree.Element, *names: str) -> list[float]:
    return [float(shape.attrib[name]) for name in names]


CVAT = ForeignFormat(
    title="CVAT XML",
    suffix=".xml",
    is_file_per_image=False,
    is_it=lambda head: b"<annotations" in head,
    read_images=_read_images,
    read_box=_read_box,
)
