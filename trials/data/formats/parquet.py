"""Reads Parquet files of Hugging Face: images and boxes in the rows of a table.

The images are written to files once, below `data_home`, beside a COCO file for each split, which the COCO reader reads.
Training draws images in random order; Parquet is compressed in groups of rows, of which each draw would unpack a whole one.

Source: huggingface.co/docs/datasets, "Object detection"; the classes' names are where `datasets` stores them, in the
schema's metadata.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from spaces.documents import parse_json
from spaces.errors import YoloRetError
from trials.data.data_home import data_home
from trials.data.dataset import Dataset, DatasetError
from trials.data.formats.broken_items import OnBroken, relative_name
from trials.data.formats.coco import read_coco
from trials.data.formats.file_tree import (
    FileTree,
    count_common_tail,
    is_possible_name,
    note_only_file,
    split_of_folder,
)
from trials.data.images.image_file import check_image
from trials.data.lfs_pointer import LFS_ADVICE, is_lfs_pointer
from trials.whole_file import whole_folder

_IMAGES, _OBJECTS, _BOXES = ("image", "img"), ("objects", "annotations", "faces"), ("bbox", "bboxes", "boxes", "box")
_CLASSES = ("category", "categories", "category_id", "label", "labels", "class", "class_id")
_IGNORED = ("iscrowd", "is_crowd", "difficult", "invalid")
_BATCH_ROWS = 32
_UNPACKER = 5
"""Identifies what unpacked a file; another version of ours may read boxes or classes otherwise."""
_TOLERANCE_PX = 1.0  # a box past the edge by rounding does not tell xywh from xyxy
_MOST_OUTSIDE = 0.1  # share of boxes past the edge that errors explain; of corners read as xywh some half are
_DATA_FOLDER = "data"
_NOTES_FILE = "notes.txt"
"""What was assumed when the files were unpacked, a sentence a line."""
_ROW_FAULTS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError)
"""What a row raises whose values are of other types; pyarrow's errors are among them."""

_Rows = list[dict[str, Any]]


def is_parquet(tree: FileTree) -> bool:
    """Return whether there is a Parquet file; what its columns hold shows when it is read."""
    return bool(tree.annotations(".parquet"))


def read_parquet(tree: FileTree, *, on_broken: OnBroken = "stop", scored: str | None = None) -> Dataset:
    """Read Parquet files as one dataset; a file's name or folder gives its split, else it is for training.

    So is the only file whatever its name, unless networks are only scored on it.

    Boxes are COCO's xywh in pixels; if some reach outside their image that way, and all lie inside as xyxy, they are those.
    A note tells which, and another where classes are numbers that nothing names. Boxes flagged as crowd, difficult or
    invalid become ignored ones.

    Args:
        tree: The files, of which `is_parquet` is true.
        on_broken: See `open_dataset`.
        scored: Likewise.

    Raises:
        DatasetError: A file cannot be read, or lacks images or boxes; or as `read_coco`.
    """
    paths = tree.annotations(".parquet")
    split_of = {path: tree.split_of_file(path) or "train" for path in paths}
    only: list[str] = []
    if scored is None and len(paths) == 1 and split_of[paths[0]] != "train":
        only = [note_only_file(paths[0], split_of[paths[0]], tree.root)]
        split_of[paths[0]] = "train"
    folder = _unpack(tree, split_of)
    dataset = read_coco(FileTree(folder), on_broken=on_broken, scored=scored)
    assumed = (folder / _NOTES_FILE).read_text().splitlines()
    joined = _note_folders(paths, tree)
    notes = (*dataset.notes, *joined, *assumed, f"the images are unpacked in {folder}", *only)
    return replace(dataset, name=(tree.given or tree.root).resolve().name, format="parquet", notes=notes)


def _note_folders(paths: Sequence[Path], tree: FileTree) -> list[str]:
    """Return a sentence on files of several folders, if there are any: one may be a part, or another form, of another."""
    folders = set()
    for path in paths:
        parts = path.parent.relative_to(tree.root).parts
        while parts and (split_of_folder(parts[-1]) or parts[-1] == _DATA_FOLDER):
            parts = parts[:-1]
        folders.add("/".join(parts) or ".")
    named = f"the files of {len(folders)} folders are joined: {', '.join(sorted(folders))}; give one of them for itself"
    return [named] if len(folders) > 1 else []


def _unpack(tree: FileTree, split_of: Mapping[Path, str]) -> Path:
    """Return the folder of the images and of a COCO file for each split; write it where it is missing."""
    stats = [(str(path.resolve()), path.stat(), split) for path, split in split_of.items()]
    stamps = [(place, found.st_size, found.st_mtime_ns, split) for place, found, split in stats]
    images = [relative_name(path, tree.root) for path in tree.images]  # rows may name some
    identity = json.dumps([_UNPACKER, *stamps, images])
    folder = data_home() / "parquet" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    try:
        with whole_folder(folder) as partial:
            _fill(partial, split_of, tree)
    except OSError as error:
        if not folder.is_dir():  # it is there where another process was faster
            raise DatasetError(
                f"the images cannot be unpacked into {folder}: {error}", hint="YOLORET_NAS_DATA names another folder"
            ) from error
    return folder


def _fill(folder: Path, split_of: Mapping[Path, str], tree: FileTree) -> None:
    """Write the images of Parquet files, and a COCO file for each split."""
    by_split: dict[str, _Rows] = {}
    names: list[str] = []
    for path, split in split_of.items():
        rows = by_split.setdefault(split, [])
        _read_file(path, rows, names, folder, tree)
    everything = [row for rows in by_split.values() for row in rows]
    if everything and not any(os.path.isfile(folder / row["place"]) for row in everything):
        raise DatasetError(
            f"{next(iter(split_of))}: its rows hold no images, and those that they name are not below {tree.root}",
            hint="put them beside the file",
        )
    notes = []
    if not names:
        names += sorted({name for row in everything for name in row["names"] if name is not None})
        if any(row["has_numbers"] for row in everything):
            notes.append(f"the files name no classes: they are called by the numbers in their rows, such as {names[0]}")
    is_xyxy = _is_xyxy(everything, folder)
    for split, rows in by_split.items():
        (folder / f"{split}.json").write_text(json.dumps(_to_coco(rows, names, is_xyxy=is_xyxy), default=str))
    convention = "x1, y1, x2, y2: as x, y, width, height some would reach outside their image"
    convention = convention if is_xyxy else "x, y, width, height in pixels, as in COCO"
    (folder / _NOTES_FILE).write_text("\n".join([f"boxes are read as {convention}", *notes]))


def _read_file(path: Path, rows: _Rows, names: list[str], folder: Path, tree: FileTree) -> None:
    """Write a file's images below a folder, and append its rows; set the classes' names if it states them."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # ValueError: a column's name is not UTF-8
        reason = LFS_ADVICE if is_lfs_pointer(path) else f"the Parquet file cannot be read: {error}"
        raise DatasetError(f"{path}: {reason}") from error
    with file:
        columns = [_find(schema.names, wanted) for wanted in (_IMAGES, _OBJECTS)]
        if None in columns:
            raise DatasetError(
                f"{path}: needed are a column of images ({' or '.join(_IMAGES)}) and one of objects "
                f"({' or '.join(_OBJECTS)}); there are {', '.join(schema.names)}",
                hint="export the dataset as COCO, Pascal VOC or YOLO from what wrote it",
            )
        stated = _class_names(_features(schema.metadata or {}, path).get(str(columns[1])))
        names[:] = names or stated
        stem = relative_name(path.with_suffix(""), tree.root)
        (folder / stem).mkdir(parents=True)
        number = 0
        try:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                for image, objects in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                    place = f"{stem}/{number:07d}{_write(image, folder / stem, number, file=path, tree=tree)}"
                    rows.append({"place": place, **_boxes_and_names(objects, stated, path)})
                    number += 1
        except YoloRetError:
            raise
        except _ROW_FAULTS as error:
            raise DatasetError(f"{path}: row {number} or one after it cannot be read: {error}") from error


def _features(metadata: Mapping[bytes, bytes], path: Path) -> Mapping[str, Any]:
    """Return the columns' descriptions in a schema's metadata; empty where it has none."""
    try:
        found = parse_json(metadata.get(b"huggingface", b"{}"))
    except ValueError as error:
        raise DatasetError(f"{path}: the metadata of Hugging Face are broken: {error}") from error
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _find(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _class_names(feature: Any) -> list[str]:
    """Return the names of the classes in a column's description; empty for none."""
    while (isinstance(feature, list) and feature) or (isinstance(feature, Mapping) and "feature" in feature):
        feature = feature[0] if isinstance(feature, list) else feature["feature"]
    if isinstance(feature, Mapping) and "_type" not in feature:  # fields: of several lists of names, that of the class
        feature = feature.get(_find(list(feature), _CLASSES))
        while isinstance(feature, Mapping) and "feature" in feature:
            feature = feature["feature"]
    if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return ["" if name is None else str(name) for name in names] if isinstance(names, list) else []
    return []


def _write(image: Any, folder: Path, number: int, *, file: Path, tree: FileTree) -> str:
    """Write a row's image, or link to the file that it names, if there is one; return the suffix of its name."""
    stored = image if isinstance(image, dict) else {"path" if isinstance(image, str) else "bytes": image}
    name = stored.get("path") or ""
    name = name if is_possible_name(name) else ""
    suffix = Path(name).suffix
    if content := stored.get("bytes"):
        (folder / f"{number:07d}{suffix}").write_bytes(content)
    elif name and (found := _find_image(name, file, tree)):
        (folder / f"{number:07d}{suffix}").symlink_to(found.resolve())
    return suffix


def _find_image(name: str, file: Path, tree: FileTree) -> Path | None:
    """Return the image that a row names: relative to the file's folder or one above it, else the only one that ends so."""
    above = [folder for folder in file.parents if folder.is_relative_to(tree.root)]
    if found := next((folder / name for folder in above if os.path.isfile(folder / name)), None):
        return found
    wanted = PurePosixPath(name.replace("\\", "/")).parts
    alike = [path for path in tree.images_of_stem(Path(wanted[-1]).stem) if path.name == wanted[-1]]
    ranked = sorted(alike, key=lambda path: -count_common_tail(path.parts, wanted))
    is_only = len(ranked) == 1 or (
        ranked and count_common_tail(ranked[0].parts, wanted) > count_common_tail(ranked[1].parts, wanted)
    )
    return ranked[0] if is_only else None


def _boxes_and_names(objects: Any, stated: Sequence[str], path: Path) -> dict[str, Any]:
    """Return a row's boxes, the names of their classes, and flags of those to ignore, None without a field of flags.

    A number without a name stays one where names are stated. Where none are, ``has_numbers`` tells whether a number became
    a name.
    """
    items = objects or []
    if isinstance(items, dict):  # a list for each field, as `datasets` stored sequences up to version 3
        items = [dict(zip(items, values, strict=False)) for values in zip_longest(*items.values())]
    fields = list(items[0]) if items else []
    box, label, ignored = _find(fields, _BOXES), _find(fields, _CLASSES), [one for one in fields if one in _IGNORED]
    if items and box is None:
        raise DatasetError(
            f"{path}: the objects have no field of boxes ({' or '.join(_BOXES)}), but {', '.join(fields)}"
        )
    labels = [_class(item[label]) if label else "object" for item in items]
    has_numbers = not stated and any(isinstance(value, int) for value in labels)
    if stated:
        labels = [stated[v] if isinstance(v, int) and 0 <= v < len(stated) else v for v in labels]
    else:
        labels = [v if v is None else str(v) for v in labels]
    flags = [
        next(filter(None, (item[one] for one in ignored)), item[ignored[0]]) if ignored else None for item in items
    ]
    return {"boxes": [item[box] for item in items], "names": labels, "ignored": flags, "has_numbers": has_numbers}


def _class(value: Any) -> int | str | None:
    """Return a row's class; None for a value that is none, which the COCO reader names."""
    if isinstance(value, float) and value.is_integer():
        return int(value)  # pandas writes whole numbers so where one is missing
    return value if isinstance(value, int | str) and not isinstance(value, bool) and value != "" else None


def _is_xyxy(rows: _Rows, folder: Path) -> bool:
    """Return whether the boxes are x1, y1, x2, y2.

    Raises:
        DatasetError: They are fractions of the image, of which nothing says whether they are corners or centres.
    """
    num_boxes = num_outside = num_other = 0
    largest = 0.0
    for row in rows:
        boxes = [box for box in row["boxes"] if _is_box(box)]
        largest = max([largest, *(abs(value) for box in boxes for value in box)])
        try:
            height, width = check_image(folder / row["place"]).size_hw
        except ValueError:  # the COCO reader names broken images
            continue
        for left, top, third, fourth in boxes:
            num_boxes += 1
            num_outside += left + third > width + _TOLERANCE_PX or top + fourth > height + _TOLERANCE_PX
            num_other += (
                third <= left or fourth <= top or third > width + _TOLERANCE_PX or fourth > height + _TOLERANCE_PX
            )
    if 0 < largest <= 1:
        raise DatasetError(
            "the boxes in the Parquet files are fractions of the image, and nothing says in which form",
            hint="write them as x, y, width, height in pixels, as COCO does",
        )
    return num_outside > max(num_other, _MOST_OUTSIDE * num_boxes)


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)


def _to_coco(rows: _Rows, names: Sequence[str], *, is_xyxy: bool) -> dict[str, _Rows]:
    labels = {name: label for label, name in enumerate(names)}
    annotations: _Rows = []
    for image, row in enumerate(rows):
        for box, name, flag in zip(row["boxes"], row["names"], row["ignored"], strict=True):
            if is_xyxy and _is_box(box):
                box = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            category = labels.get(name, name)
            found = {"id": len(annotations), "image_id": image, "category_id": category, "bbox": box, "iscrowd": flag}
            annotations.append(found)
    images = [{"id": image, "file_name": row["place"]} for image, row in enumerate(rows)]
    categories = [{"id": label, "name": name} for name, label in labels.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
