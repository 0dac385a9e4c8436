"""Which image a Pascal VOC annotation is about.

It lies beside the XML file (LabelImg, Roboflow) or in another folder (``JPEGImages`` or any name), has the XML's stem or the
name that the XML states, and may lie in a subfolder as the XML does.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from spaces.counted import counted
from trials.data.formats.broken_items import relative_name
from trials.data.formats.file_tree import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    FileTree,
    file_name,
    is_image,
    is_possible_name,
    prefer_jpeg,
)


class VocImages:
    """The images of a dataset; tells which one an annotation is about.

    Args:
        tree: The dataset's files.
        annotations: The annotation files among them.
        is_stated_first: Whether an image of the name that an annotation states goes before one of the annotation's own,
            and folders in that name are relative to the annotation's.
    """

    def __init__(self, tree: FileTree, annotations: Sequence[Path], *, is_stated_first: bool = False) -> None:
        self._tree = tree
        self._annotations = frozenset(annotations)
        self._num_of_stem = Counter((tree.split_of(path), _stem(path)) for path in annotations)
        self._taken: dict[Path, Path] = {}
        self._is_stated_first = is_stated_first
        self._stems_elsewhere: set[str] = set()  # of annotations whose image has another name
        self._expected_folders: dict[Path, Path] = {}  # of each folder of annotations, that of their images

    def find(self, annotation: Path, stated_name: str) -> Path:
        """Return the path of an annotation's image, or the one where it would be expected.

        Args:
            annotation: The XML file.
            stated_name: The image's name in it; empty where it has none. Folders in it count if the annotation's own format
                means them: `is_stated_first`.

        Raises:
            ValueError: The image belongs to another annotation, or nothing tells which of several images is meant.
        """
        likeliest = self._likeliest(annotation, stated_name)
        if not likeliest:
            return self._expected(annotation, stated_name)
        if len(likeliest) > 1:
            one, two = (relative_name(path, self._tree.root) for path in likeliest[:2])
            raise ValueError(f"its image may be {one} or {two}")
        image = likeliest[0]
        if image.stem.lower() != _stem(annotation):
            self._stems_elsewhere.add(_stem(annotation))
        other = self._taken.setdefault(image, annotation)
        if other != annotation:
            raise ValueError(f"its image {image.name} belongs to {relative_name(other, self._tree.root)} too")
        return image

    def split_of(self, annotation: Path, stated_name: Callable[[], str]) -> str | None:
        """Return the split that the folders of an annotation name, else those of its image; None where none does.

        Args:
            annotation: The annotation file.
            stated_name: Returns the image's name in it, as in `find`; called where it is needed.
        """
        split = self._tree.split_of(annotation)
        if split or not self._are_images_split:
            return split
        likeliest = self._likeliest(annotation, stated_name())
        return self._tree.split_of(likeliest[0]) if len(likeliest) == 1 else None

    @cached_property
    def _are_images_split(self) -> bool:
        return any(self._tree.split_of(path) for path in self._tree.images)

    def _likeliest(self, annotation: Path, stated_name: str) -> Sequence[Path]:
        """Return the images that can be an annotation's, of these the ones of the highest rank."""
        name = file_name(stated_name) if is_possible_name(stated_name) else ""
        folder = self._stated_folder(annotation, stated_name)
        found: list[Path] = []
        own, stated = (annotation.stem, _stem(annotation)), (_stem(Path(f"{name}.xml")),) if name else ()
        for stem in dict.fromkeys((*stated, *own) if self._is_stated_first else (*own, *stated)):
            found = found or [
                path
                for path in self._tree.images_of_stem(stem)
                if (path.parent == folder if folder else self._may_be_of(path, annotation))
            ]
        if len(found) < 2:
            return found
        ranked = sorted((self._rank(path, annotation, name), path) for path in found)
        return prefer_jpeg([path for rank, path in ranked if rank == ranked[0][0]])

    def _stated_folder(self, annotation: Path, stated_name: str) -> Path | None:
        """Return the folder of images that a stated path leads to from the annotation's; None where it leads to none."""
        place = stated_name.replace("\\", "/")
        if not self._is_stated_first or "/" not in place or not is_possible_name(place):
            return None
        folder = Path(os.path.normpath(annotation.parent / place)).parent
        return folder if folder in self._image_folders else None

    @cached_property
    def _image_folders(self) -> frozenset[Path]:
        return frozenset(path.parent for path in self._tree.images)

    def notes(self) -> list[str]:
        """Return a sentence on the images without an annotation, if there are any."""
        stems = {stem for _, stem in self._num_of_stem} - self._stems_elsewhere
        others = (path for path in self._tree.images if path not in self._taken and path.stem.lower() not in stems)
        unused = [path for path in others if path.parent.name.lower() not in MASK_FOLDERS]
        first = relative_name(unused[0], self._tree.root) if unused else ""
        return (
            [f"{counted(len(unused), 'image(s) without an annotation is|are')} left out, first {first}"]
            if unused
            else []
        )

    def _may_be_of(self, image: Path, annotation: Path) -> bool:
        """Return whether an image of the right name can be an annotation's, and is not plainly another one's."""
        if image.parent.name.lower() in MASK_FOLDERS:
            return False
        if image.parent == annotation.parent:
            return True
        if image.with_suffix(annotation.suffix) in self._annotations:
            return False
        split = self._tree.split_of(annotation)
        if len({self._tree.split_of(image), split} - {None}) > 1:
            return False
        is_alone = self._num_of_stem[split, _stem(annotation)] == 1
        is_near = image.parent.name.lower() == annotation.parent.name.lower()
        return is_alone or is_near or _is_parallel(image.parent.parts, annotation.parent.parts)

    def _rank(self, image: Path, annotation: Path, stated_name: str) -> tuple[int, ...]:
        """Return what speaks against an image, weightiest first."""
        num_shared = len(_words(image.parent.name) & _words(annotation.parent.name))  # KITTI: image_2, image_3; label_2
        return (
            image.parent != annotation.parent,
            not _is_parallel(image.parent.parts, annotation.parent.parts),
            image.name != stated_name,
            -num_shared,
            image.parent.name.lower() not in IMAGE_FOLDERS,
            image.stem != annotation.stem,
        )

    def _expected(self, annotation: Path, stated_name: str) -> Path:
        stated = file_name(stated_name) if is_possible_name(stated_name) else ""
        name = stated if is_image(Path(stated)) else f"{annotation.stem}.jpg"
        if folder := self._stated_folder(annotation, stated_name):
            return folder / name
        here = annotation.parent
        if here not in self._expected_folders:
            self._expected_folders[here] = self._expected_folder(here)
        return self._expected_folders[here] / name

    def _expected_folder(self, here: Path) -> Path:
        """Return the folder where the images of a folder's annotations would be expected."""
        folders = {folder for folder in self._image_folders if folder.name.lower() not in MASK_FOLDERS}
        if not folders or here in folders:
            return here
        # as JPEGImages/x is to Annotations/x, so is the nearest folder of images to this one
        num_shared, nearest = max(
            (len(Path(os.path.commonpath((here, other))).parts), other) for other in sorted(folders)
        )
        parts = (*here.parts[:num_shared], *nearest.parts[num_shared : num_shared + 1], *here.parts[num_shared + 1 :])
        return Path(*parts)


def _stem(annotation: Path) -> str:
    """Return the name, in lower case, that an annotation's image has without its suffix: of a.xml and of a.jpg.xml a."""
    stem = annotation.stem
    if "." in stem and is_image(Path(stem)):
        stem = Path(stem).stem
    return stem.lower()


def _words(folder: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[0-9]+", folder.lower()))


def _is_parallel(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether two folders differ in one part of their paths, as ``JPEGImages/a`` and ``Annotations/a`` do."""
    return len(first) == len(second) and sum(one != other for one, other in zip(first, second, strict=True)) <= 1
