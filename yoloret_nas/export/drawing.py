"""Detections drawn on images."""

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from trials.detections import Detections


def draw_detections(image: npt.NDArray[np.uint8], found: Detections, class_names: Sequence[str]) -> Image.Image:
    """Draw boxes with class and score, the best on top, each class in its own colour.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: In pixels of the image.
        class_names: By label.
    """
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    width = max(1, round(min(picture.size) / 240))
    size = max(9, round(min(picture.size) / 36))
    font = ImageFont.load_default(size)
    for box, score, label in reversed(
        list(zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True))
    ):
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(label / len(class_names), 0.85, 0.85))
        colour = (red, green, blue)
        canvas.rectangle(box, outline=colour, width=width)
        text = f"{class_names[label]} {score:.2f}"
        left, top = box[0], max(0, box[1] - size - 2)
        canvas.rectangle(canvas.textbbox((left, top), text, font=font), fill=colour)
        canvas.text((left, top), text, fill="white", font=font)
    return picture
