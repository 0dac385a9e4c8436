"""Reads Pascal VOC annotations: one XML file for each image, in any folders.

VOC counts pixels from 1 and includes the last one: a box's xyxy in continuous pixels is
``(xmin - 1, ymin - 1, xmax, ymax)``. Many tools that write VOC's XML count from 0; if some box of a dataset starts at 0,
nothing is subtracted, and a note reports it. ``difficult`` objects become ignored ones.

Source: Everingham et al., The PASCAL VOC 2012 Development Kit, section "Annotation".
"""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spaces.counted import counted
from trials.data.dataset import Dataset, DatasetError, Sample, assemble_dataset
from trials.data.formats.broken_items import BrokenItems, OnBroken, relative_name
from trials.data.formats.file_tree import FileTree, file_name, note_unreadable, read_head
from trials.data.formats.outlines import Xyxy, bound_turned
from trials.data.formats.split_lists import divide_by_split
from trials.data.formats.stated_values import read_flag, read_rotation
from trials.data.formats.voc_images import VocImages
from trials.data.formats.xml_file import has_root, parse_xml

_ROOT_TAG = "annotation"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Annotation:
    """One XML file, before conversion."""

    path: Path
    stated_name: str
    """The image's file name in the XML; empty where it states none."""
    size_hw: tuple[int, int] | None
    corners: tuple[Xyxy, ...]
    names: tuple[str, ...]
    is_difficult: tuple[bool, ...]
    is_turned: tuple[bool, ...]
    """Of which objects the corners are those around a turned box: their values are continuous, not counted pixels."""
    num_broken: int
    """Objects that could not be read."""

    def counted(self) -> list[Xyxy]:
        """Return the corners that count pixels."""
        return [box for box, is_turned in zip(self.corners, self.is_turned, strict=True) if not is_turned]


def is_voc(tree: FileTree) -> bool:
    """Return whether an XML file's root is ``annotation``, and it is not LabelMe's: outlines alone, or a size in rows."""
    return any(_root_tag(path) == _ROOT_TAG and not _is_outlines(path) for path in tree.annotations(".xml"))


def read_voc(tree: FileTree, *, on_broken: OnBroken = "stop", scored: str | None = None) -> Dataset:
    """Read all VOC annotations below a folder as one dataset; splits of the same name are joined.

    Classes are the names in use, sorted. Lists (``ImageSets/Main``) or folders named after splits give the splits; without
    them all annotations are for training.

    Args:
        tree: The files, of which `is_voc` is true.
        on_broken: See `open_dataset`.
        scored: Likewise.

    Raises:
        DatasetError: A split is empty or missing, or an item is broken and ``on_broken`` is ``stop``.
    """
    broken = BrokenItems(tree.root, on_broken, scored)
    notes: list[str] = []
    paths = sorted(tree.annotations(".xml"), key=lambda path: (path.parent, path.stem))
    images = VocImages(tree, paths)
    divided = divide_by_split(
        tree,
        paths,
        lambda path: images.split_of(path, lambda: _read_stated_name(path)),
        broken=broken,
        notes=notes,
    )
    annotations: dict[str, list[_Annotation]] = {}
    for split, files in divided.items():
        with broken.of_split(split):
            annotations[split] = _parse_all(split, files, broken, notes)
    everything = [annotation for split in annotations.values() for annotation in split]
    starts = (value for annotation in everything for corners in annotation.counted() for value in corners[:2])
    first_pixel = 0 if any(0 <= value < 1 for value in starts) else 1
    if first_pixel == 0:
        notes.append("a box starts at pixel 0: coordinates are read as counted from 0, not from 1 as in Pascal VOC")
    if num_turned := sum(sum(annotation.is_turned) for annotation in everything):
        notes.append(f"{counted(num_turned, 'turned box(es) is|are used by its|their bounding box(es)')}")
    class_names = sorted({name for annotation in everything for name in annotation.names})
    index = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[Sample]] = {}
    for split, items in annotations.items():
        with broken.of_split(split):
            samples = (_to_sample(item, images, index, first_pixel=first_pixel, broken=broken) for item in items)
            splits[split] = [sample for sample in samples if sample]
    notes += images.notes() + note_unreadable(tree.files) + broken.notes()
    return assemble_dataset(
        tree.root.resolve().name,
        "voc",
        class_names=class_names,
        splits=splits,
        left_out=broken.left_out,
        notes=notes,
    )


def _root_tag(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return next((element.tag for _, element in ElementTree.iterparse(file, events=("start",))), None)
    except (ElementTree.ParseError, OSError, ValueError, LookupError):  # such as an encoding that the parser lacks
        return _ROOT_TAG if has_root(read_head(path), _ROOT_TAG) else None


def _is_outlines(path: Path) -> bool:
    content = path.read_bytes()
    return (b"<polygon>" in content or b"<nrows>" in content) and b"<bndbox>" not in content


def _parse_all(split: str, paths: Sequence[Path], broken: BrokenItems, notes: list[str]) -> list[_Annotation]:
    annotations, missing, foreign = [], [], []
    for path in paths:
        try:
            annotation = _parse(path, broken)
            if annotation is None:
                foreign.append(path)
            else:
                annotations.append(annotation)
        except FileNotFoundError:
            if broken.is_needed:
                broken.add(path, "the annotation is missing")
            else:
                missing.append(path)
        except OSError as error:
            broken.add(path, f"the annotation cannot be read: {error}")
        except DatasetError:
            raise
        except ValueError as error:
            broken.add(path, str(error))
    for what, files in (
        ("XML file(s) is|are no VOC annotation(s) and", foreign),
        ("listed annotation(s) is|are missing and", missing),
    ):
        if files:
            first = relative_name(files[0], broken.root)
            notes.append(f"{split}: {counted(len(files), what)} left out, first {first}")
    return annotations


def _parse(path: Path, broken: BrokenItems) -> _Annotation | None:
    root = parse_xml(path)
    if root.tag != _ROOT_TAG:
        return None
    corners, names, difficult, turned = [], [], [], []
    for number, item in enumerate(root.findall("object"), 1):
        try:
            name = (item.findtext("name") or "").strip()
            if not name:
                raise ValueError("has no name")
            is_difficult = read_flag(item.findtext("difficult"), "difficult")
            box, is_turned = _read_box(item)
        except ValueError as error:
            broken.add(path, f"object {number}: {error}")
            continue
        corners.append(box)
        names.append(name)
        difficult.append(is_difficult)
        turned.append(is_turned)
    num_broken = len(root.findall("object")) - len(names)
    return _Annotation(
        path,
        _stated_name(root),
        _stated_size(root),
        tuple(corners),
        tuple(names),
        tuple(difficult),
        tuple(turned),
        num_broken,
    )


def _stated_name(root: ElementTree.Element) -> str:
    return file_name(root.findtext("filename") or root.findtext("path") or "")


def _read_stated_name(path: Path) -> str:
    try:
        return _stated_name(parse_xml(path))
    except (ElementTree.ParseError, OSError, ValueError, LookupError):
        return ""  # named as broken when all of it is read


def _read_box(item: ElementTree.Element) -> tuple[Xyxy, bool]:
    """Return an object's corners, and whether they are around a turned box: roLabelImg's, or CVAT's with an attribute."""
    box, turned = item.find("bndbox"), item.find("robndbox")
    if box is None and turned is not None:
        x, y, width, height, angle = (_read_number(turned, part) for part in ("cx", "cy", "w", "h", "angle"))
        straight = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return bound_turned(straight, math.degrees(angle)), True
    if box is None:
        raise ValueError("has no bndbox")
    left, top, right, bottom = (_read_number(box, corner) for corner in _CORNERS)
    if item.find("attributes") is None:
        return (left, top, right, bottom), False
    attributes = {one.findtext("name"): one.findtext("value") for one in item.iterfind("attributes/attribute")}
    rotation = read_rotation(attributes)
    return bound_turned((left, top, right, bottom), rotation), rotation != 0


def _read_number(box: ElementTree.Element, part: str) -> float:
    text = box.findtext(part)
    if text is None:
        raise ValueError(f"has no {box.tag}/{part}")
    return float(text)


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        height, width = (int(float(root.findtext(f"size/{side}", "0"))) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None  # some tools write 0 for "unknown"


def _to_sample(
    annotation: _Annotation, images: VocImages, index: Mapping[str, int], *, first_pixel: int, broken: BrokenItems
) -> Sample | None:
    try:
        path = images.find(annotation.path, annotation.stated_name)
    except ValueError as error:
        broken.add(annotation.path, str(error))
        return None
    image = broken.check_image(path, stated_size_hw=annotation.size_hw)
    if image is None:
        return None
    firsts = [0 if is_turned else first_pixel for is_turned in annotation.is_turned]
    pairs = zip(annotation.corners, firsts, strict=True)
    boxes = [(x1 - first, y1 - first, x2, y2) for (x1, y1, x2, y2), first in pairs]
    labels = [index[name] for name in annotation.names]
    return broken.make_sample(
        image,
        boxes,
        labels,
        ignored=annotation.is_difficult,
        num_broken=annotation.num_broken,
        path=annotation.path,
    )
