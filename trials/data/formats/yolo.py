"""Reads YOLO datasets: images, one label file for each, and a ``data.yaml`` or a ``classes.txt`` with the classes.

A label line is ``class cx cy w h`` in shares of the image, ``class x y x y ...`` for a polygon or an oriented box, of which
the bounding box is used, or, where the YAML has ``kpt_shape``, a box with key points behind it, which are not used. An
image without a label file has no objects, as in the format's own tools.

Source: docs.ultralytics.com, "Datasets Overview", pages "Object Detection", "Instance Segmentation", "Pose Estimation" and
"Oriented Bounding Box".
"""

import heapq
import os.path
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from spaces.counted import counted
from spaces.documents import compose_yaml, construct_yaml
from trials.data.dataset import Dataset, DatasetError, Sample, assemble_dataset
from trials.data.formats.broken_items import BrokenItems, OnBroken, relative_name
from trials.data.formats.file_tree import (
    SPLIT_WORDS,
    FileTree,
    find_below,
    is_image,
    note_unreadable,
    num_bytes,
    read_list,
    read_text,
    split_of_folder,
    walk_files,
)
from trials.data.formats.yolo_labels import LabelReader, label_path

_MAX_DEPTH = 2  # folders between the root and the YAML file
_USUAL_YAML_STEMS = ("data", "dataset")
_CLASS_FILES = frozenset({"classes.txt", "obj.names", "classes.names", "_darknet.labels"})
_PROBED_FILES = 20
_MOST_PARTS = 64  # of a path, of which shorter and shorter ends are tried
_MOST_UNNAMED = 100_000  # classes that a number alone makes up
_LABEL_LINE = re.compile(r"\d+(\s+[-+\d.eE]+){4,}")


def is_yolo(tree: FileTree) -> bool:
    """Return whether there is a YOLO dataset's YAML, or a list of classes and label files."""
    return bool(_find_yamls(tree)) or bool(_class_files(tree) and _has_labels(tree))


def read_yolo(tree: FileTree, *, on_broken: OnBroken = "stop", scored: str | None = None) -> Dataset:
    """Read the YOLO dataset that a YAML file describes, or that a list of classes and label files make up.

    Without splits in a YAML file, lists of images or folders named after splits give them.

    Args:
        tree: The files, of which `is_yolo` is true. The YAML's ``path`` is relative to its folder, which is used instead
            where ``path`` does not exist.
        on_broken: See `open_dataset`.
        scored: Likewise.

    Raises:
        DatasetError: The file is not valid, a split's images or all its labels are missing, or an item is broken and
            ``on_broken`` is ``stop``.
    """
    yamls = _find_yamls(tree)
    file = yamls[0] if yamls else None
    notes: list[str] = []
    document = _read_yaml(file) if file else {}
    class_names = _class_names(document, file, notes) if file else _listed_classes(tree)
    notes += _note_other_yamls(yamls, tree, class_names)
    base = file.parent if file else tree.root
    stated = base / str(document.get("path") or ".")
    root = stated if os.path.isdir(stated) else base  # it is often a path of the machine where the file was written
    broken = BrokenItems(root, on_broken, scored)
    labels = LabelReader(len(class_names), _num_keypoint_values(document, file))
    splits: dict[str, list[Sample]] = {}
    images: list[Path] = []
    for split, places in (_stated_places(document) or _places_by_name(FileTree(root), notes)).items():
        with broken.of_split(split):
            found = [path for place in places for path in _find_images(place, root, file or base, notes=notes)]
            images += found
            splits[split] = _read_split(split, found, labels=labels, broken=broken, notes=notes)
    notes += _note_unused_images(images, root) + _note_unused_labels(images, root) + labels.notes() + broken.notes()
    return assemble_dataset(
        base.resolve().name,
        "yolo",
        class_names=class_names,
        splits=splits,
        left_out=broken.left_out,
        notes=notes,
    )


def _find_yamls(tree: FileTree) -> list[Path]:
    """Return the YAML files that describe datasets, the one to read first; empty for none."""
    files = [path for path in tree.annotations(".yaml", ".yml") if tree.depth(path) <= _MAX_DEPTH]
    if tree.given in files:
        return [tree.given]
    files.sort(key=lambda path: (*_rank(path, tree), path))
    described = [path for path in files if _describes_dataset(path)]
    return described or [path for path in files if _rank(path, tree) == (0, False)][:1]


def _rank(path: Path, tree: FileTree) -> tuple[int, bool]:
    return tree.depth(path), path.stem.lower() not in _USUAL_YAML_STEMS


def _note_other_yamls(yamls: Sequence[Path], tree: FileTree, class_names: Sequence[str]) -> list[str]:
    """Return a sentence on the YAML files behind the first, which are not read, if there are any.

    Raises:
        DatasetError: One names other classes, and nothing but the alphabet puts the first before it.
    """
    for other in yamls[1:]:
        if _rank(other, tree) == _rank(yamls[0], tree) and _named_in(other) not in (None, list(class_names)):
            shown = " and ".join(relative_name(path, tree.root) for path in (yamls[0], other))
            raise DatasetError(f"{shown} name different classes", hint="give one of them instead of the folder")
    if len(yamls) < 2:
        return []
    first = relative_name(yamls[1], tree.root)
    return [f"{counted(len(yamls) - 1, 'other YAML file(s) of a dataset is|are')} not read, first {first}"]


def _named_in(file: Path) -> list[str] | None:
    try:
        return _class_names(_read_yaml(file), file, [])
    except DatasetError:  # nobody needs a broken file that is not read
        return None


def _describes_dataset(path: Path) -> bool:
    text = read_text(path, errors="replace")
    keys = set(re.findall(r"^['\"]?(names|nc|train)['\"]?\s*:", text, re.M))
    return "train" in keys and len(keys) > 1


def _class_files(tree: FileTree) -> list[Path]:
    return [path for path in tree.annotations(".txt", ".names", ".labels") if path.name.lower() in _CLASS_FILES]


def _has_labels(tree: FileTree) -> bool:
    texts = [path for path in tree.annotations(".txt") if tree.images_of_stem(path.stem)]
    longest = heapq.nlargest(_PROBED_FILES, texts, key=num_bytes)  # those of images without objects are empty
    lines = (line for path in longest for line in read_list(path)[:1])
    return any(_LABEL_LINE.fullmatch(line) for line in lines)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        node = compose_yaml(read_text(file))
        document, written = construct_yaml(node), construct_yaml(node, as_text=True)
    except ValueError as error:
        raise DatasetError(f"{file}: the YAML is broken: {error}") from error
    if not isinstance(document, dict) or not {"train", "names", "nc"} & document.keys():
        raise DatasetError(f"{file}: a YOLO dataset's YAML holds 'train', 'val' and 'names'; this file does not")
    if document.get("names") is not None:
        document["names"] = written.get("names", document["names"])  # a class may be called no, or 007
    return document


def _class_names(document: Mapping[str, Any], file: Path, notes: list[str]) -> list[str]:
    names, count = document.get("names"), _num_classes(document.get("nc"), file)
    if names is None and count is not None and 0 < count <= _MOST_UNNAMED:
        notes.append(f"{file.name} names no classes: they are called class_0 to class_{count - 1}")
        return [f"class_{label}" for label in range(count)]
    if isinstance(names, dict):
        by_label = {int(key) if re.fullmatch("[0-9]{1,9}", str(key)) else key: name for key, name in names.items()}
        if set(by_label) != set(range(len(names))):
            shown = sorted(by_label, key=str)
            raise DatasetError(f"{file}: the keys of 'names' are {shown}, not 0 to {len(names) - 1}")
        names = [by_label[label] for label in range(len(names))]
    if not isinstance(names, list):
        raise DatasetError(f"{file}: 'names' is neither a list nor a mapping from 0: {names!r}")
    if count is not None and count != len(names):
        raise DatasetError(f"{file}: 'nc' is {count}, but 'names' holds {len(names)} names")
    distinct: list[str] = []
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"{file}: the class {label} in 'names' is {name!r}, not a name")
        distinct.append(f"{name} ({label})" if name in distinct else name)
        if distinct[-1] != name:
            notes.append(f"the class {label} has the name of another one and is called {distinct[-1]!r}")
    return distinct


def _num_classes(stated: Any, file: Path) -> int | None:
    if stated is None:
        return None
    if isinstance(stated, bool) or not re.fullmatch("[0-9]{1,9}", str(stated)):
        raise DatasetError(f"{file}: 'nc' is {stated!r}, not a number of classes")
    return int(stated)


def _listed_classes(tree: FileTree) -> list[str]:
    """Return the classes that the list of classes holds.

    Raises:
        DatasetError: There are several lists, and they differ; or a line between others is blank.
    """
    files = sorted(_class_files(tree), key=tree.depth)
    names = _read_classes(files[0])
    for other in files[1:]:
        if _read_classes(other) != names:
            shown = " and ".join(relative_name(path, tree.root) for path in (files[0], other))
            raise DatasetError(f"{shown} list different classes", hint="write one data.yaml with 'train' and 'names'")
    return names


def _read_classes(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path, errors="surrogateescape").rstrip().splitlines()]
    if "" in lines:
        raise DatasetError(
            f"{path}: line {lines.index('') + 1} is blank, so that the classes after it may count from another number",
            hint="remove the line, or write the class's name there",
        )
    return lines


def _num_keypoint_values(document: Mapping[str, Any], file: Path | None) -> int:
    shape = document.get("kpt_shape")
    if shape is None:
        return 0
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) for n in shape)):
        raise DatasetError(f"{file}: 'kpt_shape' is {shape!r}, not [number of points, 2 or 3]")
    return int(shape[0]) * int(shape[1])


def _stated_places(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the folders and lists of images that the YAML names for each split; empty where it names none."""
    stated: dict[str, list[str]] = {}
    for word, split in SPLIT_WORDS.items():
        if entry := document.get(word):
            stated.setdefault(split, [str(place) for place in (entry if isinstance(entry, list) else [entry])])
    return stated


def _places_by_name(tree: FileTree, notes: list[str]) -> dict[str, list[str]]:
    """Return the lists named after splits that hold images, else the images by the split that their folder names."""
    places: dict[str, list[str]] = {}
    for path in tree.annotations(".txt"):
        split = SPLIT_WORDS.get(path.stem.lower())
        if split and any(is_image(Path(line)) for line in read_list(path)[:1]):
            places.setdefault(split, []).append(path.relative_to(tree.root).as_posix())
    if places:
        return places
    labelled = {path.parent for path in tree.images if os.path.isfile(label_path(path))}
    for path in tree.images:
        split = tree.split_of(path) or ("" if path.parent in labelled else None)
        if split is not None:  # pictures in other folders are of something else: a note counts them as unused
            places.setdefault(split, []).append(path.relative_to(tree.root).as_posix())
    unnamed = places.pop("", [])
    if unnamed and places:
        notes.append(
            f"{counted(len(unnamed), 'image(s) in no folder of a split is|are')} for training, first {unnamed[0]}"
        )
    if unnamed:
        places.setdefault("train", []).extend(unnamed)
    return places


def _find_images(place: str, root: Path, stated_in: Path, *, notes: list[str]) -> list[Path]:
    # Roboflow writes ../train/images for train/images
    candidates = [root / place, stated_in.parent / place, root / place.removeprefix("../")]
    found = next((path for path in candidates if os.path.exists(path)), None)
    if found is None and (found := _find_alike(place, root)):
        notes.append(f"{stated_in.name} says {place!r}, which does not exist: {relative_name(found, root)} is used")
    if found is None:
        raise DatasetError(f"{stated_in}: {place!r} does not exist", hint=f"looked for {candidates[0]}")
    if found.is_dir():
        files = walk_files(found)
        notes += note_unreadable(files)
        return [path for path in files if is_image(path)]
    if is_image(found):
        return [found]
    if found.suffix.lower() != ".txt":
        raise DatasetError(f"{stated_in}: {place!r} is neither a folder nor a .txt list of images")
    return [_listed_image(line, found.parent, root) for line in read_list(found)]


def _find_alike(place: str, root: Path) -> Path | None:
    """Return the folder or list that a place of another machine, or of another case, means: its longest end below root."""
    parts = [part for part in PurePosixPath(place.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    ends = [parts[first:] for first in range(max(0, len(parts) - _MOST_PARTS), len(parts))]
    # a last part alone, such as images, could be of any split
    told = (end for end in ends if len(end) > 1 or len(parts) == 1 or split_of_folder(Path(end[0]).stem))
    return next((found for end in told if (found := find_below(root, "/".join(end)))), None)


def _listed_image(line: str, folder: Path, root: Path) -> Path:
    usual = folder / line if line.startswith("./") else root / line
    if os.path.isfile(usual):
        return usual
    # Windows separators, CVAT's data/ in front, a path of another machine
    parts = Path(line.replace("\\", "/")).parts
    others = (
        base / Path(*parts[first:])
        for first in range(max(0, len(parts) - _MOST_PARTS), len(parts))
        for base in (root, folder)
    )
    return next((path for path in others if os.path.isfile(path)), usual)


def _read_split(
    split: str, images: Sequence[Path], *, labels: LabelReader, broken: BrokenItems, notes: list[str]
) -> list[Sample]:
    distinct = {image: label_path(image) for image in images}
    if len(distinct) < len(images):
        notes.append(f"{counted(len(images) - len(distinct), 'image(s) is|are')} listed twice in {split}")
    if shared := len(distinct) - len(set(distinct.values())):
        notes.append(
            f"{counted(shared, f'image(s) of {split} has|have')} the label file of another image, whose name "
            "differs by its suffix"
        )
    unlabelled = sum(not os.path.isfile(path) for path in distinct.values())
    if distinct and unlabelled == len(distinct):
        first = next(iter(distinct.values()))
        raise DatasetError(f"no image of the {split} split has a label file", hint=f"looked first for {first}")
    if unlabelled:
        notes.append(
            f"{counted(unlabelled, f'image(s) of {split} has|have no label file and counts|count')} as without objects"
        )
    samples = (_to_sample(image, path, labels=labels, broken=broken) for image, path in distinct.items())
    return [sample for sample in samples if sample is not None]


def _to_sample(path: Path, labels_at: Path, *, labels: LabelReader, broken: BrokenItems) -> Sample | None:
    image = broken.check_image(path)
    if image is None:
        return None
    num_before = len(broken.left_out)
    classes, boxes, lines = labels.read(labels_at, broken)
    height, width = image.size_hw
    in_pixels = [(x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in boxes]
    num_broken = len(broken.left_out) - num_before
    return broken.make_sample(image, in_pixels, classes, num_broken=num_broken, path=labels_at, places=lines)


def _note_unused_images(images: Sequence[Path], root: Path) -> list[str]:
    """Return a sentence on the images that are in no split, if there are any.

    They are looked for below the root, unless no split's images are there: then it is a folder of other things.
    """
    used = {os.path.abspath(path) for path in images}  # the YAML's places may lead there in other words
    if not any(Path(path).is_relative_to(os.path.abspath(root)) for path in used):
        return []
    try:
        unused = [path for path in FileTree(root).images if os.path.abspath(path) not in used]
    except DatasetError as error:
        return [f"images in no split are not counted: {error.message}"]
    if not unused:
        return []
    return [f"{counted(len(unused), 'image(s) in no split is|are')} left out, first {relative_name(unused[0], root)}"]


def _note_unused_labels(images: Sequence[Path], root: Path) -> list[str]:
    """Return a sentence on the label files of which no split has the image, if there are any."""
    expected = {label_path(image) for image in images}
    texts = (
        path
        for folder in sorted({path.parent for path in expected if os.path.isfile(path)})
        for path in sorted(folder.glob("*.txt"))
    )
    apart = _CLASS_FILES | {f"{word}.txt" for word in SPLIT_WORDS}
    unused = [path for path in texts if path not in expected and path.name.lower() not in apart]
    unused = [path for path in unused if not path.name.lower().startswith("readme")]
    first = relative_name(unused[0], root) if unused else ""
    return (
        [f"{counted(len(unused), 'label file(s) of no image in a split is|are')} left out, first {first}"]
        if unused
        else []
    )
