"""Which image a COCO file's ``file_name`` means, wherever the images lie."""

import os.path
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from spaces.counted import counted
from trials.data.dataset import DatasetError
from trials.data.formats.broken_items import relative_name
from trials.data.formats.file_tree import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    SPLIT_WORDS,
    FileTree,
    count_common_tail,
    file_name,
    is_possible_name,
)

_PROBED_IMAGES = 20  # a few images from all over the file tell which folders have any; all are asked where none exists
_SHOWN_FOLDERS = 8


class CocoImages:
    """The images of a dataset; tells which one a ``file_name`` means."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._used: set[Path] = set()
        self._folder = tree.root
        self._split: str | None = None
        self._num_of_name: Counter[str] = Counter()
        self._doubles: list[tuple[Path, Path, str]] = []  # the folder in use, another one, and a name in both

    def enter(self, file: Path, *, split: str | None, images: Sequence[Mapping[str, Any]]) -> None:
        """Find the folder to which an annotation file's image names are relative.

        Args:
            file: The annotation file.
            split: Its split, of which the images are; None if they may lie in any split's folder.
            images: What it holds about them.

        Raises:
            DatasetError: None of its images is below the dataset's folder, or nothing tells which of several folders with
                images of these names is meant.
        """
        names = [name for image in images if is_possible_name(name := str(image.get("file_name", "")))]
        self._split = split
        self._num_of_name = Counter(file_name(name).lower() for name in names)
        root = self._tree.root
        spoken = file.stem.removeprefix("instances_")
        words = dict.fromkeys([spoken, *(word for word, meaning in SPLIT_WORDS.items() if split in (None, meaning))])
        folders = [file.parent, root, root / "images", root / "JPEGImages"]
        for word in words:
            folders += [root / word, root / "images" / word, root / word / "images"]
        probes = names[:: len(names) // _PROBED_IMAGES + 1]
        holders = self._holders(probes, folders) or self._holders(names, folders)
        folder = self._choose(holders, names, folders, file) if names else root
        if folder is None:
            looked = ", ".join(list(dict.fromkeys(relative_name(folder, root) for folder in folders))[:_SHOWN_FOLDERS])
            raise DatasetError(
                f"{file}: none of its images found, the first is {names[0]!r}",
                hint=f"looked below {root}, first in {looked}",
            )
        self._folder = folder

    def _holders(self, names: Sequence[str], usual: Sequence[Path]) -> list[Path]:
        """Return the usual folders that hold an image, and, if none holds all, those of images elsewhere."""
        held = {folder: _held(names, folder) for folder in dict.fromkeys(usual) if folder.is_dir()}
        holders = [folder for folder, images in held.items() if images]
        if not any(len(images) == len(set(names)) for images in held.values()):
            holders += [_folder_of(path, name) for name in names for path in self._alike(name)]
        return list(dict.fromkeys(holders))

    def _choose(self, holders: Sequence[Path], names: Sequence[str], usual: Sequence[Path], file: Path) -> Path | None:
        """Return the folder that holds most of the images; of several, that of their split, a usual one or the nearest.

        Raises:
            DatasetError: None of this tells it from another one.
        """
        if len(holders) < 2:
            return next(iter(holders), None)
        held = {folder: _held(names, folder) for folder in holders}

        def rank(folder: Path) -> tuple[int, bool, bool, int, bool]:
            is_usual = folder in usual
            is_of_split = self._split is not None and self._split_of(folder) == self._split
            num_shared = 0 if is_usual else len(Path(os.path.commonpath((folder, file))).parts)
            return len(held[folder]), is_of_split, is_usual, num_shared, folder.name.lower() in IMAGE_FOLDERS

        chosen = max(holders, key=rank)
        for other in holders:
            both = [name for name, path in held[chosen].items() if held[other].get(name, path) != path]
            is_as_likely = rank(other) == rank(chosen) and (
                chosen not in usual or self._split_of(other) != self._split_of(chosen)
            )
            if both and is_as_likely:
                one, two = (relative_name(folder, self._tree.root) for folder in (chosen, other))
                raise DatasetError(
                    f"{file}: its images may be those in {one} or in {two}: both hold {both[0]!r}",
                    hint="move one of the folders away, or write it in front of the images' names",
                )
            self._doubles += [(chosen, other, name) for name in both]
        return chosen

    def _split_of(self, folder: Path) -> str | None:
        return self._tree.split_of(folder / "image")

    def find(self, name: str) -> Path:
        """Return the image's path: in the file's folder, else the only one below the root that the name can mean."""
        path = self._folder / name
        if not os.path.isfile(path):
            alike = self._alike(name)
            path = alike[0] if len(alike) == 1 else path
        self._used.add(path)
        return path

    def notes(self) -> list[str]:
        """Return sentences on images that were chosen among several, and on those that no annotation file lists."""
        doubles = [(used / name, other / name) for used, other, name in self._doubles if other / name not in self._used]
        notes = []
        if doubles:
            first, other = (relative_name(path, self._tree.root) for path in doubles[0])
            notes.append(
                f"{counted(len(doubles), 'image(s) exists|exist')} in several folders: {first} is used, not {other}"
            )
        if unused := [path for path in self._tree.images if path not in self._used]:
            first = relative_name(unused[0], self._tree.root)
            notes.append(f"{counted(len(unused), 'image(s) of no usable entry is|are')} left out, first {first}")
        return notes

    def _alike(self, name: str) -> list[Path]:
        """Return the images whose paths end most like a name; only the whole name counts where several end alike."""
        wanted = PurePosixPath(name.replace("\\", "/")).parts
        last = file_name(name)
        ranked: dict[int, list[Path]] = {}
        for path in self._tree.images_of_stem(Path(last).stem):
            is_in_split = self._split is None or self._tree.split_of(path) in (None, self._split)
            is_image = len(wanted) > 1 or path.parent.name.lower() not in MASK_FOLDERS
            if path.name.lower() == last.lower() and is_in_split and is_image:
                ranked.setdefault(count_common_tail(path.parts, wanted), []).append(path)
        most = max(ranked, default=0)
        return ranked.get(most, []) if most == len(wanted) or (most and self._num_of_name[last.lower()] == 1) else []


def _held(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the names of which a folder holds the image, with its path."""
    paths = {name: os.path.normpath(os.path.join(folder, name)) for name in names if name}
    return {name: path for name, path in paths.items() if os.path.isfile(path)}


def _folder_of(path: Path, name: str) -> Path:
    """Return the folder to which an image's name, of which the last parts are those of its path, is relative."""
    shared = count_common_tail(path.parts, PurePosixPath(name.replace("\\", "/")).parts)
    return path.parents[shared - 1]
