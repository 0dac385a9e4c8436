"""Detections drawn on images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from trials.data.drawing import draw_boxes
from trials.detections import Detections


def draw_detections(image: npt.NDArray[np.uint8], found: Detections, class_names: Sequence[str]) -> Image.Image:
    """Draw boxes with class and score, the best on top, each class in its own colour.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: In pixels of the image.
        class_names: By label.
    """
    picture = Image.fromarray(image)
    boxes, scores, labels = (values.tolist()[::-1] for values in (found.boxes, found.scores, found.labels))
    texts = [f"{class_names[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
    font_px, line_px = max(9, round(min(picture.size) / 36)), max(1, round(min(picture.size) / 240))
    draw_boxes(picture, boxes, labels, texts=texts, num_classes=len(class_names), font_px=font_px, line_px=line_px)
    return picture
