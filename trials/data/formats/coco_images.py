"""Which image a COCO file's ``file_name`` means, wherever the images lie."""

import os.path
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trials.data.dataset import DatasetError
from trials.data.formats.broken_items import relative_name
from trials.data.formats.file_tree import (
    SPLIT_WORDS,
    FileTree,
    count_common_tail,
    file_name,
    is_possible_name,
    nearest_first,
)

_PROBED_IMAGES = 20  # one of the first few images usually tells the folder; all are asked where none of them exists
_SHOWN_FOLDERS = 8


class CocoImages:
    """The images of a dataset; tells which one a ``file_name`` means."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._used: set[Path] = set()
        self._folder = tree.root
        self._split: str | None = None
        self._num_of_name: Counter[str] = Counter()

    def enter(self, file: Path, *, split: str | None, images: Sequence[Mapping[str, Any]]) -> None:
        """Find the folder to which an annotation file's image names are relative.

        Args:
            file: The annotation file.
            split: Its split, of which the images are; None if they may lie in any split's folder.
            images: What it holds about them.

        Raises:
            DatasetError: None of its images is below the dataset's folder.
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
        asked = (self._folder_with(probes, folders, file) for probes in (names[:_PROBED_IMAGES], names))
        folder = next((found for found in asked if found), None if names else root)
        if folder is None:
            looked = ", ".join(list(dict.fromkeys(relative_name(folder, root) for folder in folders))[:_SHOWN_FOLDERS])
            raise DatasetError(
                f"{file}: none of its images found, the first is {names[0]!r}",
                hint=f"looked below {root}, first in {looked}",
            )
        self._folder = folder

    def _folder_with(self, names: Sequence[str], folders: Sequence[Path], file: Path) -> Path | None:
        """Return the first folder with one of the images, else that of an image elsewhere that a name can mean."""
        there = [folder for folder in folders if folder.is_dir()]
        found = (folder for folder in there if any(name and os.path.isfile(folder / name) for name in names))
        elsewhere = (_folder_of(path, name) for name in names for path in nearest_first(self._alike(name), file))
        return next(found, None) or next(elsewhere, None)

    def find(self, name: str) -> Path:
        """Return the image's path: in the file's folder, else the only one below the root that the name can mean."""
        path = self._folder / name
        if not os.path.isfile(path):
            alike = self._alike(name)
            path = alike[0] if len(alike) == 1 else path
        self._used.add(path)
        return path

    def notes(self) -> list[str]:
        """Return a sentence on the images that no annotation file lists, if there are any."""
        unused = [path for path in self._tree.images if path not in self._used]
        first = relative_name(unused[0], self._tree.root) if unused else ""
        return [f"{len(unused)} image(s) are of no usable entry and are left out, first {first}"] if unused else []

    def _alike(self, name: str) -> list[Path]:
        """Return the images whose paths end most like a name; only the whole name counts where several end alike."""
        wanted = PurePosixPath(name.replace("\\", "/")).parts
        last = file_name(name)
        ranked: dict[int, list[Path]] = {}
        for path in self._tree.images_of_stem(Path(last).stem):
            is_in_split = self._split is None or self._tree.split_of(path) in (None, self._split)
            if path.name.lower() == last.lower() and is_in_split:
                ranked.setdefault(count_common_tail(path.parts, wanted), []).append(path)
        most = max(ranked, default=0)
        return ranked.get(most, []) if most == len(wanted) or (most and self._num_of_name[last.lower()] == 1) else []


def _folder_of(path: Path, name: str) -> Path:
    """Return the folder to which an image's name, of which the last parts are those of its path, is relative."""
    shared = count_common_tail(path.parts, PurePosixPath(name.replace("\\", "/")).parts)
    return path.parents[shared - 1]
