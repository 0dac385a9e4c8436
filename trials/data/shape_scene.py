"""Layout and drawing of the scenes in the generated dataset.

Legend: N shapes, S image side in pixels.

Shapes are drawn at four times the resolution and averaged down; a box is the extent of the fine mask, exact to a quarter of
a pixel. A shape is placed only where at least 40 % of every earlier shape stays visible. All pixel arithmetic uses integers,
so that images are the same on every machine.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

FINER = 4
"""Steps of the drawing grid in a pixel; a power of two."""

_MIN_VISIBLE = 0.4
_PLACEMENT_TRIES = 12
_NUM_COLOURS = 3  # drawn for each shape; the one that differs most from the background behind it is used
_NOISE_LEVELS = 24
_BACKGROUND_LEVELS = (60, 170)  # shapes use the full range, so that most of them stand out

_Points = npt.NDArray[np.float64]  # (P, 2) x, y


class PlacedShape(NamedTuple):
    """One shape of a scene."""

    label: int
    """Index into `SHAPE_CLASSES`."""
    contours: tuple[npt.NDArray[np.int32], ...]
    """Closed contours, each (P, 2) x, y on the grid `FINER` times finer than pixels; inner ones are holes."""
    box: tuple[float, float, float, float]
    """xyxy, pixels: the exact extent of the drawn shape."""


def lay_out_scene(
    rng: np.random.Generator, *, size: int, num_classes: int, max_objects: int, shares: tuple[float, float]
) -> tuple[PlacedShape, ...]:
    """Choose the shapes of one image and their places.

    Args:
        rng: Source of all randomness.
        size: S, pixels.
        num_classes: How many of `SHAPE_CLASSES`, in order.
        max_objects: Most shapes; their number is uniform from 1, less those that do not fit.
        shares: Smallest and largest size as a share of S; sizes are log-uniform.

    Returns:
        The shapes, the first at the back.
    """
    owner = np.zeros((size, size), np.uint8)  # which shape each pixel shows, from 1; 0 is background
    areas: list[int] = []
    shapes: list[PlacedShape] = []
    for _ in range(int(rng.integers(1, max_objects + 1))):
        for _ in range(_PLACEMENT_TRIES):
            shape = _place_one(rng, size=size, num_classes=num_classes, shares=shares)
            tried = owner.copy()
            cv2.fillPoly(tried, shape.contours, len(shapes) + 1, shift=FINER.bit_length() - 1)
            visible = np.bincount(tried.ravel(), minlength=len(shapes) + 2)[1:]
            if all(seen >= _MIN_VISIBLE * area for seen, area in zip(visible[:-1], areas, strict=True)):
                owner = tried
                areas.append(int(visible[-1]))
                shapes.append(shape)
                break
    return tuple(shapes)


def draw_scene(shapes: Sequence[PlacedShape], size: int, *, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw a scene over a coloured, noisy background with strokes that are not objects.

    Args:
        shapes: The first at the back.
        size: S, pixels.
        rng: Source of colours and background.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    canvas = _draw_background(size, rng)
    for shape in shapes:
        _paint(canvas, shape, rng)
    grain = rng.integers(0, _NOISE_LEVELS, canvas.shape, dtype=np.uint8)
    brighter = cv2.add(canvas, grain)  # saturates, as does the subtraction
    return cv2.subtract(brighter, np.full_like(canvas, _NOISE_LEVELS // 2)).astype(np.uint8, copy=False)


def shape_mask(shape: PlacedShape, *, left: int, top: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw the part of a shape in a window given in pixels as a mask of 0 and 255 on the finer grid."""
    mask = np.zeros((height * FINER, width * FINER), np.uint8)
    corner = np.array([left * FINER, top * FINER], np.int32)
    cv2.fillPoly(mask, [contour - corner for contour in shape.contours], 255)
    return mask


def _place_one(rng: np.random.Generator, *, size: int, num_classes: int, shares: tuple[float, float]) -> PlacedShape:
    label = int(rng.integers(num_classes))
    side = size * float(np.exp(rng.uniform(*np.log(shares))))
    stretch = float(rng.uniform(0.8, 1.25))
    angle = float(rng.uniform(-np.pi, np.pi))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outlines = [(outline * (stretch, 1.0)) @ turn for outline in list(SHAPE_CLASSES.values())[label]()]
    low, high = outlines[0].min(axis=0), outlines[0].max(axis=0)
    scale = side / float((high - low).max()) * FINER
    room = size * FINER - 2 - (high - low) * scale
    corner = rng.uniform(0.0, 1.0, 2) * room
    contours = tuple(np.round((outline - low) * scale + corner).astype(np.int32) for outline in outlines)
    left, top = contours[0].min(axis=0)
    right, bottom = contours[0].max(axis=0) + 1  # a contour's own points are drawn too
    return PlacedShape(label, contours, (left / FINER, top / FINER, right / FINER, bottom / FINER))


def _draw_background(size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    patches = rng.integers(*_BACKGROUND_LEVELS, (int(rng.integers(2, 5)), int(rng.integers(2, 5)), 3), dtype=np.uint8)
    canvas = cv2.resize(patches, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    texture = rng.integers(0, 40, (size // 8, size // 8, 3), dtype=np.uint8)
    canvas = cv2.add(canvas, cv2.resize(texture, (size, size), interpolation=cv2.INTER_LINEAR_EXACT))
    for _ in range(int(rng.integers(1, 6))):
        points = rng.integers(-size // 8, size + size // 8, (int(rng.integers(2, 5)), 1, 2), dtype=np.int32)
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        cv2.polylines(canvas, [points], False, colour, int(rng.integers(1, max(2, size // 40))))
    return canvas.astype(np.uint8, copy=False)


def _paint(canvas: npt.NDArray[np.uint8], shape: PlacedShape, rng: np.random.Generator) -> None:
    left, top = (int(np.floor(value)) for value in shape.box[:2])
    right, bottom = (int(np.ceil(value)) for value in shape.box[2:])
    mask = shape_mask(shape, left=left, top=top, width=right - left, height=bottom - top)
    cover = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.uint16)[:, :, None]
    window = canvas[top:bottom, left:right]
    colours = rng.integers(0, 256, (_NUM_COLOURS, 3))
    behind = window.sum(axis=(0, 1), dtype=np.int64) // (window.shape[0] * window.shape[1])
    colour = colours[np.abs(colours - behind).sum(axis=1).argmax()]
    shade = np.clip(colour + rng.integers(-32, 33, 3), 0, 255)  # a slight gradient from top to bottom
    ramp = np.arange(bottom - top, dtype=np.uint32)[:, None, None]
    span = max(1, bottom - top - 1)
    paint = ((colour * (span - ramp) + shade * ramp) // span).astype(np.uint16)
    window[:] = ((window * (255 - cover) + paint * cover + 127) // 255).astype(np.uint8)


def _regular(count: int, *, radii: tuple[float, ...] = (1.0,)) -> _Points:
    angles = np.arange(count) * (2 * np.pi / count)
    points: _Points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.resize(radii, count)[:, None]
    return points


def _cross() -> _Points:
    arm = 0.3
    quarter = np.array([(1, -arm), (1, arm), (arm, arm)])
    turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


SHAPE_CLASSES: dict[str, Callable[[], tuple[_Points, ...]]] = {
    "circle": lambda: (_regular(64),),
    "square": lambda: (_regular(4),),
    "triangle": lambda: (_regular(3),),
    "star": lambda: (_regular(10, radii=(1.0, 0.42)),),
    "cross": lambda: (_cross(),),
    "ring": lambda: (_regular(64), _regular(64) * 0.6),
    "half": lambda: (_regular(64)[:33],),
    "arrow": lambda: (np.array([(1, 0), (0, 1), (0, 0.4), (-1, 0.4), (-1, -0.4), (0, -0.4), (0, -1)]),),
}
"""The shapes, each a function giving its contours about the origin; a dataset takes the first few.

The outer contour comes first."""
