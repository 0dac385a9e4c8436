"""A picture of what a network finds on a few validation images, the same ones for all networks of a dataset."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from trials.data import Dataset, Sample
from trials.data.images.drawing import colour_of, contact_sheet, draw_boxes
from trials.data.images.letterbox import letterbox, letterbox_boxes
from trials.detections import Decoding, Detections
from trials.scoring.detection_scorer import detect
from trials.whole_file import whole_file

_SCORE = 0.25
"""Detections of this score and more are drawn; in an image without any, the best one is, in grey."""
_MOST_TEXTS = 8
"""An image with more detections than this has no texts at them, which would hide it."""

_NUM_IMAGES = 8
_COLUMNS = 4
_TILE_PX = 240  # longer side
_GAP_PX = 4
_FONT_PX = 11
_LEGEND = f"thin: annotated · thick: found with a score of {_SCORE} or more · grey: the best below it"


def draw_detections(path: Path, network: nn.Module, dataset: Dataset, *, decoding: Decoding) -> None:
    """Write the picture as a JPEG file.

    Args:
        path: The file.
        network: With `output_strides`; left in evaluation mode.
        dataset: Its validation split is shown.
        decoding: How the network's maps are decoded.

    Raises:
        DatasetError: An image cannot be read.
    """
    samples = choose_samples(dataset.splits["val"], num_classes=len(dataset.class_names))
    found = detect(network, samples, decoding=decoding)
    tile_hw = _tile_shape(decoding.input_hw)
    names = dataset.class_names
    tiles = [_draw_tile(*both, tile_hw=tile_hw, class_names=names) for both in zip(samples, found, strict=True)]
    sheet = contact_sheet(tiles, columns=_COLUMNS, gap_px=_GAP_PX)
    shown = sorted({label for sample in samples for label in sample.labels.tolist()})
    legend = _draw_legend(sheet.width, shown, class_names=dataset.class_names)
    picture = Image.new("RGB", (sheet.width, sheet.height + legend.height))
    picture.paste(sheet)
    picture.paste(legend, (0, sheet.height))
    with whole_file(path) as unfinished:
        picture.save(unfinished)


def choose_samples(samples: Sequence[Sample], *, num_classes: int) -> list[Sample]:
    """Choose up to eight samples, always the same ones: one with an object of each class in turn, then any others.

    They come from all over the split, since neighbours often look alike.
    """
    order = np.random.default_rng(0).permutation(len(samples)).tolist()
    of_class: list[list[int]] = [[] for _ in range(num_classes)]
    for place in order:
        for label in set(samples[place].labels.tolist()):
            of_class[label].append(place)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*(places[:_NUM_IMAGES] for places in of_class)))
    chosen = dict.fromkeys(place for place in [*in_turn, *order] if place is not None)
    return [samples[place] for place in itertools.islice(chosen, _NUM_IMAGES)]


def _tile_shape(input_hw: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of an image in the picture, which has the shape of the network's input."""
    height, width = (max(1, round(_TILE_PX * side / max(input_hw))) for side in input_hw)
    return height, width


def _draw_tile(
    sample: Sample, found: Detections, *, tile_hw: tuple[int, int], class_names: Sequence[str]
) -> Image.Image:
    boxed, place = letterbox(sample.load(), tile_hw)
    tile = Image.fromarray(boxed)
    draw = partial(draw_boxes, tile, num_classes=len(class_names), font_px=_FONT_PX)
    labels = np.where(sample.ignored, -1, sample.labels).tolist()
    draw(letterbox_boxes(sample.boxes, place).tolist(), labels, texts=[""] * len(labels), line_px=1)
    count = int((found.scores >= _SCORE).sum())
    boxes, labels = letterbox_boxes(found.boxes, place).tolist(), found.labels.tolist()
    texts = [f"{class_names[label]} {score:.2f}" for label, score in zip(labels, found.scores.tolist(), strict=True)]
    if not count:
        draw(boxes[:1], [-1] * len(boxes[:1]), texts=texts[:1], line_px=2)
    if count > _MOST_TEXTS:
        texts = [""] * len(texts)
    draw(boxes[:count][::-1], labels[:count][::-1], texts=texts[:count][::-1], line_px=2)
    return tile


def _draw_legend(width: int, labels: Sequence[int], *, class_names: Sequence[str]) -> Image.Image:
    """Return what the lines mean and the classes in their colours, in as many rows as the width needs."""
    font, row_px = ImageFont.load_default(_FONT_PX), _FONT_PX + _GAP_PX
    black = (0, 0, 0)
    texts = [(f"{word} ", black) for word in _LEGEND.split()]
    texts += [(f"  {class_names[label]}", colour_of(label, len(class_names))) for label in labels]
    places, left, top = list[tuple[float, int]](), float(_GAP_PX), 0
    for text, _ in texts:
        text_px = font.getlength(text)
        if left > _GAP_PX and left + text_px > width:
            left, top = float(_GAP_PX), top + row_px
        places.append((left, top))
        left += text_px
    legend = Image.new("RGB", (width, top + row_px + _GAP_PX), "white")
    canvas = ImageDraw.Draw(legend)
    for place, (text, colour) in zip(places, texts, strict=True):
        canvas.text(place, text, fill=colour, font=font)
    return legend
