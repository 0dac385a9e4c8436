"""Boxes drawn on a picture, each in the colour of its class, and pictures side by side."""

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
    """Draw boxes, xyxy in pixels of the picture, the last on top, with a text above the corner unless it is empty.

    A label below 0 is grey.
    """
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(font_px)
    for box, label, text in zip(boxes, labels, texts, strict=True):
        colour = colour_of(label, num_classes)
        canvas.rectangle(tuple(box), outline=colour, width=line_px)
        if not text:
            continue
        place = (box[0], max(0, box[1] - font_px - 2))
        canvas.rectangle(canvas.textbbox(place, text, font=font), fill=colour)
        canvas.text(place, text, fill="white", font=font)


def colour_of(label: int, num_classes: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class, grey for a label below 0."""
    shares = (0.5,) * 3 if label < 0 else colorsys.hsv_to_rgb(label / num_classes, 0.85, 0.85)
    red, green, blue = (round(255 * share) for share in shares)
    return red, green, blue


def contact_sheet(tiles: Sequence[Image.Image], *, columns: int, gap_px: int) -> Image.Image:
    """Return pictures in rows, from the upper left, on white."""
    width, height = max(tile.width for tile in tiles) + gap_px, max(tile.height for tile in tiles) + gap_px
    sheet = Image.new("RGB", (columns * width + gap_px, -(-len(tiles) // columns) * height + gap_px), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (gap_px + place % columns * width, gap_px + place // columns * height))
    return sheet
