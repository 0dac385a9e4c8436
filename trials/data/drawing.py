"""Boxes drawn on a picture, each in the colour of its class."""

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont


def draw_boxes(
    picture: Image.Image,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    *,
    texts: Sequence[str],
    num_classes: int,
    font_px: int,
    line_px: int,
) -> None:
    """Draw boxes, xyxy in pixels of the picture, the last on top, with a text above the corner; a label below 0 is grey."""
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(font_px)
    for box, label, text in zip(boxes, labels, texts, strict=True):
        shares = (0.5,) * 3 if label < 0 else colorsys.hsv_to_rgb(label / num_classes, 0.85, 0.85)
        red, green, blue = (round(255 * share) for share in shares)
        canvas.rectangle(tuple(box), outline=(red, green, blue), width=line_px)
        place = (box[0], max(0, box[1] - font_px - 2))
        canvas.rectangle(canvas.textbbox(place, text, font=font), fill=(red, green, blue))
        canvas.text(place, text, fill="white", font=font)
