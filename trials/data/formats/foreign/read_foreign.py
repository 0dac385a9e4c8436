"""Makes a dataset of a folder in a foreign format; a new one is added here.

Classes are the names in use, sorted. No library reads these: docs/data.md, "Why no library", has the comparison.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from spaces.counted import counted
from trials.data.dataset import Dataset, DatasetFormat, Sample, assemble_dataset, is_text
from trials.data.formats.broken_items import BrokenItems, OnBroken, relative_name
from trials.data.formats.coco_images import CocoImages
from trials.data.formats.file_tree import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    FileTree,
    file_name,
    is_image,
    is_possible_name,
    note_only_file,
    note_unreadable,
    num_bytes,
    prefer_jpeg,
    read_head,
)
from trials.data.formats.foreign.createml import CREATEML
from trials.data.formats.foreign.cvat import CVAT
from trials.data.formats.foreign.datumaro import DATUMARO
from trials.data.formats.foreign.foreign_format import (
    ANY_CLASS,
    FAULTS,
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    NoClassError,
    OtherFileError,
)
from trials.data.formats.foreign.kitti import KITTI
from trials.data.formats.foreign.label_studio import LABEL_STUDIO
from trials.data.formats.foreign.labelme import LABELME, LABELME_XML
from trials.data.formats.foreign.open_images import OPEN_IMAGES
from trials.data.formats.foreign.supervisely import SUPERVISELY
from trials.data.formats.foreign.wider_face import WIDER_FACE
from trials.data.formats.split_lists import divide_by_split, is_split_list
from trials.data.formats.voc_images import VocImages
from trials.data.images.image_file import CheckedImage

FOREIGN: dict[DatasetFormat, ForeignFormat] = {
    "labelme": LABELME,
    "labelme-xml": LABELME_XML,
    "cvat": CVAT,
    "supervisely": SUPERVISELY,
    "label-studio": LABEL_STUDIO,
    "createml": CREATEML,
    "datumaro": DATUMARO,
    "open-images": OPEN_IMAGES,
    "wider-face": WIDER_FACE,
    "kitti": KITTI,
}
"""The foreign formats that are read from annotation files."""

_PROBED_FILES = 20
_SHOWN_NAME = 40
_Parsed = Mapping[Path, Sequence[ForeignImage] | Exception]


@dataclass
class _Annotated:
    """An image with its boxes, before the classes are known."""

    image: CheckedImage
    path: Path
    """Of the file that messages on a box name."""
    boxes: list[LabelledBox] = field(default_factory=list)
    num_broken: int = 0
    """Objects that could not be read or have no class, and entries whose number of objects is not the stated one."""


def is_foreign(format: DatasetFormat, tree: FileTree) -> bool:
    """Return whether one of the first annotation files of a foreign format's suffix is of that format."""
    spec = FOREIGN[format]
    paths = [path for path in tree.annotations(spec.suffix) if not is_split_list(path)]
    return any(spec.is_it(read_head(path)) for path in _probes(paths))


def _probes(paths: Sequence[Path]) -> Iterator[Path]:
    """Give the longest files of each folder: others may hold no object, or be of another kind, as KITTI's calib/ is."""
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    for inside in by_folder.values():
        yield from sorted(inside, key=num_bytes)[-_PROBED_FILES:]


def read_foreign(
    format: DatasetFormat, tree: FileTree, *, on_broken: OnBroken = "stop", scored: str | None = None
) -> Dataset:
    """Read all annotation files of a foreign format below a folder as one dataset.

    Folders, lists and files named after splits give the splits, as does what a file states for an image; images of no split
    are for training. So are those of the only file, unless networks are only scored on it. Objects of kinds without a
    box are counted in a note.

    Args:
        format: One of `FOREIGN`.
        tree: The files, of which `is_foreign` is true.
        on_broken: See `open_dataset`.
        scored: Likewise.

    Raises:
        DatasetError: A split is empty or missing, or an item is broken and ``on_broken`` is ``stop``.
    """
    if tree.given is not None and not tree.images:
        tree = FileTree(tree.root.parent, tree.given)  # annotations/NAME.xml beside images/
    reader = _Reader(FOREIGN[format], tree, on_broken, scored)
    splits = reader.read()
    names = {box.name for items in splits.values() for item in items for box in item.boxes}
    class_names = sorted(names - {ANY_CLASS})
    index = {name: label for label, name in enumerate(class_names)}
    samples: dict[str, list[Sample]] = {}
    for split, items in splits.items():
        with reader.broken.of_split(split):
            found = (_to_sample(item, index, reader.broken) for item in items)
            samples[split] = [sample for sample in found if sample is not None]
    return assemble_dataset(
        (tree.given or tree.root).resolve().name,
        format,
        class_names=class_names,
        splits=samples,
        left_out=reader.broken.left_out,
        notes=reader.notes(),
    )


class _Reader:
    """Pairs the images that the annotation files of one folder state with image files, and reads their boxes."""

    def __init__(self, spec: ForeignFormat, tree: FileTree, on_broken: OnBroken, scored: str | None) -> None:
        self.broken = BrokenItems(tree.root, on_broken, scored)
        self._is_trained_on = scored is None
        self._spec = spec
        self._tree = tree
        self._notes: list[str] = []
        self._no_boxes: Counter[str] = Counter()
        self._remarks: Counter[str] = Counter()
        self._box_remarks: Counter[str] = Counter()
        self._others: list[Path] = []
        self._splits: dict[str, dict[Path, _Annotated]] = {}
        self._num_joined = 0
        self._images: VocImages | CocoImages

    def read(self) -> dict[str, list[_Annotated]]:
        """Return the annotated images of each split."""
        divide = self._divide_files if self._spec.is_file_per_image else self._divide_images
        divide(self._parse())
        return {split: list(by_path.values()) for split, by_path in self._splits.items()}

    def notes(self) -> list[str]:
        """Return sentences on what was left out, joined or assumed."""
        notes = self._notes
        if self._others:
            first = relative_name(self._others[0], self._tree.root)
            notes.append(
                f"{counted(len(self._others), f'other {self._spec.suffix} file(s) is|are')} no {self._spec.title}: "
                f"not read, first {first}"
            )
        notes += [f"{counted(count, 'image(s)')}: {remark}" for remark, count in self._remarks.items() if count]
        notes += [f"{counted(count, 'object(s)')}: {remark}" for remark, count in self._box_remarks.items()]
        if self._no_boxes:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self._no_boxes.most_common())
            notes.append(f"objects of kinds without a box are left out: {kinds}")
        if self._num_joined:
            notes.append(f"{counted(self._num_joined, 'image(s) is|are annotated twice and was|were')} joined")
        return [*notes, *self._images.notes(), *note_unreadable(self._tree.files), *self.broken.notes()]

    def _parse(self) -> _Parsed:
        parsed: dict[Path, Sequence[ForeignImage] | Exception] = {}
        for path in sorted(self._tree.annotations(self._spec.suffix), key=lambda path: (path.parent, path.stem)):
            if is_split_list(path) and self._spec.is_file_per_image:
                continue
            try:
                parsed[path] = list(self._spec.read_images(path, self._tree))
            except OtherFileError:
                self._others.append(path)
            except FAULTS as error:
                parsed[path] = error
        return parsed

    def _divide_files(self, parsed: _Parsed) -> None:
        """Enter the images of a format with a file for each."""
        self._images = images = VocImages(self._tree, list(parsed), is_stated_first=self._spec.is_stated_first)

        def split_of(path: Path) -> str | None:
            content = parsed[path]
            stated = content[0].name if content and not isinstance(content, Exception) else ""
            return images.split_of(path, lambda: stated)

        divided = divide_by_split(self._tree, list(parsed), split_of, broken=self.broken, notes=self._notes)
        for split, paths in divided.items():
            with self.broken.of_split(split):
                missing = [path for path in paths if path not in parsed]
                if missing and not self.broken.is_needed:
                    first = relative_name(missing[0], self._tree.root)
                    left_out = counted(len(missing), "listed annotation(s) is|are missing and")
                    self._notes.append(f"{split}: {left_out} left out, first {first}")
                    paths = [path for path in paths if path in parsed]
                self._splits.setdefault(split, {})
                for path in paths:
                    for entry in self._entries(path, parsed.get(path, FileNotFoundError("the annotation is missing"))):
                        try:
                            image = images.find(path, entry.name)
                        except ValueError as error:
                            self.broken.add(path, str(error))
                        else:
                            self._enter(entry, image, split=split, file=path)

    def _divide_images(self, parsed: _Parsed) -> None:
        """Enter the images of a format with a file for many."""
        self._images = images = CocoImages(self._tree)
        is_only = self._is_trained_on and sum(bool(content) for content in parsed.values()) == 1
        for path, content in parsed.items():
            split = self._tree.split_of_file(path)
            usual = (not is_only and split) or "train"
            self._splits.setdefault(usual, {})
            found: list[tuple[ForeignImage, Path]] = []
            with self.broken.of_split(usual):
                named = [
                    (entry, name)
                    for entry in self._entries(path, content)
                    if self._is_named(entry, path) and (name := self._with_suffix(entry.name, path, split))
                ]
                images.enter(path, split=split, images=[{"file_name": name} for _, name in named])
                found = [(entry, images.find(name)) for entry, name in named]
            splits = [
                entry.split or (not is_only and split) or self._tree.split_of(image) or "train"
                for entry, image in found
            ]
            if is_only and len(set(splits)) == 1:
                splits = self._as_training(path, split or splits[0], len(splits))
            for (entry, image), own in zip(found, splits, strict=True):
                with self.broken.of_split(own):
                    self._enter(entry, image, split=own, file=path)
        if len(self._splits) > 1 and not self._splits.get("train", True):
            del self._splits["train"]  # a file of no split may hold images of the others alone

    def _as_training(self, file: Path, split: str, num_images: int) -> list[str]:
        """Return each image's split where all are of one, in the only annotation file: without training there is nothing."""
        if split != "train":
            self._notes.append(note_only_file(file, split, self._tree.root))
        return ["train"] * num_images

    def _entries(self, path: Path, parsed: Sequence[ForeignImage] | Exception) -> list[ForeignImage]:
        """Return what is annotated in a file; record what is not, or is broken."""
        if isinstance(parsed, Exception):
            self.broken.add(path, _reason(parsed))
            return []
        entries = []
        for entry in parsed:
            if entry.fault:
                self.broken.add(path, f"{entry.name}: {entry.fault}" if entry.name else entry.fault)
            if entry.objects is None:
                self._remarks["without an annotation, left out"] += not entry.fault
                continue
            if not isinstance(entry.objects, Sequence) or isinstance(entry.objects, str):
                self.broken.add(path, f"{entry.name}: its objects are {str(entry.objects)[:40]!r}, no list")
                continue
            if entry.remark:
                self._remarks[entry.remark] += 1
            entries.append(entry)
        return entries

    def _is_named(self, entry: ForeignImage, path: Path) -> bool:
        if not entry.name:
            self.broken.add(path, "an image has no file name")
        elif not is_possible_name(entry.name):
            self.broken.add(path, f"an image has a name that no file can have: {entry.name[:_SHOWN_NAME]!r}")
        else:
            return True
        return False

    def _with_suffix(self, name: str, file: Path, split: str | None) -> str:
        """Return an image's name with the suffix of a file that is there, where the annotation states none.

        Empty, and recorded as broken, where nothing tells which of several files of other suffixes is meant.
        """
        alike = self._tree.images_of_stem(file_name(name))
        likely = [path for path in alike if path.parent.name.lower() not in MASK_FOLDERS]
        if is_image(Path(name)) or not likely:
            return name

        def rank(path: Path) -> tuple[bool, int, bool]:
            num_shared = len(Path(os.path.commonpath((path, file))).parts)
            return split in (None, self._tree.split_of(path)), num_shared, path.parent.name.lower() in IMAGE_FOLDERS

        highest = max(map(rank, likely))
        likeliest = prefer_jpeg([path for path in likely if rank(path) == highest])
        if len({path.suffix for path in likeliest}) > 1:
            one, two = (relative_name(path, self._tree.root) for path in likeliest[:2])
            self.broken.add(file, f"the image of {name} may be {one} or {two}")
            return ""
        return str(PurePosixPath(f"{name}{likeliest[0].suffix}"))

    def _enter(self, entry: ForeignImage, image: Path, *, split: str, file: Path) -> None:
        by_path = self._splits.setdefault(split, {})
        if image in by_path:
            self._num_joined += 1
        else:
            checked = self.broken.check_image(image, stated_size_hw=entry.size_hw)
            if checked is None:
                return
            by_path[image] = _Annotated(checked, file if self._spec.is_file_per_image else image)
        annotated = by_path[image]
        annotated.num_broken += bool(entry.fault)
        for number, item in enumerate(entry.objects or (), 1):
            try:
                box = self._spec.read_box(item, annotated.image.size_hw)
                if not is_text(box.name):
                    raise ValueError(f"the class name {box.name!r} is not valid text")
                left, top, right, bottom = (float(value) for value in box.xyxy)  # JSON's may be whole, and of any size
            except NoBoxError as kind:
                self._no_boxes[str(kind)] += 1
                annotated.num_broken += isinstance(kind, NoClassError)
            except FAULTS as error:
                of_image = "" if self._spec.is_file_per_image else f" of {entry.name}"
                self.broken.add_box(file, f"object {number}{of_image}: {_reason(error)}")
                annotated.num_broken += 1
            else:
                annotated.boxes.append(box._replace(xyxy=(left, top, right, bottom)))
                if box.remark:
                    self._box_remarks[box.remark] += 1


def _to_sample(item: _Annotated, index: Mapping[str, int], broken: BrokenItems) -> Sample | None:
    boxes = [
        (box, label) for box in item.boxes for label in (index.values() if box.name == ANY_CLASS else [index[box.name]])
    ]
    return broken.make_sample(
        item.image,
        [box.xyxy for box, _ in boxes],
        [label for _, label in boxes],
        ignored=[box.is_ignored for box, _ in boxes],
        num_broken=item.num_broken,
        path=item.path,
    )


def _reason(error: Exception) -> str:
    return f"has no {error}" if isinstance(error, KeyError) else str(error)
