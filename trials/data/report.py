"""Statistics of a dataset, and a picture of its samples.

Legend: N boxes of a split, including ignored ones unless stated otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spaces.aspect import parse_aspect
from spaces.counted import counted
from trials.data.common_aspect import RARE, common_aspect, count_half_empty
from trials.data.copies import Copy, describe_copies, find_copies
from trials.data.dataset import Dataset, DatasetError, Sample
from trials.data.images.drawing import contact_sheet, draw_boxes
from trials.data.images.look import Look
from trials.whole_file import whole_file

SMALL_AREA = 32**2
"""Boxes under this area, in pixels of the original image, are small. Source: COCO's evaluation."""
LARGE_AREA = 96**2
"""Boxes of this area and more are large. Source: COCO's evaluation."""

RARE_OBJECTS = 10
"""Classes of at most as many training objects are rare. Source: Gupta et al., LVIS (2019), which counts images."""
FINEST_STRIDE = 8
"""Pixels of a network's input for each cell of its finest output: of objects in one cell, one is found."""
SIZES_BY_SPACE = {"tiny": (64, 96, 128, 160), "nano": (160, 192, 224, 256, 288, 320, 352, 384, 416)}
"""Input sizes that a search tries by default, without and with a GPU or board; named spaces are not imported, for speed."""
MOST_DETECTIONS = 100
"""Most objects of an image that can be found: `DetectionSettings.max_detections`, by which networks are scored."""

_WORTH_A_NOTE = 0.05  # share of objects above which something should be done about them
_SHOWN_CLASSES = 8
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
    num_half_empty: int
    """Images that leave over half of an input of the dataset's aspect to the margins."""


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
    aspect: str
    """Width to height of the input that suits the training images (`trials.data.common_aspect`)."""
    splits: dict[str, SplitReport]
    """By split."""
    left_out: tuple[str, ...]
    """``file: reason`` for each skipped item."""
    rare_classes: dict[str, int]
    """Classes of at most `RARE_OBJECTS` training objects, none included, and how many these are."""
    classes_without_validation: tuple[str, ...]
    """Classes without an object in the validation split."""
    tiny_objects: dict[int, float]
    """Share of the training and validation objects that cover less than a cell of the finest output, by input size."""
    copies: tuple[Copy, ...]
    """Images that are in two splits."""
    notes: tuple[str, ...]
    """What the reader assumed, what to check, and what to do about it."""

    def to_json(self) -> dict[str, Any]:
        """Return dicts, lists and numbers only."""
        return asdict(self)


def describe_dataset(dataset: Dataset, looks: Mapping[str, Look] = MappingProxyType({})) -> DatasetReport:
    """Compute the statistics of a dataset without reading pixels.

    Args:
        dataset: Any.
        looks: Of `check_images`, to find copies by; images without one are not compared.
    """
    aspect = common_aspect(dataset.splits["train"])
    splits = {
        split: _describe_split(samples, dataset.class_names, aspect=aspect) for split, samples in dataset.splits.items()
    }
    copies = find_copies(dataset, looks)
    rare = {name: count for name, count in splits["train"].num_by_class.items() if count <= RARE_OBJECTS}
    unscored = tuple(name for name, count in splits["val"].num_by_class.items() if not count)
    tiny = _tiny_objects(dataset)
    notes = [*dataset.notes, *describe_copies(dataset, looks, copies), *_note_classes(rare, unscored)]
    notes += [*_note_tiny_objects(tiny), *_note_half_empty(splits, aspect)]
    for split, samples in dataset.splits.items():
        slivers = [s.name for s in samples if ((s.boxes[:, 2:] - s.boxes[:, :2]) < _SLIVER_PX).any()]
        if slivers:
            notes.append(
                f"{split}: {counted(len(slivers), 'image(s) has|have')} boxes under 2 px wide or high, first {slivers[0]}"
            )
        crowded = [s.name for s in samples if (~s.ignored).sum() > MOST_DETECTIONS]
        if crowded:
            notes.append(
                f"{split}: {counted(len(crowded), 'image(s) has|have')} more than {MOST_DETECTIONS} objects, "
                f"and no more detections of an image are scored, first {crowded[0]}: cut them into tiles"
            )
        repeated = [s.name for s in samples if _has_repeated_object(s)]
        if repeated:
            notes.append(
                f"{split}: {counted(len(repeated), 'image(s) has|have')} an object of the same class and box twice, "
                f"first {repeated[0]}"
            )
    return DatasetReport(
        name=dataset.name,
        format=dataset.format,
        fingerprint=dataset.fingerprint,
        class_names=dataset.class_names,
        aspect=aspect,
        splits=splits,
        left_out=dataset.left_out,
        rare_classes=rare,
        classes_without_validation=unscored,
        tiny_objects=tiny,
        copies=copies,
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
            sheet.save(partial, compress_level=1)  # a PNG in half of the time, 6 % larger
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: the picture cannot be written: {error}", hint="use another --out") from error
    return path


def _describe_split(samples: Sequence[Sample], class_names: Sequence[str], *, aspect: str) -> SplitReport:
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
        # A region where any object may be is there once for each class.
        num_ignored=sum(len(np.unique(sample.boxes[sample.ignored], axis=0)) for sample in samples),
        num_by_class={name: int(n) for name, n in zip(class_names, counts, strict=True)},
        num_small=int((areas < SMALL_AREA).sum()),
        num_medium=int(((areas >= SMALL_AREA) & (areas < LARGE_AREA)).sum()),
        num_large=int((areas >= LARGE_AREA).sum()),
        smallest_side_px=round(float(sides.min()), 2) if len(sides) else None,
        median_share=round(float(np.median(np.sqrt(areas / image_areas))), 4) if len(sides) else None,
        smallest_image_hw=by_pixels[0],
        largest_image_hw=by_pixels[-1],
        num_half_empty=count_half_empty(samples, parse_aspect(aspect)),
    )


def _tiny_objects(dataset: Dataset) -> dict[int, float]:
    """Return the share of tiny objects by input size; 0 without objects."""
    samples = [*dataset.splits["train"], *dataset.splits["val"]]
    longer = np.concatenate([np.full(len(sample.labels), max(sample.size_hw)) for sample in samples])
    sides = np.concatenate([sample.boxes[:, 2:] - sample.boxes[:, :2] for sample in samples])  # (N, 2)
    used = ~np.concatenate([sample.ignored for sample in samples])
    relative = (
        np.sqrt(sides.prod(axis=1))[used] / longer[used]
    )  # (N,) side of a square as large, image's longer side = 1
    sizes = sorted({size for sizes in SIZES_BY_SPACE.values() for size in sizes})
    return {size: round(float((relative * size < FINEST_STRIDE).mean()), 4) if len(relative) else 0.0 for size in sizes}


def _note_classes(rare: Mapping[str, int], unscored: Sequence[str]) -> list[str]:
    notes = []
    if absent := [name for name, count in rare.items() if not count]:
        notes.append(f"no training image shows {_listed(absent)}: add images of it, or take it from the classes")
    if few := [f"{name} ({count})" for name, count in rare.items() if count]:
        notes.append(
            f"too few objects to learn, or to judge by: {_listed(few)} (at most {RARE_OBJECTS} in training): add images"
        )
    if unscored:
        notes.append(f"no validation image shows {_listed(unscored)}: no AP counts it, move images of it there")
    return notes


def _note_tiny_objects(tiny: Mapping[int, float]) -> list[str]:
    here, larger = SIZES_BY_SPACE["tiny"][-1], SIZES_BY_SPACE["nano"][-1]
    if tiny[here] < _WORTH_A_NOTE:
        return []
    cell = f"{FINEST_STRIDE}×{FINEST_STRIDE} px, a cell of the finest output"
    note = f"at {here} px, the largest size of space tiny, {tiny[here]:.0%} of the objects cover less than {cell}"
    if tiny[larger] < _WORTH_A_NOTE:
        return [
            f"{note}; at {larger} px of space nano {tiny[larger]:.0%}: use --space nano, or cut the images into tiles"
        ]
    return [f"{note}; at {larger} px of space nano still {tiny[larger]:.0%}: cut the images into tiles"]


def _note_half_empty(splits: Mapping[str, SplitReport], aspect: str) -> list[str]:
    num_images = sum(split.num_images for split in splits.values())
    num_half_empty = sum(split.num_half_empty for split in splits.values())
    if num_half_empty <= RARE * num_images:
        return []
    return [
        f"{counted(num_half_empty, 'image(s) leaves|leave')} over half of a network's input of {aspect} to the margins, "
        f"{num_half_empty / num_images:.0%}: cut them into tiles, or take inputs of another shape (--aspect)"
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
    return ", ".join(names[:_SHOWN_CLASSES]) + more


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
