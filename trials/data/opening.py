"""Opens a dataset in whichever format its files have; a new format is added here."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from trials.data.dataset import Dataset, DatasetError, DatasetFormat
from trials.data.formats.broken_items import OnBroken
from trials.data.formats.coco import is_coco, read_coco
from trials.data.formats.file_tree import FileTree
from trials.data.formats.foreign.read_foreign import FOREIGN, is_foreign, read_foreign
from trials.data.formats.parquet import is_parquet, read_parquet
from trials.data.formats.unread_formats import count_suffixes, suggest_conversion
from trials.data.formats.voc import is_voc, read_voc
from trials.data.formats.yolo import is_yolo, read_yolo
from trials.data.known_datasets import KNOWN, open_known
from trials.data.shapes import is_shapes_spec, make_shapes, parse_shapes


class _Read(Protocol):
    def __call__(self, tree: FileTree, *, on_broken: OnBroken, scored: str | None) -> Dataset: ...


@dataclass(frozen=True)
class _Format:
    looks_like: str
    recognise: Callable[[FileTree], bool]
    read: _Read


_FORMATS: dict[DatasetFormat, _Format] = {
    "voc": _Format("Pascal VOC (XML files whose root is 'annotation')", is_voc, read_voc),
    "yolo": _Format("YOLO (data.yaml, or label files and classes.txt)", is_yolo, read_yolo),
    "coco": _Format("COCO (a JSON file with 'images' and 'annotations')", is_coco, read_coco),
    **{
        name: _Format(spec.title, partial(is_foreign, name), partial(read_foreign, name))
        for name, spec in FOREIGN.items()
    },
    "parquet": _Format("Parquet of Hugging Face", is_parquet, read_parquet),
}
"""How each format is recognised and read; where a folder holds several, the first one is read."""


def open_dataset(spec: str, *, on_broken: OnBroken = "stop", scored: str | None = None) -> Dataset:
    """Open the dataset given by a path, a name or a ``shapes`` description.

    The format is recognised by the files and what is in them, not by their folders' names. Annotations are read and image
    headers checked; pixels are read only when a sample is loaded.

    Args:
        spec: A folder in one of the formats, or its annotation file or ``data.yaml``;
            ``shapes[:key=value,...]`` for generated images (see `trials.data.shapes`); or ``voc`` or ``coco`` for the
            original datasets, downloaded if needed (see `trials.data.known_datasets`). Use ``./voc`` for a folder of
            such a name.
        on_broken: ``stop`` raises at the first broken item of the training, validation and scored splits; ``skip`` skips it
            and lists it in ``left_out``. Broken items of a test split that is not scored, and broken boxes of the original
            datasets, are always skipped.
        scored: The split on which networks are only scored; None for a dataset that they are trained on, which must have
            training images, so that its only annotation file is for training whatever split its name is of.

    Raises:
        DatasetError: The path is missing, may not be read or is of an unknown format, a split is empty or the training split
            missing, or an item is broken.
    """
    if is_shapes_spec(spec):
        return make_shapes(parse_shapes(spec))
    if spec in KNOWN:
        return open_known(spec, on_broken=on_broken, scored=scored)
    try:
        return _open_path(spec, on_broken=on_broken, scored=scored)
    except OSError as error:  # of a folder or file that this user may not read, for example
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        hint = "check that this user may read all of it, and that its disk works"
        raise DatasetError(f"dataset {spec!r} cannot be read: {what}", hint=hint) from error


def whole_spec(spec: str) -> str:
    """Return what names a dataset in any working folder: its whole path, or the word that it is given by.

    >>> whole_spec("shapes:train=4"), whole_spec("/data/cells")
    ('shapes:train=4', '/data/cells')
    """
    return spec if is_shapes_spec(spec) or spec in KNOWN else os.path.abspath(Path(spec).expanduser())


def _open_path(spec: str, *, on_broken: OnBroken, scored: str | None) -> Dataset:
    path = Path(spec).expanduser()
    if not path.exists():
        raise DatasetError(
            f"dataset {spec!r} does not exist",
            hint="use a folder, an annotation file, voc, coco, or 'shapes' for a generated dataset",
        )
    tree = FileTree.at(path)
    found = [name for name, format in _FORMATS.items() if format.recognise(tree)]
    if not found:
        looked_for = ", ".join(format.looks_like for format in _FORMATS.values())
        raise DatasetError(
            f"{spec!r} is not a dataset of a known format: {_contents(tree)}",
            hint=suggest_conversion(tree) or f"looked for {looked_for}",
        )
    others = [f"annotations in the format {name} are there too: not read, {found[0]} is" for name in found[1:]]
    try:
        dataset = _FORMATS[found[0]].read(tree, on_broken=on_broken, scored=scored)
    except DatasetError as error:
        if not others:
            raise
        raise DatasetError(error.message, hint="; ".join(filter(None, (error.hint, *others)))) from error
    if scored is None and "train" not in dataset.splits:
        raise DatasetError(
            f"{dataset.name}: no training split; found {', '.join(dataset.splits)}",
            hint="add training images; without them a trained network can be scored on it, with yoloret-nas eval",
        )
    return replace(dataset, notes=(*dataset.notes, *others))


def _contents(tree: FileTree) -> str:
    if tree.given is not None:
        return "it is a single file"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in tree.root.iterdir())
    if not names:
        return "it is empty"
    shown = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    return f"it holds {shown} (files by suffix: {count_suffixes(tree) or 'none'})"
