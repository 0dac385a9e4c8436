"""Reads COCO JSON in the folder layouts of COCO, Roboflow and similar tools.

COCO's xywh boxes become xyxy, and its category ids, which have gaps, become labels from 0. ``iscrowd`` regions become
ignored objects.

Source: cocodataset.org, "Data format", section "Object Detection".
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from trials.data.broken_items import BrokenItems, OnBroken, relative_name
from trials.data.dataset import Dataset, DatasetError, Sample, assemble_dataset

_SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_OTHER_TASKS = ("captions", "person_keypoints", "image_info", "panoptic", "stuff")
_PROBED_IMAGES = 20  # a folder that holds one of the first few images is the image folder

_Json: TypeAlias = dict[str, Any]


def find_coco_files(root: Path) -> dict[str, Path]:
    """Return the annotation file of each split found at a path; empty where there is none.

    Searches the folder itself, ``annotations`` and the splits' folders. The file's name gives the split, else its
    folder's name; a single file that names no split is for training.

    Raises:
        DatasetError: Two files are for the same split.
    """
    if root.is_file():
        return {"train": root} if root.suffix == ".json" else {}
    candidates = [
        path for pattern in ("*.json", "annotations/*.json", "*/*.json") for path in sorted(root.glob(pattern))
    ]
    found: dict[str, Path] = {}
    unnamed = []
    for path in dict.fromkeys(candidates):
        if path.name.startswith(_OTHER_TASKS) or not _is_annotation_file(path):
            continue
        split = _split_of(path.stem) or _split_of(path.parent.name)
        if split is None:
            unnamed.append(path)
        elif split in found:
            raise DatasetError(
                f"{relative_name(found[split], root)} and {relative_name(path, root)} are both annotations of {split}",
                hint="keep one of them in the dataset's folder",
            )
        else:
            found[split] = path
    if not found and len(unnamed) == 1:
        found["train"] = unnamed[0]
    return found


def read_coco(path: Path, files: Mapping[str, Path], *, on_broken: OnBroken = "stop") -> Dataset:
    """Read COCO annotation files as one dataset.

    Classes are the categories of the training file in the order of their ids; other files' categories are matched by
    name. A category that only groups others and has no annotations (Roboflow's id 0) is left out.

    Args:
        path: What the user gave: a folder, or one JSON file.
        files: What `find_coco_files` found there.
        on_broken: See `open_dataset`.

    Raises:
        DatasetError: A file is not in COCO's format, a split is empty, or an item is broken and ``on_broken`` is ``stop``.
    """
    root = path.parent if path.is_file() else path
    broken = BrokenItems(root, on_broken)
    documents = {split: _read_json(file) for split, file in files.items()}
    if "train" not in documents:
        raise DatasetError(f"{path}: no annotations of a training split; found {', '.join(sorted(documents))}")
    class_names, notes = _classes(documents, files["train"])
    splits = {}
    for split, document in documents.items():
        folder = _find_image_folder(root, files[split], split=split, images=document["images"])
        splits[split] = _read_split(document, files[split], folder=folder, class_names=class_names, broken=broken)
    return assemble_dataset(
        path.resolve().name,
        "coco",
        class_names=class_names,
        splits=splits,
        left_out=broken.left_out,
        notes=notes + broken.notes(),
    )


def _split_of(name: str) -> str | None:
    words = re.findall(r"[a-z]+", name.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def _is_annotation_file(path: Path) -> bool:
    """Return whether a JSON file looks like COCO's by its head and, since keys come in any order, its tail."""
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, file.seek(0, 2) - 4096))
        ends = head + file.read()
    return any(key in ends for key in (b'"images"', b'"annotations"', b'"categories"', b'"bbox"'))


def _read_json(path: Path) -> _Json:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise DatasetError(f"{path}: the JSON is broken: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DatasetError(f"{path}: COCO annotations hold a list {key!r}; this file does not")
    for category in document["categories"]:
        if not isinstance(category, dict) or not isinstance(category.get("id"), int) or "name" not in category:
            raise DatasetError(f"{path}: the category {category} has no whole-numbered 'id' and a 'name'")
    return dict(document)


def _classes(documents: Mapping[str, _Json], train_file: Path) -> tuple[list[str], list[str]]:
    used = {annotation.get("category_id") for document in documents.values() for annotation in document["annotations"]}
    categories = sorted(documents["train"]["categories"], key=lambda category: category["id"])
    # COCO's "person" is the only member of its group: a group has a member other than itself
    groups = {
        category.get("supercategory") for category in categories if category.get("supercategory") != category["name"]
    }
    bare = {category["name"] for category in categories if category["id"] not in used} & groups
    names = [str(category["name"]) for category in categories if category["name"] not in bare]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"{train_file}: the category {twice!r} is defined twice")
    return names, [f"category {name!r} only groups others and has no objects: left out" for name in sorted(bare)]


def _find_image_folder(root: Path, file: Path, *, split: str, images: Sequence[_Json]) -> Path:
    spoken = file.stem.removeprefix("instances_")
    words = dict.fromkeys([spoken, *(word for word, meaning in _SPLIT_WORDS.items() if meaning == split)])
    folders = [file.parent, root, root / "images", root / "JPEGImages"]
    for word in words:
        folders += [root / word, root / "images" / word, root / word / "images"]
    probes = [str(image.get("file_name", "")) for image in images[:_PROBED_IMAGES]]
    for folder in folders:
        if any(probe and (folder / probe).is_file() for probe in probes):
            return folder
    if not probes:
        return root
    looked = ", ".join(dict.fromkeys(relative_name(folder, root) for folder in folders))
    raise DatasetError(
        f"{file}: none of its images found, the first is {probes[0]!r}", hint=f"looked below {root} in {looked}"
    )


def _read_split(
    document: _Json, file: Path, *, folder: Path, class_names: Sequence[str], broken: BrokenItems
) -> list[Sample]:
    labels = {name: label for label, name in enumerate(class_names)}
    names = [(category["id"], str(category["name"])) for category in document["categories"]]
    to_label = {category: labels[name] for category, name in names if name in labels}
    by_image: dict[Any, list[_Json]] = {image.get("id"): [] for image in document["images"]}
    for annotation in document["annotations"]:
        if annotation.get("image_id") not in by_image:
            broken.add(file, f"annotation {annotation.get('id')} names an unknown image {annotation.get('image_id')}")
        elif annotation.get("category_id") not in to_label:
            broken.add(file, f"annotation {annotation.get('id')} has an unknown class {annotation.get('category_id')}")
        else:
            by_image[annotation["image_id"]].append(annotation)
    samples = (
        _to_sample(image, by_image[image.get("id")], folder=folder, to_label=to_label, file=file, broken=broken)
        for image in document["images"]
    )
    return [sample for sample in samples if sample is not None]


def _to_sample(
    image: _Json,
    annotations: Sequence[_Json],
    *,
    folder: Path,
    to_label: Mapping[Any, int],
    file: Path,
    broken: BrokenItems,
) -> Sample | None:
    name = str(image.get("file_name", ""))
    if not name:
        broken.add(file, f"image {image.get('id')} has no file name")
        return None
    path = folder / name
    height, width = image.get("height"), image.get("width")
    checked = broken.check_image(path, stated_size_hw=(int(height), int(width)) if height and width else None)
    if checked is None:
        return None
    boxes, kept = [], []
    for annotation in annotations:
        box = _to_xyxy(annotation.get("bbox"))
        if box is None:
            broken.add(file, f"annotation {annotation.get('id')} of {name} has no bbox of four numbers")
        else:
            boxes.append(box)
            kept.append(annotation)
    labels = [to_label[annotation["category_id"]] for annotation in kept]
    crowd = [bool(annotation.get("iscrowd", 0)) for annotation in kept]
    return broken.make_sample(checked, boxes, labels, ignored=crowd, path=path)


def _to_xyxy(box_xywh: object) -> tuple[float, float, float, float] | None:
    try:
        left, top, width, height = (float(value) for value in box_xywh)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    return left, top, left + width, top + height
