"""Which split each annotation file belongs to: by lists of names such as Pascal VOC's ``ImageSets/Main``, or by folders.

A list is a text file named after a split. It divides the annotation files of the nearest folder above it that has any; with
VOC2007 and VOC2012 in one folder, each year's lists divide that year.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from spaces.counted import counted
from trials.data.formats.broken_items import BrokenItems, relative_name
from trials.data.formats.file_tree import SPLIT_WORDS, FileTree, count_common_tail, file_name, is_image, read_list

_TRAINVAL = "trainval"
_LISTS = {**SPLIT_WORDS, _TRAINVAL: _TRAINVAL}  # a list's name without suffix, and its split
_ANNOTATION_SUFFIXES = frozenset({".json", ".txt", ".xml"})
_CLASS_FLAGS = frozenset({"-1", "0", "1"})  # VOC's lists by class have one behind each name


def divide_by_split(
    tree: FileTree,
    annotations: Sequence[Path],
    split_of: Callable[[Path], str | None],
    *,
    broken: BrokenItems,
    notes: list[str],
) -> dict[str, list[Path]]:
    """Return each split's annotation files; all are for training where neither lists nor folders name splits.

    A listed file that does not exist is returned with the path where it would be expected.

    Args:
        tree: The dataset's files.
        annotations: The annotation files among them, sorted.
        split_of: Returns the split of a file that no list divides.
        broken: Receives list entries that mean several files.
        notes: Receives sentences on what was left out or assumed.
    """
    splits: dict[str, list[Path]] = {}
    rest = annotations
    found = _find_lists(tree, annotations, notes)
    for base, lists in sorted(found.items(), key=lambda entry: (-len(entry[0].parts), entry[0])):
        inside = [path for path in rest if path.is_relative_to(base)]
        if not inside:
            continue
        names = _Names(base, inside, tree)
        listed: dict[str, list[Path]] = {}
        for path, split in lists.items():
            with broken.of_split(split):
                listed.setdefault(split, []).extend(_read(path, names, split, broken))
        if not any(path in names.known for paths in listed.values() for path in paths):
            first = relative_name(next(iter(lists)), tree.root)
            notes.append(f"{first} and the lists beside it name no annotation file and are not used")
            continue
        listed = _divide_trainval(listed)
        used = {path for paths in listed.values() for path in paths}
        if unused := [path for path in inside if path not in used]:
            first = relative_name(unused[0], tree.root)
            notes.append(
                f"{counted(len(unused), 'annotation file(s) in no list of a split is|are')} left out, first {first}"
            )
        for split, paths in listed.items():
            distinct = dict.fromkeys(paths)
            if len(distinct) < len(paths):
                notes.append(f"{counted(len(paths) - len(distinct), 'image(s) is|are')} listed twice in {split}")
            splits.setdefault(split, []).extend(distinct)
        rest = [path for path in rest if not path.is_relative_to(base)]
    _divide_by_folder(tree, rest, split_of, splits=splits, notes=notes)
    return splits


def is_split_list(path: Path) -> bool:
    """Return whether a file's name is that of a list of a split's images."""
    return path.suffix.lower() == ".txt" and path.stem.lower() in _LISTS


def _divide_trainval(listed: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Return the lists without trainval: what it has beyond training is for validation, or the other way round."""
    trainval = listed.pop(_TRAINVAL, [])
    for split, other in (("train", "val"), ("val", "train")):
        if split not in listed:
            held = set(listed.get(other, ()))
            rest = [path for path in trainval if path not in held]
            return {split: rest, **listed} if rest else listed
    return listed


def _find_lists(tree: FileTree, annotations: Sequence[Path], notes: list[str]) -> dict[Path, dict[Path, str]]:
    """Return the lists and their splits, by the folder whose annotations they divide."""
    parents = {path.parent for path in annotations}
    holders = parents | {folder for parent in parents for folder in parent.parents}
    by_folder: dict[Path, dict[Path, str]] = {}
    for path in tree.annotations(".txt"):
        if split := _LISTS.get(path.stem.lower()):
            by_folder.setdefault(path.parent, {})[path] = split
    by_base: dict[Path, list[Path]] = {}
    for folder in by_folder:
        base = next((place for place in (folder, *folder.parents) if place in holders), None)
        if base is not None and base.is_relative_to(tree.root):
            by_base.setdefault(base, []).append(folder)
    chosen = {}
    for base, folders in by_base.items():
        # ImageSets/Layout and ImageSets/Segmentation are of other tasks
        first, *others = sorted(folders, key=lambda folder: (folder.name.lower() != "main", len(folder.parts), folder))
        chosen[base] = by_folder[first]
        if others and first.name.lower() != "main":
            shown = ", ".join(relative_name(folder, tree.root) for folder in others)
            notes.append(f"the lists in {relative_name(first, tree.root)} are used, those in {shown} are not")
    return chosen


def _divide_by_folder(
    tree: FileTree,
    annotations: Sequence[Path],
    split_of: Callable[[Path], str | None],
    *,
    splits: dict[str, list[Path]],
    notes: list[str],
) -> None:
    unnamed = []
    for path in annotations:
        split = split_of(path)
        if split:
            splits.setdefault(split, []).append(path)
        else:
            unnamed.append(path)
    if unnamed and splits:
        first = relative_name(unnamed[0], tree.root)
        notes.append(
            f"{counted(len(unnamed), 'annotation file(s) in no folder of a split is|are')} for training, first {first}"
        )
    if unnamed:
        splits.setdefault("train", []).extend(unnamed)


class _Names:
    """The annotation files of a folder by the names that lists call them."""

    def __init__(self, base: Path, annotations: Sequence[Path], tree: FileTree) -> None:
        self.base = base
        self.known = set(annotations)
        self._by_stem: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
        for path in annotations:
            parts = _without_suffixes(path.relative_to(base)).parts
            self._by_stem.setdefault(parts[-1].lower(), []).append((path, parts))
        first = annotations[0].relative_to(base).parts
        self._tree = tree
        self._usual = base / first[0] if len(first) > 1 else base
        self._suffix = annotations[0].suffix
        self._image_folders = _names_of_folders(tree.images, base) - _names_of_folders(annotations, base)

    def find(self, line: str, split: str) -> list[Path]:
        """Return the annotation files that a line of a split's list means: one, none, or several of equal right."""
        wanted = _without_suffixes(Path(line.replace("\\", "/"))).parts
        has_own = self._image_of(line, split) is not None
        matches = []
        for path, parts in self._by_stem.get(wanted[-1].lower(), []) if wanted else []:
            if has_own and self._tree.split_of(path) not in (None, split):
                continue  # KITTI's testing/ has images, but no annotations, of the names that training/ has
            shared = count_common_tail(parts, wanted)
            # a line may hold the image's path: JPEGImages/seq1/a.jpg means Annotations/seq1/a.xml
            if shared in (len(wanted), len(parts)) or wanted[-shared - 1] in self._image_folders:
                matches.append((-shared, len(parts), path))
        return [path for *rank, path in matches if rank == list(min(matches)[:2])]

    def expected(self, line: str, split: str) -> Path:
        """Return where the annotation of a line would be that means none."""
        image = self._image_of(line, split)
        return (
            image.with_suffix(self._suffix) if image else self._usual / f"{_without_suffixes(Path(line))}{self._suffix}"
        )

    def _image_of(self, line: str, split: str) -> Path | None:
        """Return the image of a line's name in a folder that is named after the line's split, if there is one."""
        alike = self._tree.images_of_stem(_without_suffixes(Path(file_name(line))).name)
        own = (path for path in alike if path.is_relative_to(self.base) and self._tree.split_of(path) == split)
        return next(own, None)


def _names_of_folders(files: Sequence[Path], base: Path) -> set[str]:
    folders = {path.parent for path in files}
    return {part for folder in folders if folder.is_relative_to(base) for part in folder.relative_to(base).parts}


def _read(path: Path, names: _Names, split: str, broken: BrokenItems) -> list[Path]:
    found = []
    for line in read_list(path):
        *words, last = line.split()
        candidates = names.find(line, split)
        if not candidates and words and (last in _CLASS_FLAGS or last.lower().endswith(".xml")):
            line = last if last.lower().endswith(".xml") else line.removesuffix(last).rstrip()
            candidates = names.find(line, split)
        if len(candidates) > 1:
            several = " and ".join(relative_name(candidate, names.base) for candidate in candidates[:2])
            broken.add(path, f"{line!r} means both {several}")
        else:
            found.append(candidates[0] if candidates else names.expected(line, split))
    return found


def _without_suffixes(path: Path) -> Path:
    """Return a path without the annotation's and an image's suffix: a.xml, a.jpg and a.jpg.xml are all of the image a."""
    path = path.with_suffix("") if path.suffix.lower() in _ANNOTATION_SUFFIXES else path
    return path.with_suffix("") if is_image(path) else path
