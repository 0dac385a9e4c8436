"""The bounding boxes of outlines: what a detector learns of polygons, ellipses and turned boxes.

Boxes are xyxy in pixels, a continuous range, y down; angles are clockwise, as images show it.
"""

from collections.abc import Iterable, Sequence
from math import cos, hypot, radians, sin
from typing import Any

Xyxy = tuple[float, float, float, float]


def bound(points: Iterable[Sequence[Any]]) -> Xyxy:
    """Return the bounding box of an outline's points (x, y).

    Raises:
        ValueError: There is no point.
    """
    numbers = [(float(x), float(y)) for x, y, *_ in points]
    if not numbers:
        raise ValueError("has no points")
    xs, ys = zip(*numbers, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def bound_boxes(boxes: Iterable[Xyxy]) -> Xyxy:
    """Return the bounding box of one or more boxes."""
    return bound([corner for left, top, right, bottom in boxes for corner in ((left, top), (right, bottom))])


def bound_turned(box: Xyxy, degrees: float, *, pivot: tuple[float, float] | None = None) -> Xyxy:
    """Return the bounding box of a box turned about a point; None for its centre."""
    if degrees % 360 == 0:
        return box
    left, top, right, bottom = box
    pivot = pivot or ((left + right) / 2, (top + bottom) / 2)
    c, s = cos(radians(degrees)), sin(radians(degrees))
    corners = [(x - pivot[0], y - pivot[1]) for x in (left, right) for y in (top, bottom)]
    return bound([(pivot[0] + x * c - y * s, pivot[1] + x * s + y * c) for x, y in corners])


def bound_ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float) -> Xyxy:
    """Return the bounding box of an ellipse turned about its centre; ``radii`` are those along x and y before the turn."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    half_width, half_height = hypot(radii[0] * c, radii[1] * s), hypot(radii[0] * s, radii[1] * c)
    return centre[0] - half_width, centre[1] - half_height, centre[0] + half_width, centre[1] + half_height
