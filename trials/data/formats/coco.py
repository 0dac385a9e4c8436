"""Reads COCO JSON, wherever it and its images lie.

COCO's xywh boxes become xyxy, and its category ids, which have gaps, become labels from 0. ``iscrowd`` regions become
ignored objects.

Source: cocodataset.org, "Data format", section "Object Detection".
"""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from spaces.counted import counted
from spaces.documents import parse_json
from trials.data.dataset import SPLITS, Dataset, DatasetError, Sample, assemble_dataset
from trials.data.formats.broken_items import BrokenItems, OnBroken, relative_name
from trials.data.formats.coco_images import CocoImages
from trials.data.formats.file_tree import FileTree, is_possible_name, note_only_file, note_unreadable
from trials.data.formats.outlines import Xyxy, bound_turned
from trials.data.formats.stated_values import read_flag, read_rotation

_SHOWN_NAME = 40
_MAX_DEPTH = 4  # folders between the root and an annotation file
_OTHER_TASKS = ("captions", "image_info", "panoptic", "stuff")
_KEYPOINTS = "person_keypoints"  # holds boxes of people: read where there is no other file
_PROBED_BYTES = 65536

_Json: TypeAlias = dict[str, Any]
_Annotated: TypeAlias = tuple[_Json, list[_Json], int]
"""What a file holds about an image, its annotations, and how many it has beside them whose class is none."""
_Entry: TypeAlias = tuple[Path, _Json, list[_Json], int]
"""An image's path, and the same."""


def is_coco(tree: FileTree) -> bool:
    """Return whether a JSON file holds COCO's lists."""
    return bool(_annotation_files(tree))


def read_coco(tree: FileTree, *, on_broken: OnBroken = "stop", scored: str | None = None) -> Dataset:
    """Read COCO annotation files as one dataset.

    A file's name gives its split, else its innermost folder that names one. The folders of its images divide a single file;
    where they name one split or none, it is for training, whatever it is named, unless networks are only scored on it.
    Classes are the categories of the training file in the order of their ids; other files' categories are matched by name.
    A category that only groups others and has no annotations (Roboflow's id 0) is left out.

    Args:
        tree: The files, of which `is_coco` is true.
        on_broken: See `open_dataset`.
        scored: Likewise.

    Raises:
        DatasetError: A file is not in COCO's format, two are of one split, a split is empty, or an item is broken and
            ``on_broken`` is ``stop``.
    """
    if tree.given is not None and not tree.images:
        tree = FileTree(tree.root.parent, tree.given)  # annotations/NAME.json beside images/
    broken = BrokenItems(tree.root, on_broken, scored)
    notes: list[str] = []
    files = _divide_by_split(tree, notes, is_trained_on=scored is None)
    name = (tree.given or tree.root).resolve().name
    documents = {}
    splits: dict[str, list[Sample]] = {}
    images = CocoImages(tree)
    for split, file in files.items():
        with broken.of_split(split):
            documents[split] = _read_json(file, broken, notes)
            _refuse_fractions(documents[split], file)
    class_names, labels, category_notes = _classes(documents, files)
    for split, document in documents.items():
        file = files[split]
        by_split: dict[str, list[_Entry]] = {}
        is_divided = len(files) == 1 and split == "train"
        with broken.of_split(split):
            images.enter(file, split=None if is_divided else split, images=document["images"])
            pairs = _pair(document, file, labels=labels[split], broken=broken)
            found = [(path, *pair) for pair in pairs if (path := _find_image(pair[0], images, file, broken))]
            by_split = {split: found}
            if is_divided:
                by_split = _divide_by_folder(tree, file, found, notes, is_trained_on=scored is None)
        for own, entries in by_split.items():
            with broken.of_split(own):
                samples = (_to_sample(*entry, file=file, broken=broken) for entry in entries)
                splits[own] = [sample for sample in samples if sample is not None]
    return assemble_dataset(
        name,
        "coco",
        class_names=class_names,
        splits=splits,
        left_out=broken.left_out,
        notes=[*category_notes, *notes, *images.notes(), *note_unreadable(tree.files), *broken.notes()],
    )


def _annotation_files(tree: FileTree) -> list[Path]:
    files = tree.annotations(".json")
    near = [path for path in files if tree.depth(path) <= _MAX_DEPTH and not path.name.startswith(_OTHER_TASKS)]
    return [path for path in near if _holds_coco_lists(path)]


def _holds_coco_lists(path: Path) -> bool:
    """Return whether a JSON file looks like COCO's by its head and, since keys come in any order, its tail."""
    ends = _read_ends(path)
    if not ends.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return False
    images, annotations, categories = (
        re.search(rb'"%s"\s*:\s*\[(?!\s*")' % key, ends) for key in (b"images", b"annotations", b"categories")
    )
    # where the list of images starts in the middle of a long file, its entries still show at an end
    return bool(images or (categories and (annotations or b'"file_name"' in ends)))


def _read_ends(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_PROBED_BYTES)
            file.seek(max(0, file.seek(0, 2) - _PROBED_BYTES))
            return head + file.read()
    except OSError:
        return b""


def _divide_by_split(tree: FileTree, notes: list[str], *, is_trained_on: bool) -> dict[str, Path]:
    """Return the annotation file of each split; the only one is for training where the dataset is trained on.

    Raises:
        DatasetError: Two files are for the same split, or several name none.
    """
    files = _annotation_files(tree)
    if tree.given is not None:
        return {(not is_trained_on and tree.split_of_file(tree.given)) or "train": tree.given}
    by_split: dict[str | None, list[Path]] = {}
    for path in files:
        by_split.setdefault(tree.split_of_file(path), []).append(path)
    found: dict[str, Path] = {}
    unread = []
    unnamed = by_split.pop(None, [])
    for split, candidates in by_split.items():
        chosen = [path for path in candidates if b'"bbox"' in _read_ends(path)] or candidates
        chosen = [path for path in chosen if not path.name.startswith(_KEYPOINTS)] or chosen
        if len(chosen) > 1 and split == "test":
            unread += candidates
            continue
        if len(chosen) > 1:
            first, second = (relative_name(path, tree.root) for path in chosen[:2])
            raise DatasetError(
                f"{first} and {second} are both annotations of {split}", hint="keep one of them in the dataset's folder"
            )
        found[str(split)] = chosen[0]
        unread += [path for path in candidates if path not in chosen]
    if "train" not in found and len(unnamed) == 1:
        found["train"] = unnamed.pop()
    elif unnamed and not found:
        shown = ", ".join(relative_name(path, tree.root) for path in unnamed[:5])
        raise DatasetError(
            f"{len(unnamed)} annotation files, of which none names its split: {shown}",
            hint="name them train.json and val.json, or give one file",
        )
    unread += unnamed
    if is_trained_on and len(found) == 1 and "train" not in found and not unread:
        ((split, only),) = found.items()
        notes.append(note_only_file(only, split, tree.root))
        found = {"train": only}
    if unread:
        shown = ", ".join(relative_name(path, tree.root) for path in unread[:5])
        notes.append(f"{counted(len(unread), 'other COCO file(s) is|are')} not read: {shown}")
    return found


def _divide_by_folder(
    tree: FileTree, file: Path, entries: Sequence[_Entry], notes: list[str], *, is_trained_on: bool
) -> dict[str, list[_Entry]]:
    """Return the entries of the only annotation file by the splits that their images' folders name."""
    by_split: dict[str, list[_Entry]] = {}
    for entry in entries:
        by_split.setdefault(tree.split_of(entry[0]) or "train", []).append(entry)
    if not is_trained_on or "train" in by_split or len(by_split) != 1:
        return by_split or {"train": []}
    if tree.split_of_file(file) is None:
        notes.append(note_only_file(file, next(iter(by_split)), tree.root))
    return {"train": list(entries)}


def _read_json(file: Path, broken: BrokenItems, notes: list[str]) -> _Json:
    try:
        document = parse_json(file.read_bytes())
    except ValueError as error:
        raise DatasetError(f"{file}: the JSON is broken: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DatasetError(f"{file}: COCO annotations hold a list {key!r}; this file does not")
        for place, entry in enumerate(document[key]):
            if not isinstance(entry, dict):
                broken.add(file, f"entry {place} of {key!r} is {json.dumps(entry)[:40]}, not an object")
        document[key] = [entry for entry in document[key] if isinstance(entry, dict)]
    _check_categories(document["categories"], file)
    for annotation in document["annotations"]:
        if type(annotation.get("category_id")) is not int:
            annotation["category_id"] = _whole(annotation.get("category_id"))
    return _without_shared_ids(dict(document), file, broken, notes)


def _check_categories(categories: Sequence[_Json], file: Path) -> None:
    """Make the categories' ids whole numbers, which some tools write as "1" or 1.0.

    Raises:
        DatasetError: One has no id or no name, or two have the same id.
    """
    by_id: dict[int, object] = {}
    for category in categories:
        category["id"], name = _whole(category.get("id")), category.get("name")
        is_named = isinstance(name, str | int | float) and not isinstance(name, bool) and str(name).strip()
        if not isinstance(category["id"], int) or not is_named:
            raise DatasetError(f"{file}: the category {category} has no whole-numbered 'id' and a 'name'")
        if by_id.setdefault(category["id"], name) != name:
            raise DatasetError(
                f"{file}: the category id {category['id']} belongs to {by_id[category['id']]!r} and {name!r}",
                hint="give each class an id of its own",
            )


def _whole(identifier: object) -> object:
    """Return a category's id as a whole number where it is one, written as text or as a decimal."""
    if isinstance(identifier, bool):
        return str(identifier)
    text = str(identifier).strip().removesuffix(".0")
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else identifier


def _refuse_fractions(document: _Json, file: Path) -> None:
    """Refuse boxes that are fractions of their images: as pixels, all would be one in a corner."""
    boxes = [box for one in document["annotations"] if isinstance(box := one.get("bbox"), list) and len(box) == 4]
    largest = max((abs(value) for box in boxes for value in box if isinstance(value, int | float)), default=0.0)
    if 0 < largest <= 1:
        raise DatasetError(
            f"{file}: the boxes are fractions of the image, and COCO's are pixels",
            hint="multiply x and width by the image's width, y and height by its height",
        )


def _without_shared_ids(document: _Json, file: Path, broken: BrokenItems, notes: list[str]) -> _Json:
    """Return the document without images whose id another one has, and with each image of one file joined to one."""
    by_id: dict[str, list[_Json]] = {}
    for image in document["images"]:
        by_id.setdefault(_key(image.get("id")), []).append(image)
    shared = {}
    for key, images in by_id.items():
        names = dict.fromkeys(str(image.get("file_name")) for image in images)
        if len(names) > 1:
            broken.add(file, f"the image id {key} belongs to {' and '.join(names)}: which one is annotated is lost")
            shared[key] = names
    by_name: dict[object, str] = {}  # file name to the id of the first image that has it
    joined: dict[str, str] = {}
    images = []
    for image in document["images"]:
        key = _key(image.get("id"))
        if key in shared:
            continue
        name = image.get("file_name")
        if isinstance(name, str) and any(part in name for part in ("\\", "./", "//")):
            name = posixpath.normpath(name.replace("\\", "/"))
        first = by_name.setdefault(name if isinstance(name, str) and name else key, key)
        if first == key and by_id[key]:
            images.append(image)
            by_id[key] = []
        else:
            joined[key] = first
    num_joined = len(document["images"]) - len(images) - sum(len(by_id[key]) for key in shared)
    if num_joined:
        notes.append(
            f"{relative_name(file, broken.root)}: {counted(num_joined, 'image(s) is|are listed twice and was|were')} joined"
        )
    annotations = [a for a in document["annotations"] if _key(a.get("image_id")) not in shared]
    for annotation in annotations:
        key = _key(annotation.get("image_id"))
        annotation["image_id"] = joined.get(key, key)
    return document | {"images": images, "annotations": annotations}


def _key(identifier: object) -> str:
    """Return an id as text that tells 1 from "1" and can be looked up, whatever it is."""
    if type(identifier) is int:  # the usual case: 30 times as fast
        return str(identifier)
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)  # pandas writes 1 as 1.0
    return json.dumps(identifier)


def _classes(
    documents: Mapping[str, _Json], files: Mapping[str, Path]
) -> tuple[list[str], dict[str, dict[str, int]], list[str]]:
    """Return the classes, of training if that is there, each split's category ids (as keys) with their labels, and notes."""
    if not documents:
        return [], {}, []
    first = next(split for split in SPLITS if split in documents)
    used: set[tuple[str, str]] = set()
    for document in documents.values():
        ids = {_key(annotation.get("category_id")) for annotation in document["annotations"]}
        used |= {(_key(c["id"]), str(c["name"])) for c in document["categories"] if _key(c["id"]) in ids}
    categories = sorted(documents[first]["categories"], key=lambda category: category["id"])
    kept: dict[str, _Json] = {}
    notes = []
    for category in categories:
        name = str(category["name"])
        # COCO's "person" is the only member of its own group: a group has another category in it
        is_group = any(other is not category and other.get("supercategory") == name for other in categories)
        if is_group and (_key(category["id"]), name) not in used:
            notes.append(f"category {name!r} only groups others and has no objects: left out")
        elif name not in kept:
            kept[name] = category
        elif kept[name].get("supercategory") in (None, "none") and category.get("supercategory") == name:
            notes.append(f"categories {kept[name]['id']} and {category['id']} are both named {name!r}: joined")
        else:
            raise DatasetError(f"{files[first]}: the category {name!r} is defined twice")
    index = {name: label for label, name in enumerate(kept)}
    labels = {
        split: {
            _key(category["id"]): index[name]
            for category in document["categories"]
            if (name := str(category["name"])) in index
        }
        for split, document in documents.items()
    }
    return list(kept), labels, notes


def _pair(document: _Json, file: Path, *, labels: Mapping[str, int], broken: BrokenItems) -> Iterable[_Annotated]:
    """Return each image with its annotations, whose ``label`` is set."""
    by_image: dict[str, list[_Json]] = {_key(image.get("id")): [] for image in document["images"]}
    num_broken: Counter[str] = Counter()
    for annotation in document["annotations"]:
        image, category = annotation["image_id"], annotation.get("category_id")
        if image not in by_image:
            broken.add(file, f"annotation {annotation.get('id')} names an unknown image {image}")
        elif category is None or _key(category) not in labels:
            fault = "no class" if category is None else f"an unknown class {category}"
            broken.add(file, f"annotation {annotation.get('id')} has {fault}")
            num_broken[image] += 1
        else:
            by_image[image].append(annotation | {"label": labels[_key(category)]})
    keys = ((image, _key(image.get("id"))) for image in document["images"])
    return [(image, by_image[key], num_broken[key]) for image, key in keys]


def _find_image(image: _Json, images: CocoImages, file: Path, broken: BrokenItems) -> Path | None:
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        broken.add(file, f"image {image.get('id')} has no file name")
    elif not is_possible_name(name):
        broken.add(file, f"image {image.get('id')} has a name that no file can have: {name[:_SHOWN_NAME]!r}")
    else:
        return images.find(name)
    return None


def _to_sample(
    path: Path, image: _Json, annotations: Sequence[_Json], num_broken: int, *, file: Path, broken: BrokenItems
) -> Sample | None:
    checked = broken.check_image(path, stated_size_hw=_stated_size(image))
    if checked is None:
        return None
    boxes, labels, crowd, places = [], [], [], []
    for annotation in annotations:
        place = f"annotation {annotation.get('id')} of {image['file_name']}:"
        try:
            box, is_crowd = _box(annotation), read_flag(annotation.get("iscrowd"), "iscrowd")
        except ValueError as error:
            broken.add(file, f"{place} {error}")
        else:
            boxes.append(box)
            labels.append(annotation["label"])
            crowd.append(is_crowd)
            places.append(f"{place} bbox [{', '.join(f'{float(value):g}' for value in annotation['bbox'])}]")
    num_broken += len(annotations) - len(boxes)
    return broken.make_sample(checked, boxes, labels, ignored=crowd, num_broken=num_broken, path=file, places=places)


def _stated_size(image: _Json) -> tuple[int, int] | None:
    try:
        height, width = int(image.get("height") or 0), int(image.get("width") or 0)
    except (TypeError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _box(annotation: _Json) -> Xyxy:
    try:
        left, top, width, height = (float(value) for value in annotation.get("bbox"))  # type: ignore[union-attr]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("has no bbox of four numbers") from error
    attributes = annotation.get("attributes")
    degrees = read_rotation(attributes) if isinstance(attributes, dict) else 0.0
    return bound_turned((left, top, left + width, top + height), degrees)
