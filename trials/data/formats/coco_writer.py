"""Writes any dataset as a COCO dataset: ``annotations/instances_SPLIT.json``, and the images in a folder for each split.

Images are copied: a hard link would let a tool that changes the new dataset in place change the user's own files, and a
symbolic link breaks when they move. An image that other tools could decode otherwise is written anew as a PNG of the pixels
that networks see here: upright by its EXIF orientation, 8-bit RGB.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from PIL import Image

from trials.data.dataset import Dataset, DatasetError, Sample
from trials.data.formats.file_tree import is_image
from trials.data.images.image_file import ImageFile
from trials.whole_file import whole_folder

ReportConversion = Callable[[int, int], None]
"""Receives how many images are written, and how many are to be written."""

_LONGEST_STEM = 200  # bytes; file systems take 255 with number and suffix
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|]')  # what some file system refuses

_SUFFIXES = {"BMP": ".bmp", "JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # of the formats that are copied

_Json: TypeAlias = dict[str, Any]


class Converted(NamedTuple):
    """A COCO dataset that was written."""

    folder: Path
    """Where it is."""
    num_images: int
    """Images in it."""
    rewritten: tuple[str, ...]
    """Names of the samples whose files other tools could decode otherwise: written anew as PNG."""


def write_coco(
    dataset: Dataset,
    folder: Path,
    *,
    source: Path | None = None,
    report: ReportConversion = lambda done, whole: None,
) -> Converted:
    """Write a dataset as COCO, whole or not at all.

    Ignored objects become ``iscrowd`` ones, which COCO's evaluation neither rewards nor punishes. Each image's entry holds
    its former name as ``source``.

    Args:
        dataset: Any.
        folder: The new dataset's; missing or empty.
        source: The folder or the file that `dataset` was read from, if any.
        report: Called in this thread before the first image and after each one.

    Raises:
        DatasetError: As `check_free` and `check_apart`; or an image cannot be read.
        OSError: Something cannot be written; of a full disk, it names the folder.
    """
    check_free(folder, source)
    check_apart(folder, dataset)
    whole = sum(len(samples) for samples in dataset.splits.values())
    rewritten: list[str] = []
    done = 0
    report(done, whole)
    with _naming_full_disk(folder), whole_folder(folder) as partial:
        (partial / "annotations").mkdir()
        for split, samples in dataset.splits.items():
            (partial / split).mkdir()
            names = _Names()
            files: list[str] = []
            for sample in samples:
                plain = _plain_file(sample)
                files.append(names.give(sample.name, suffix=_suffix_of(plain) if plain else ".png"))
                if plain:
                    shutil.copyfile(plain, partial / split / files[-1])
                else:
                    Image.fromarray(sample.load()).save(partial / split / files[-1])
                    rewritten += [sample.name] if isinstance(sample.load, ImageFile) else []
                done += 1
                report(done, whole)
            document = _document(dataset, samples, files)
            (partial / "annotations" / f"instances_{split}.json").write_text(json.dumps(document), encoding="ascii")
    return Converted(folder, whole, tuple(rewritten))


def check_free(folder: Path, source: Path | None) -> None:
    """Refuse a folder that a dataset cannot be written to.

    Args:
        folder: See `write_coco`.
        source: See `write_coco`.

    Raises:
        DatasetError: It is a file, not empty, the working directory, a mount point, in the folder of `source`, or in a place
            where nothing can be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "holds files already" if folder.is_dir() else "is a file"
        raise DatasetError(f"{folder} {what}", hint="name a folder that does not exist yet")
    if folder.resolve() == Path.cwd():
        raise DatasetError(f"{folder} is the working directory", hint="name a folder in it")
    if os.path.ismount(folder):
        raise DatasetError(f"{folder} is a mount point, which no folder can replace", hint="name a folder in it")
    if source is not None and source.exists():
        _refuse_inside(folder, source.parent if source.is_file() else source)
    _check_writable(folder)


def check_apart(folder: Path, dataset: Dataset) -> None:
    """Refuse a folder inside those that a dataset's images are read from, which a YAML file or a list elsewhere may name.

    Args:
        folder: See `write_coco`.
        dataset: See `write_coco`.

    Raises:
        DatasetError: It is in one of them.
    """
    samples = [sample for samples in dataset.splits.values() for sample in samples]
    images = ((sample.load.path, sample.name) for sample in samples if isinstance(sample.load, ImageFile))
    for inside in {_folder_of(path, name) for path, name in images}:
        _refuse_inside(folder, inside)


def _refuse_inside(folder: Path, other: Path) -> None:
    if folder.resolve().is_relative_to(other.resolve()):
        raise DatasetError(
            f"{folder} is inside of {other.resolve()}, which would then hold each image twice",
            hint="name a folder beside it",
        )


def _folder_of(path: Path, name: str) -> Path:
    """Return the folder to which an image's name is relative, else the image's own."""
    parts = PurePosixPath(name).parts
    return path.parents[len(parts) - 1] if path.parts[-len(parts) :] == parts != path.parts else path.parent


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made; permissions alone do not tell, so a folder is made beside it and removed."""
    place = next(parent for parent in folder.resolve().parents if parent.exists())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".yoloret-nas-", dir=place))
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be written: {error.strerror}: {place}", hint="name a folder where you can write"
        ) from error


@contextmanager
def _naming_full_disk(folder: Path) -> Iterator[None]:
    """Let the error of a full disk name the folder: copying names the image that was read, and Pillow nothing."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise


def _plain_file(sample: Sample) -> Path | None:
    """Return the file that a sample's pixels can be copied with; None where they have to be written anew."""
    if not isinstance(sample.load, ImageFile):
        return None
    try:
        return sample.load.path if sample.load.reads_alike_everywhere() else None
    except ValueError:
        return None  # loading it raises an error that names file and reason


def _suffix_of(path: Path) -> str:
    """Return an image's suffix, or that of its content where its name has none: Parquet files may state no names."""
    if is_image(path):
        return path.suffix
    with Image.open(path) as image:
        return _SUFFIXES[str(image.format)]


class _Names:
    """Gives the images of a split names that are free and that every file system takes."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()  # the last one behind each name

    def give(self, name: str, *, suffix: str) -> str:
        stem = (
            _UNSAFE.sub("_", PurePosixPath(name).stem).lstrip(".").encode()[:_LONGEST_STEM].decode(errors="ignore")
            or "image"
        )
        given = f"{stem}{suffix}"
        wanted = given.lower()
        while given.lower() in self._taken:  # file systems of Windows and macOS do not tell cases apart
            self._numbers[wanted] += 1
            given = f"{stem}-{self._numbers[wanted] + 1}{suffix}"
        self._taken.add(given.lower())
        return given


def _document(dataset: Dataset, samples: Sequence[Sample], files: Sequence[str]) -> _Json:
    """Return the content of a split's annotation file; ids count from 1, since COCO's evaluation takes 0 for none."""
    annotations: list[_Json] = []
    for image_id, sample in enumerate(samples, 1):
        for box, label, is_ignored in zip(
            sample.boxes.tolist(), sample.labels.tolist(), sample.ignored.tolist(), strict=True
        ):
            left, top, right, bottom = box
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": int(is_ignored),
                }
            )
    return {
        "info": {"description": f"{dataset.name}, converted from {dataset.format} by yoloret-nas"},
        "licenses": [],
        "images": [
            {
                "id": image_id,
                "file_name": file,
                "height": sample.size_hw[0],
                "width": sample.size_hw[1],
                "source": sample.name,
            }
            for image_id, (sample, file) in enumerate(zip(samples, files, strict=True), 1)
        ],
        "annotations": annotations,
        # as COCO's "person", each class is a group of its own: a common group could have the name of a class
        "categories": [
            {"id": label + 1, "name": name, "supercategory": name} for label, name in enumerate(dataset.class_names)
        ],
    }
