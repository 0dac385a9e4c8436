"""Reads YOLO datasets: a ``data.yaml``, images, and one label file for each image.

A label line is ``class cx cy w h`` in shares of the image, or ``class x y x y ...`` for a polygon, of which the bounding box
is used. An image without a label file has no objects, as in the format's own tools.

Source: docs.ultralytics.com, "Object Detection Datasets Overview" and "Instance Segmentation Datasets Overview".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from trials.data.broken_items import BrokenItems, OnBroken
from trials.data.dataset import Dataset, DatasetError, Sample, assemble_dataset
from trials.data.image_file import list_images

_SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_NORMALISED_LIMIT = 2.0  # a box may reach past its image; larger values are pixels


def find_yolo_file(path: Path) -> Path | None:
    """Return the YAML file of a YOLO dataset: the path itself, or the one in the folder; None without one."""
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") else None
    usual = (path / name for name in ("data.yaml", "data.yml", "dataset.yaml"))
    texts = ((file, file.read_text(errors="replace")) for file in sorted((*path.glob("*.yaml"), *path.glob("*.yml"))))
    others = (file for file, text in texts if "names:" in text and "train:" in text)
    return next((file for file in usual if file.is_file()), None) or next(others, None)


def read_yolo(file: Path, *, on_broken: OnBroken = "stop") -> Dataset:
    """Read the YOLO dataset that a YAML file describes.

    Args:
        file: The YAML file; its ``path`` is relative to its folder, which is used instead where ``path`` does not exist.
        on_broken: See `open_dataset`.

    Raises:
        DatasetError: The file is not valid, a split's images or all its labels are missing, or an item is broken and
            ``on_broken`` is ``stop``.
    """
    document = _read_yaml(file)
    class_names = _class_names(document, file)
    stated = file.parent / str(document.get("path") or ".")
    root = stated if stated.is_dir() else file.parent  # it is often a path of the machine where the file was written
    broken = BrokenItems(root, on_broken)
    notes: list[str] = []
    splits = {}
    for split, keys in _SPLIT_KEYS.items():
        entry = next((document[key] for key in keys if document.get(key)), None)
        if entry is None:
            continue
        places = entry if isinstance(entry, list) else [entry]
        images = [path for place in places for path in _find_images(str(place), root, file=file)]
        splits[split] = _read_split(split, images, num_classes=len(class_names), broken=broken, notes=notes)
    return assemble_dataset(
        file.resolve().parent.name,
        "yolo",
        class_names=class_names,
        splits=splits,
        left_out=broken.left_out,
        notes=notes + broken.notes(),
    )


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: the YAML is broken: {error}") from error
    if not isinstance(document, dict) or "train" not in document or "names" not in document:
        raise DatasetError(f"{file}: a YOLO dataset's YAML holds 'train', 'val' and 'names'; this file does not")
    return document


def _class_names(document: dict[str, Any], file: Path) -> list[str]:
    names = document["names"]
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DatasetError(f"{file}: the keys of 'names' are {sorted(names, key=str)}, not 0 to {len(names) - 1}")
        names = [names[key] for key in range(len(names))]
    if not isinstance(names, list):
        raise DatasetError(f"{file}: 'names' is neither a list nor a mapping from 0: {names!r}")
    count = document.get("nc", len(names))
    if count != len(names):
        raise DatasetError(f"{file}: 'nc' is {count}, but 'names' holds {len(names)} names")
    return [str(name) for name in names]


def _find_images(place: str, root: Path, *, file: Path) -> list[Path]:
    # Roboflow writes ../train/images for train/images
    candidates = [root / place, file.parent / place, root / place.removeprefix("../")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        raise DatasetError(f"{file}: {place!r} does not exist", hint=f"looked for {candidates[0]}")
    if found.is_dir():
        return list_images(found)
    if found.suffix != ".txt":
        raise DatasetError(f"{file}: {place!r} is neither a folder nor a .txt list of images")
    lines = [line.strip() for line in found.read_text().splitlines() if line.strip()]
    return [found.parent / line if line.startswith("./") else root / line for line in lines]


def _label_path(image: Path) -> Path:
    parts = list(image.parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read_split(
    split: str, images: Sequence[Path], *, num_classes: int, broken: BrokenItems, notes: list[str]
) -> list[Sample]:
    distinct = dict.fromkeys(images)
    if len(distinct) < len(images):
        notes.append(f"{len(images) - len(distinct)} image(s) are listed twice in {split}")
    unlabelled = sum(not _label_path(image).is_file() for image in distinct)
    if distinct and unlabelled == len(distinct):
        first = _label_path(next(iter(distinct)))
        raise DatasetError(f"no image of the {split} split has a label file", hint=f"looked first for {first}")
    if unlabelled:
        notes.append(f"{unlabelled} image(s) of {split} have no label file and count as without objects")
    samples = (_to_sample(image, num_classes=num_classes, broken=broken) for image in distinct)
    return [sample for sample in samples if sample is not None]


def _to_sample(path: Path, *, num_classes: int, broken: BrokenItems) -> Sample | None:
    image = broken.check_image(path)
    if image is None:
        return None
    label_path = _label_path(path)
    labels, boxes = [], []
    for number, line in enumerate(_read_lines(label_path, broken), 1):
        try:
            label, box = _parse_line(line, num_classes)
        except ValueError as error:
            broken.add(label_path, f"line {number}: {error}")
            continue
        labels.append(label)
        boxes.append(box)
    height, width = image.size_hw
    in_pixels = [(x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in boxes]
    return broken.make_sample(image, in_pixels, labels, path=label_path)


def _read_lines(path: Path, broken: BrokenItems) -> list[str]:
    if not path.is_file():
        return []
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        broken.add(path, f"the labels are not text: {error}")
        return []


def _parse_line(line: str, num_classes: int) -> tuple[int, tuple[float, float, float, float]]:
    """Return the class and the box, xyxy in shares of the image, of one label line."""
    first, *rest = (float(word) for word in line.split())
    if not (first.is_integer() and 0 <= first < num_classes):
        raise ValueError(f"unknown class {first:g}; the classes are 0 to {num_classes - 1}")
    if len(rest) != 4 and (len(rest) < 6 or len(rest) % 2):
        raise ValueError(f"holds {len(rest)} numbers after the class, not a box of 4 or a polygon of 6 or more")
    if any(abs(value) > _NORMALISED_LIMIT for value in rest):
        raise ValueError(f"holds {max(rest, key=abs):g}: coordinates are shares of the image, from 0 to 1")
    if len(rest) == 4:
        x, y, width, height = rest
        return int(first), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return int(first), (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2]))
