"""The internal form of an annotated dataset, the same for every format.

Legend: N boxes, H W image height and width in pixels.

Boxes are float32 xyxy in absolute pixels of the original image, a continuous range: a box over the whole image
is ``(0, 0, W, H)``. Labels are int64 from 0.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from spaces import YoloRetError
from spaces.counted import counted
from spaces.errors import printable

DatasetFormat = Literal[
    "voc",
    "coco",
    "yolo",
    "shapes",
    "labelme",
    "labelme-xml",
    "cvat",
    "supervisely",
    "label-studio",
    "createml",
    "datumaro",
    "open-images",
    "wider-face",
    "kitti",
    "parquet",
]

SPLITS: tuple[str, ...] = ("train", "val", "test")
"""The names of splits, in display order."""

VALIDATION_SHARE = 0.15
"""Share of the training images used for validation where a dataset has no validation split."""

_ROBOFLOW_NAME = re.compile(r"(?P<source>.+)\.rf\.\w{16,}\.\w+")  # NAME_jpg.rf.HASH.jpg, for each version of NAME.jpg


class DatasetError(YoloRetError, ValueError):
    """A dataset, or one of its items, is missing, broken or of an unknown format."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One annotated image."""

    name: str
    """Path relative to the dataset, with forward slashes; ``shapes/train/17`` for a generated image."""
    size_hw: tuple[int, int]
    """Height and width of what ``load`` returns, pixels."""
    boxes: npt.NDArray[np.float32]
    """(N, 4) xyxy, pixels of the original image, within it; N may be 0."""
    labels: npt.NDArray[np.int64]
    """(N,) index into the dataset's ``class_names``."""
    ignored: npt.NDArray[np.bool_]
    """(N,) VOC's difficult and COCO's crowd: not trained on, and neither rewarded nor punished in scoring."""
    load: Callable[[], npt.NDArray[np.uint8]]
    """Returns the (H, W, 3) RGB image; raises `DatasetError` with file and reason. Picklable."""
    num_bytes: int = 0
    """Size of the image file, part of the fingerprint; 0 for a generated image."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return itself: the copy of a module that averages its weights would copy the whole dataset that it scores."""
        return self

    @property
    def has_object(self) -> bool:
        """Whether it has a box that is not ignored."""
        return bool((~self.ignored).any())


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Annotated images in named splits with the same classes; equal datasets have equal fingerprints."""

    name: str
    """Name of the folder, or the canonical ``shapes:...``."""
    format: DatasetFormat
    """The format it was read from."""
    class_names: tuple[str, ...]
    """The classes; labels index into it."""
    splits: Mapping[str, tuple[Sample, ...]]
    """``train`` and ``val``, and ``test`` where there is one, none empty; without ``train``, those that it has."""
    left_out: tuple[str, ...] = ()
    """``file: reason`` for each skipped item; opened with ``on_broken="stop"``, only a test split's and originals' boxes."""
    notes: tuple[str, ...] = ()
    """What the reader assumed or changed, one sentence each."""
    fingerprint: str
    """Stable hash of classes, names, sizes and annotations; identifies the dataset."""


def fingerprint_dataset(class_names: Sequence[str], splits: Mapping[str, Sequence[Sample]]) -> str:
    """Return 16 hexadecimal digits that change with classes, names, sizes or annotations.

    Images count by name, pixel size and file size; reading every pixel would make opening slow.
    """
    digest = hashlib.sha256("\0".join(class_names).encode())
    for split in sorted(splits):
        digest.update(f"\n{split}\n".encode())
        for sample in splits[split]:
            digest.update(f"{sample.name}\0".encode() + sample_content(sample))
    return digest.hexdigest()[:16]


def sample_content(sample: Sample) -> bytes:
    """Return what a fingerprint holds of an image beside its name: sizes and annotations."""
    sizes = f"{sample.size_hw}{sample.num_bytes}:{len(sample.labels)}\n".encode()
    return sizes + sample.boxes.tobytes() + sample.labels.tobytes() + sample.ignored.tobytes()


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return all samples, or `most` that are spread evenly over their order: neighbours often look alike."""
    places = np.linspace(0, len(samples) - 1, min(len(samples), most)).round().astype(np.int64)
    return [samples[place] for place in places.tolist()]


def split_off_validation(
    samples: Sequence[Sample], *, count: int | None = None
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Split training images into training and validation, always in the same way.

    The split depends on a hash of each image's name, so added images hardly change it. Roboflow's versions of one picture
    stay together, and the last images of a class stay in training. Both parts have objects where two pictures do.

    Args:
        samples: At least two images.
        count: Validation images; None for the `VALIDATION_SHARE`, at least one.

    Returns:
        The training and the validation images, both in the given order.

    Raises:
        DatasetError: There are fewer than two images.
    """
    if len(samples) < 2:
        raise DatasetError(
            f"the training split has {counted(len(samples), 'image(s)')}, too few to split off a validation set",
            hint="add images, or a validation split",
        )
    pictures: dict[str, list[Sample]] = {}
    for sample in samples:
        pictures.setdefault(roboflow_source(sample.name) or sample.name, []).append(sample)
    if len(pictures) == 1:
        pictures = {sample.name: [sample] for sample in samples}
    count = max(1, round(VALIDATION_SHARE * len(samples))) if count is None else count
    left = _count_labels(samples)
    chosen: set[str] = set()
    for picture in sorted(pictures, key=lambda name: hashlib.sha256(name.encode()).digest()):
        taken = _count_labels(pictures[picture])
        if len(chosen) < count and all(left[label] > number for label, number in taken.items()):
            chosen |= {sample.name for sample in pictures[picture]}
            left -= taken
    if not chosen:  # each image is the last one of a class
        chosen = {min(samples, key=lambda sample: hashlib.sha256(sample.name.encode()).digest()).name}
    if not any(sample.has_object for sample in samples if sample.name in chosen):
        chosen |= _spare_objects(pictures)
    train = tuple(sample for sample in samples if sample.name not in chosen)
    return train, tuple(sample for sample in samples if sample.name in chosen)


def _spare_objects(pictures: Mapping[str, Sequence[Sample]]) -> set[str]:
    """Return the samples of a picture with an object, where others have some too; a split without any cannot be scored."""
    order = sorted(pictures, key=lambda name: hashlib.sha256(name.encode()).digest())
    shown = [name for name in order if any(sample.has_object for sample in pictures[name])]
    if len(shown) < 2:
        return set()
    taken = {name: _count_labels(pictures[name]) for name in shown}
    whole = sum(taken.values(), Counter[int]())
    chosen = min(shown, key=lambda name: any(whole[label] == number for label, number in taken[name].items()))
    return {sample.name for sample in pictures[chosen]}  # the first that is not the last of a class, if there is one


def _count_labels(samples: Sequence[Sample]) -> Counter[int]:
    """Return how many of the images show each class."""
    return Counter(label for sample in samples for label in set(sample.labels.tolist()))


def roboflow_source(name: str) -> str:
    """Return what Roboflow called the picture of which it made a version; empty for other names."""
    match = _ROBOFLOW_NAME.fullmatch(name.rpartition("/")[2])
    return match["source"] if match else ""


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8: half a pair of surrogates, or bytes of another encoding, cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def assemble_dataset(
    name: str,
    format: DatasetFormat,
    *,
    class_names: Sequence[str],
    splits: Mapping[str, Sequence[Sample]],
    left_out: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Return the dataset of these splits, with a validation split taken from training where it has none.

    A test split without objects is left out with a note: no training needs it, and nothing can be scored on it.

    Args:
        name: Names the dataset in messages.
        format: What it was read from.
        class_names: The classes, in the order of the labels.
        splits: Any of ``train``, ``val`` and ``test``.
        left_out: Skipped items.
        notes: What the reader assumed or changed.

    Raises:
        DatasetError: There are no classes or one's name is not valid text, there is no split, or one is empty.
    """
    if not class_names:
        raise DatasetError(f"{name}: no annotated object, so no classes", hint="; ".join(notes))
    for class_name in class_names:
        if not is_text(class_name):
            raise DatasetError(f"{name}: the class name {class_name!r} is not valid text", hint="save it as UTF-8")
        if printable(class_name) != class_name:
            raise DatasetError(f"{name}: the class name {class_name!r} holds control characters", hint="rename it")
    notes = list(notes)
    if not any(sample.has_object for sample in splits.get("test", ())):
        num_images = len(splits.get("test", ()))
        notes += (
            [f"the test split is left out: {counted(num_images, 'image(s)')}, no objects"] if "test" in splits else []
        )
        splits = {split: samples for split, samples in splits.items() if split != "test"}
    if not splits:
        raise DatasetError(f"{name}: no split has images with objects", hint="; ".join(notes))
    empty = [split for split, samples in splits.items() if not samples]
    if empty:
        raise DatasetError(
            f"{name}: the {empty[0]} split is empty"
            + (f" ({len(left_out)} broken items left out)" if left_out else ""),
            hint="" if not left_out else f"the first: {left_out[0]}",
        )
    complete = {split: tuple(samples) for split, samples in splits.items()}
    if "train" in complete and "val" not in complete:
        complete["train"], complete["val"] = split_off_validation(complete["train"])
        notes.append(
            f"no validation split: {len(complete['val'])} of {len(splits['train'])} training images set apart for it"
        )
    notes += _shared_images(complete)
    ordered = {split: complete[split] for split in SPLITS if split in complete}
    return Dataset(
        name=name,
        format=format,
        class_names=tuple(class_names),
        splits=ordered,
        left_out=tuple(map(printable, left_out)),
        notes=tuple(map(printable, notes)),
        fingerprint=fingerprint_dataset(class_names, ordered),
    )


def _shared_images(splits: Mapping[str, Sequence[Sample]]) -> list[str]:
    notes = []
    for earlier, later in combinations([split for split in SPLITS if split in splits], 2):
        names = {sample.name for sample in splits[earlier]}
        if count := sum(sample.name in names for sample in splits[later]):
            notes.append(f"{counted(count, 'image(s) is|are')} in both {earlier} and {later}")
    return notes
