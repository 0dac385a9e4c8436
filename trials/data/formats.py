"""Opens a dataset in whichever format its files have; a new format is added here."""

from pathlib import Path

from trials.data.broken_items import OnBroken
from trials.data.coco import find_coco_files, read_coco
from trials.data.dataset import Dataset, DatasetError
from trials.data.known_datasets import KNOWN, open_known
from trials.data.shapes import is_shapes_spec, make_shapes, parse_shapes
from trials.data.voc import find_voc_folders, read_voc
from trials.data.yolo import find_yolo_file, read_yolo

_LOOKED_FOR = (
    "Pascal VOC (Annotations/*.xml), COCO (annotations/*.json or SPLIT/_annotations.coco.json) and YOLO (data.yaml)"
)


def open_dataset(spec: str, *, on_broken: OnBroken = "stop") -> Dataset:
    """Open the dataset given by a path, a name or a ``shapes`` description.

    Annotations are read and image headers checked; pixels are read only when a sample is loaded.

    Args:
        spec: A Pascal VOC folder, a COCO folder or JSON file, a YOLO folder or its ``data.yaml``;
            ``shapes[:key=value,...]`` for generated images (see `trials.data.shapes`); or ``voc`` or ``coco`` for the
            original datasets, downloaded if needed (see `trials.data.known_datasets`). Use ``./voc`` for a folder of
            such a name.
        on_broken: ``stop`` raises at the first broken item; ``skip`` skips it and lists it in ``left_out``. Broken boxes
            of the original datasets are always skipped.

    Raises:
        DatasetError: The path is missing or of an unknown format, a split is empty, or an item is broken.
    """
    if is_shapes_spec(spec):
        return make_shapes(parse_shapes(spec))
    if spec in KNOWN:
        return open_known(spec, on_broken=on_broken)
    path = Path(spec).expanduser()
    if not path.exists():
        raise DatasetError(
            f"dataset {spec!r} does not exist", hint="use a folder, voc, coco, or 'shapes' for a generated dataset"
        )
    if folders := find_voc_folders(path):
        return read_voc(path, folders, on_broken=on_broken)
    if file := find_yolo_file(path):
        return read_yolo(file, on_broken=on_broken)
    if files := find_coco_files(path):
        return read_coco(path, files, on_broken=on_broken)
    raise DatasetError(
        f"{spec!r} is not a dataset of a known format: {_contents(path)}", hint=f"looked for {_LOOKED_FOR}"
    )


def _contents(path: Path) -> str:
    if path.is_file():
        return "it is a single file"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    return f"it holds {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it is empty"
