"""Reads Pascal VOC folders.

VOC counts pixels from 1 and includes the last one: a box's xyxy in continuous pixels is
``(xmin - 1, ymin - 1, xmax, ymax)``. Many tools that write VOC's XML count from 0; if some box of a dataset starts at 0,
nothing is subtracted, and a note reports it. ``difficult`` objects become ignored ones.

Source: Everingham et al., The PASCAL VOC 2012 Development Kit, section "Annotation".
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trials.data.broken_items import BrokenItems, OnBroken
from trials.data.dataset import Dataset, DatasetError, Sample, assemble_dataset
from trials.data.image_file import IMAGE_SUFFIXES

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Annotation:
    """One XML file, before conversion."""

    path: Path
    image_path: Path
    size_hw: tuple[int, int] | None
    corners: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    is_difficult: tuple[bool, ...]


def find_voc_folders(root: Path) -> tuple[Path, ...]:
    """Return the folders that hold ``Annotations/*.xml``: the root itself, or ``[VOCdevkit/]VOC*`` below it."""
    for candidates in ([root], sorted(root.glob("VOC*")), sorted(root.glob("VOCdevkit/VOC*"))):
        found = tuple(folder for folder in candidates if any((folder / "Annotations").glob("*.xml")))
        if found:
            return found
    return ()


def read_voc(root: Path, folders: Sequence[Path], *, on_broken: OnBroken = "stop") -> Dataset:
    """Read one or several VOC folders as one dataset; splits of the same name are joined.

    Classes are the names in use, sorted. Without ``ImageSets/Main`` all annotations are for training.

    Args:
        root: The folder the user gave; names are relative to it.
        folders: What `find_voc_folders` found in it.
        on_broken: See `open_dataset`.

    Raises:
        DatasetError: A split is empty or missing, or an item is broken and ``on_broken`` is ``stop``.
    """
    broken = BrokenItems(root, on_broken)
    annotations: dict[str, list[_Annotation]] = {}
    notes: list[str] = []
    for folder in folders:
        for split, stems in _read_splits(folder).items():
            distinct = dict.fromkeys(stems)
            if len(distinct) < len(stems):
                notes.append(f"{len(stems) - len(distinct)} image(s) are listed twice in {split}")
            annotations.setdefault(split, []).extend(_read_annotations(folder, distinct, broken))
    everything = [annotation for split in annotations.values() for annotation in split]
    starts = (value for annotation in everything for corners in annotation.corners for value in corners[:2])
    first_pixel = 0 if any(0 <= value < 1 for value in starts) else 1
    if first_pixel == 0:
        notes.append("a box starts at pixel 0: coordinates are read as counted from 0, not from 1 as in Pascal VOC")
    class_names = sorted({name for annotation in everything for name in annotation.names})
    index = {name: label for label, name in enumerate(class_names)}
    splits = {
        split: [sample for a in items if (sample := _to_sample(a, index, first_pixel, broken=broken))]
        for split, items in annotations.items()
    }
    return assemble_dataset(
        root.resolve().name,
        "voc",
        class_names=class_names,
        splits=splits,
        left_out=broken.left_out,
        notes=notes + broken.notes(),
    )


def _read_splits(folder: Path) -> dict[str, list[str]]:
    lists = {split: folder / "ImageSets" / "Main" / f"{split}.txt" for split in ("train", "val", "test", "trainval")}
    splits = {
        split: [line.strip() for line in path.read_text().splitlines() if line.strip()]
        for split, path in lists.items()
        if path.is_file()
    }
    trainval = splits.pop("trainval", None)
    if "train" not in splits and trainval is not None:
        held = set(splits.get("val", ()))
        splits["train"] = [stem for stem in trainval if stem not in held]
    if not splits:
        splits["train"] = sorted(path.stem for path in (folder / "Annotations").glob("*.xml"))
    return splits


def _read_annotations(folder: Path, stems: Mapping[str, None], broken: BrokenItems) -> list[_Annotation]:
    annotations = []
    for stem in stems:
        path = folder / "Annotations" / f"{stem}.xml"
        try:
            annotations.append(_parse(path, folder, broken))
        except FileNotFoundError:
            broken.add(path, "the annotation is missing")
        except OSError as error:
            broken.add(path, f"the annotation cannot be read: {error}")
        except (ElementTree.ParseError, UnicodeDecodeError) as error:
            broken.add(path, f"the XML is broken: {error}")
        except DatasetError:
            raise
        except ValueError as error:
            broken.add(path, str(error))
    return annotations


def _parse(path: Path, folder: Path, broken: BrokenItems) -> _Annotation:
    root = ElementTree.parse(path).getroot()
    corners, names, difficult = [], [], []
    for number, item in enumerate(root.findall("object"), 1):
        try:
            name = (item.findtext("name") or "").strip()
            if not name:
                raise ValueError("has no name")
            corners.append(tuple(_read_number(item, f"bndbox/{corner}") for corner in _CORNERS))
        except ValueError as error:
            broken.add(path, f"object {number}: {error}")
            continue
        names.append(name)
        difficult.append(item.findtext("difficult", "0").strip() == "1")
    image_path = _find_image(folder / "JPEGImages", path.stem, (root.findtext("filename") or "").strip())
    return _Annotation(path, image_path, _stated_size(root), tuple(corners), tuple(names), tuple(difficult))


def _read_number(item: ElementTree.Element, place: str) -> float:
    text = item.findtext(place)
    if text is None:
        raise ValueError(f"has no {place}")
    return float(text)


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        height, width = (int(float(root.findtext(f"size/{side}", "0"))) for side in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None  # some tools write 0 for "unknown"


def _find_image(folder: Path, stem: str, filename: str) -> Path:
    usual = folder / f"{stem}.jpg"
    if usual.is_file():
        return usual
    others = [folder / f"{stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES | {s.upper() for s in IMAGE_SUFFIXES})]
    if filename:
        others.append(folder / filename)
    return next((path for path in others if path.is_file()), usual)


def _to_sample(
    annotation: _Annotation, index: Mapping[str, int], first_pixel: int, *, broken: BrokenItems
) -> Sample | None:
    image = broken.check_image(annotation.image_path, stated_size_hw=annotation.size_hw)
    if image is None:
        return None
    boxes = [(x1 - first_pixel, y1 - first_pixel, x2, y2) for x1, y1, x2, y2 in annotation.corners]
    labels = [index[name] for name in annotation.names]
    return broken.make_sample(image, boxes, labels, ignored=annotation.is_difficult, path=annotation.path)
