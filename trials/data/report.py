"""Statistics of a dataset, and a picture of its samples.

Legend: N boxes of a split, including ignored ones unless stated otherwise.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trials.data.dataset import Dataset, DatasetError, Sample
from trials.data.images.drawing import contact_sheet, draw_boxes
from trials.whole_file import whole_file

SMALL_AREA = 32**2
"""Boxes under this area, in pixels of the original image, are small. Source: COCO's evaluation."""
LARGE_AREA = 96**2
"""Boxes of this area and more are large. Source: COCO's evaluation."""

_SLIVER_PX = 2  # a narrower box is most likely an annotation error
_TILE = 320  # longer side of one image on the contact sheet, pixels
_GAP = 8
_CAPTION = 18
_FONT_PX = 11


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """Statistics of one split."""

    num_images: int
    """Images of the split."""
    num_empty_images: int
    """Images without objects, which are legal background examples."""
    num_objects: int
    """Boxes used in training and scoring."""
    num_ignored: int
    """Boxes used in neither (VOC's difficult, COCO's crowd)."""
    num_by_class: dict[str, int]
    """Objects by class, every class listed."""
    num_small: int
    """Objects under 32² pixels."""
    num_medium: int
    """Objects from 32² to under 96² pixels."""
    num_large: int
    """Objects of 96² pixels and more."""
    smallest_side_px: float | None
    """Shortest side of any object, original pixels; None without objects."""
    median_share: float | None
    """Median of the square root of an object's share of its image, 0 to 1; None without objects."""
    smallest_image_hw: tuple[int, int]
    """The image of fewest pixels."""
    largest_image_hw: tuple[int, int]
    """The image of most pixels."""


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """Statistics of a dataset."""

    name: str
    """The dataset's name."""
    format: str
    """The format it was read from."""
    fingerprint: str
    """Identifies the dataset."""
    class_names: tuple[str, ...]
    """The classes in the order of their labels."""
    splits: dict[str, SplitReport]
    """By split."""
    left_out: tuple[str, ...]
    """``file: reason`` for each skipped item."""
    notes: tuple[str, ...]
    """What the reader assumed, and what to check."""

    def to_json(self) -> dict[str, Any]:
        """Return dicts, lists and numbers only."""
        return asdict(self)


def describe_dataset(dataset: Dataset) -> DatasetReport:
    """Compute the statistics of a dataset without reading pixels."""
    splits = {split: _describe_split(samples, dataset.class_names) for split, samples in dataset.splits.items()}
    absent = [name for name in dataset.class_names if not splits["train"].num_by_class[name]]
    notes = list(dataset.notes)
    if absent:
        notes.append(f"no training image shows {', '.join(absent)}")
    for split, samples in dataset.splits.items():
        slivers = [s.name for s in samples if ((s.boxes[:, 2:] - s.boxes[:, :2]) < _SLIVER_PX).any()]
        if slivers:
            notes.append(f"{split}: {len(slivers)} image(s) have boxes under 2 px wide or high, first {slivers[0]}")
        repeated = [s.name for s in samples if _has_repeated_object(s)]
        if repeated:
            notes.append(
                f"{split}: {len(repeated)} image(s) have an object of the same class and box twice, first {repeated[0]}"
            )
    return DatasetReport(
        name=dataset.name,
        format=dataset.format,
        fingerprint=dataset.fingerprint,
        class_names=dataset.class_names,
        splits=splits,
        left_out=dataset.left_out,
        notes=tuple(notes),
    )


def draw_samples(dataset: Dataset, path: Path, count: int) -> Path:
    """Write a contact sheet: images evenly spread over the training split, with boxes and class names.

    Ignored boxes are drawn in grey.

    Args:
        dataset: Any.
        path: The file to write; its suffix gives the format (``.png``, ``.jpg``).
        count: Most images, at least 1.

    Returns:
        The path.

    Raises:
        DatasetError: An image cannot be read, or the sheet cannot be written.
    """
    samples = dataset.splits["train"]
    places = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))
    chosen = [samples[place] for place in places]
    tiles = [_draw_tile(sample, dataset.class_names) for sample in chosen]
    sheet = contact_sheet(tiles, columns=int(np.ceil(np.sqrt(len(tiles)))), gap_px=_GAP)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            sheet.save(partial)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: the picture cannot be written: {error}", hint="use another --out") from error
    return path


def _describe_split(samples: Sequence[Sample], class_names: Sequence[str]) -> SplitReport:
    ignored = np.concatenate([sample.ignored for sample in samples])
    boxes = np.concatenate([sample.boxes for sample in samples])[~ignored]
    labels = np.concatenate([sample.labels for sample in samples])[~ignored]
    image_areas = np.concatenate([np.full(len(s.labels), s.size_hw[0] * s.size_hw[1]) for s in samples])[~ignored]
    sides = boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    areas = sides.prod(axis=1)
    counts = np.bincount(labels, minlength=len(class_names))
    by_pixels = sorted((sample.size_hw for sample in samples), key=lambda size: size[0] * size[1])
    return SplitReport(
        num_images=len(samples),
        num_empty_images=sum(not len(sample.labels) for sample in samples),
        num_objects=len(labels),
        num_ignored=int(ignored.sum()),
        num_by_class={name: int(n) for name, n in zip(class_names, counts, strict=True)},
        num_small=int((areas < SMALL_AREA).sum()),
        num_medium=int(((areas >= SMALL_AREA) & (areas < LARGE_AREA)).sum()),
        num_large=int((areas >= LARGE_AREA).sum()),
        smallest_side_px=round(float(sides.min()), 2) if len(sides) else None,
        median_share=round(float(np.median(np.sqrt(areas / image_areas))), 4) if len(sides) else None,
        smallest_image_hw=by_pixels[0],
        largest_image_hw=by_pixels[-1],
    )


def _has_repeated_object(sample: Sample) -> bool:
    objects = [(label, *box) for label, box in zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)]
    return len(set(objects)) < len(objects)


def _fit_tile(sample: Sample) -> tuple[int, int]:
    height, width = sample.size_hw
    scale = _TILE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _draw_tile(sample: Sample, class_names: Sequence[str]) -> Image.Image:
    width, height = _fit_tile(sample)
    scale = width / sample.size_hw[1]
    tile = Image.new("RGB", (_TILE, height + _CAPTION), "white")
    tile.paste(Image.fromarray(sample.load()).resize((width, height)), (0, 0))
    texts = [class_names[label] for label in sample.labels]
    labels = np.where(sample.ignored, -1, sample.labels).tolist()
    boxes = (sample.boxes * scale).tolist()
    draw_boxes(tile, boxes, labels, texts=texts, num_classes=len(class_names), font_px=_FONT_PX, line_px=2)
    font = ImageFont.load_default(_FONT_PX)
    ImageDraw.Draw(tile).text((2, height + 2), sample.name[-50:], fill="black", font=font)
    return tile
