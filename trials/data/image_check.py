"""Decodes every image of a dataset once, before anything is trained on it.

Opening a dataset reads the images' headers, which say nothing about the pixels: damage in them would end each trial of a
search alike. An image that decodes is remembered by path, size and time of change, with its look, so that the next run need
not read it again. A broken one is not: what cannot be read now may be readable tomorrow, without any change of the file.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import PIL

from spaces.counted import counted
from trials.data.data_home import data_home
from trials.data.dataset import Dataset, DatasetError, Sample, fingerprint_dataset
from trials.data.images.image_file import ImageFile
from trials.data.images.look import THUMBNAIL_SIDE, Look, look_at

ReportCheck = Callable[[int, int], None]
"""Receives how many images are decoded, and how many are to be decoded."""

_READER = f"2, Pillow {PIL.__version__}"
"""Identifies what decoded an image; another version of ours or Pillow's may judge otherwise."""

_COLUMNS = ("path", "num_bytes", "changed_ns", "reader", "digest", "thumbnail")
_MOST_THREADS = 8  # each holds a decoded image, and a container may have little memory on a host of many cores
_Result = TypeVar("_Result")


class CheckedDataset(NamedTuple):
    """A dataset whose images decode."""

    dataset: Dataset
    """Without the broken images, which are listed in ``left_out``."""
    broken: tuple[str, ...]
    """Names of the samples that were left out."""
    looks: Mapping[str, Look]
    """What tells copies of an image, by its sample's name; generated images have none."""


def memory_path() -> Path:
    """Return the file that remembers decoded images.

    It is the user's and not a folder of studies': `yoloret-nas data` has no such folder, and its check serves the search.
    """
    return data_home() / "decoded-images.db"


def check_images(
    dataset: Dataset,
    *,
    splits: Collection[str],
    skip_broken: bool,
    report: ReportCheck = lambda done, whole: None,
    memory: Path | None = None,
) -> CheckedDataset:
    """Decode the images of some splits, except generated ones and those that are remembered.

    Args:
        dataset: Any.
        splits: The splits in use; a name that the dataset lacks is ignored.
        skip_broken: Whether broken images are left out rather than refused; those of a test split are always, as readers
            do, unless no other split is in use.
        report: Called in this thread after each image; not at all where there is nothing to decode.
        memory: Remembers decoded images; None for the user's. A file that cannot be used costs time only.

    Raises:
        DatasetError: An image is broken, or the training or the validation split has no other ones.
    """
    used = {sample.name: sample for split in splits for sample in dataset.splits.get(split, ())}
    looks, faults = _look_at_all(
        [sample for sample in used.values() if isinstance(sample.load, ImageFile)], report, memory
    )
    if not faults:
        return CheckedDataset(dataset, (), looks)
    listed = [f"{name}: {reason}" for name, reason in faults.items()]
    needed = set(splits) - {"test"} or {"test"}
    refused = {sample.name for split in needed for sample in dataset.splits.get(split, ())} & set(faults)
    if refused and not skip_broken:
        first = next(name for name in faults if name in refused)
        more = f" (and {counted(len(refused) - 1, 'more broken image(s)')})" if len(refused) > 1 else ""
        raise DatasetError(
            f"{dataset.name}: {first}: {faults[first]}{more}", hint="repair it, or skip broken items with --skip-broken"
        )
    return CheckedDataset(leave_out(dataset, set(faults), listed=listed), tuple(faults), looks)


def leave_out(dataset: Dataset, names: Collection[str], *, listed: Sequence[str] = ()) -> Dataset:
    """Return a dataset without some samples, nor a test split of them alone; its fingerprint is that of the others.

    Args:
        dataset: Any.
        names: Of the samples.
        listed: What ``left_out`` says of them.

    Raises:
        DatasetError: Nothing is left of the training or the validation split, or of the only one.
    """
    splits = {
        split: tuple(sample for sample in samples if sample.name not in names)
        for split, samples in dataset.splits.items()
    }
    if not splits.get("test", True) and len(splits) > 1:
        del splits["test"]
    for split, samples in splits.items():
        if not samples:
            raise DatasetError(
                f"{dataset.name}: the {split} split has {counted(len(dataset.splits[split]), 'image(s)')}, all of "
                "them broken",
                hint=f"the first: {listed[0]}" if listed else "",
            )
    return replace(
        dataset,
        splits=splits,
        left_out=(*dataset.left_out, *listed),
        fingerprint=fingerprint_dataset(dataset.class_names, splits),
    )


def _look_at_all(
    samples: Sequence[Sample], report: ReportCheck, memory: Path | None
) -> tuple[dict[str, Look], dict[str, str]]:
    """Return the look of each image that decodes, and the reason of each that does not, by the samples' names."""
    if not samples:
        return {}, {}
    stamps = {sample.name: _stamp(sample) for sample in samples}
    known = _recall([stamp for stamp in stamps.values() if stamp], memory)
    looks = {name: known[stamp] for name, stamp in stamps.items() if stamp in known}
    unknown = [sample for sample in samples if sample.name not in looks]
    faults: dict[str, str] = {}
    if not unknown:
        return looks, faults
    sound: dict[_Stamp, Look] = {}
    report(0, len(unknown))
    # Pillow's decoders run without the interpreter's lock: threads keep the cores busy, and need no start of their own.
    pool = ThreadPoolExecutor(min(_MOST_THREADS, len(os.sched_getaffinity(0))))
    try:
        for done, (sample, found) in enumerate(zip(unknown, pool.map(_decode, unknown), strict=True), start=1):
            stamp = stamps[sample.name]
            if isinstance(found, str):
                faults[sample.name] = found
            else:
                looks[sample.name] = found
                if stamp is not None:
                    sound[stamp] = found
            report(done, len(unknown))
    finally:  # after an interrupt, the next check resumes here
        pool.shutdown(cancel_futures=True)
        _remember(sound, memory)
    return looks, faults


def _decode(sample: Sample) -> Look | str:
    """Return the look of an image, or why it cannot be used."""
    assert isinstance(sample.load, ImageFile)
    try:
        pixels = sample.load.decode()
        height, width = pixels.shape[:2]
        if (height, width) == sample.size_hw:
            return look_at(sample.load.path, pixels)
    except (ValueError, OSError) as error:
        return str(error)
    return f"its header says {sample.size_hw[1]}×{sample.size_hw[0]} pixels, its content is {width}×{height}"


class _Stamp(NamedTuple):
    """What tells a file from what it was at another time."""

    path: bytes
    num_bytes: int
    changed_ns: int


def _stamp(sample: Sample) -> _Stamp | None:
    assert isinstance(sample.load, ImageFile)
    try:
        found = sample.load.path.stat()
    except OSError:
        return None
    return _Stamp(os.fsencode(os.path.abspath(sample.load.path)), found.st_size, found.st_mtime_ns)


def _recall(stamps: Iterable[_Stamp], memory: Path | None) -> dict[_Stamp | None, Look]:
    """Return the looks of those stamps that are remembered."""
    query = "SELECT digest, thumbnail FROM looks WHERE path = ? AND num_bytes = ? AND changed_ns = ? AND reader = ?"
    asked = list(stamps)

    def recall(connection: sqlite3.Connection) -> dict[_Stamp | None, Look]:
        rows = ((stamp, connection.execute(query, (*stamp, _READER)).fetchone()) for stamp in asked)
        return {stamp: Look(*row) for stamp, row in rows if row and _is_look(*row)}

    try:
        return _use(memory, recall)
    except (sqlite3.Error, OSError):
        return {}


def _is_look(digest: object, thumbnail: object) -> bool:
    return isinstance(digest, bytes) and isinstance(thumbnail, bytes) and len(thumbnail) == THUMBNAIL_SIDE**2


def _remember(looks: Mapping[_Stamp, Look], memory: Path | None) -> None:
    rows = [(*stamp, _READER, *look) for stamp, look in looks.items()]
    try:
        _use(memory, lambda connection: connection.executemany("REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?)", rows))
    except (sqlite3.Error, OSError):
        return


def _use(memory: Path | None, action: Callable[[sqlite3.Connection], _Result]) -> _Result:
    """Return what an action makes of the memory; one that is damaged holds nothing that cannot be found again."""
    path = memory or memory_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _use_table(path, action)
    except sqlite3.OperationalError:  # it cannot be written, for example
        raise
    except sqlite3.DatabaseError:
        path.unlink()
        return _use_table(path, action)


def _use_table(path: Path, action: Callable[[sqlite3.Connection], _Result]) -> _Result:
    with closing(sqlite3.connect(path, timeout=5)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS looks (path BLOB PRIMARY KEY, num_bytes INTEGER, changed_ns INTEGER, reader TEXT, "
            "digest BLOB, thumbnail BLOB)"
        )
        if tuple(row[1] for row in connection.execute("PRAGMA table_info(looks)")) != _COLUMNS:
            raise sqlite3.DatabaseError("its table has other columns")
        return action(connection)
