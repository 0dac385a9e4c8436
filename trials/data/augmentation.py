"""Random augmentation of training images and their boxes.

Legend: N boxes, H W height and width of the network's input.

Geometry is one affine warp from the image to the input, colour one 3×4 matrix and one lookup table: an image takes a few
milliseconds on one core.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from trials.data.images.letterbox import PAD_RGB, fit_letterbox

SMALLEST_SIDE_PX = 2.0
"""Pixels; objects with a shorter side in the network's input are not trained on."""
_GREY = np.array([0.299, 0.587, 0.114])  # luma weights of ITU-R BT.601, as in JPEG
_MIDDLE_LEVEL = 127.5
_CALM_SCALE = 1 / 3
"""Share of the logarithm of a scale that `calm` leaves."""
_MOSAIC_CENTRE = (0.3, 0.7)  # where the four images meet, as a share of the side


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How strongly training images are augmented; the defaults only fit the image into the network's input."""

    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest scale relative to the letterboxed image, log-uniform, 0.05 to 4."""
    aspect: float = 0.0
    """The aspect ratio changes by up to this share, 0 to 0.9."""
    placement: float = 0.0
    """Share of the margin (or of the overlap) over which the image is placed; 0 is centred, 1 anywhere."""
    translate: float = 0.0
    """Additional shift in each direction, as a share of the input's side, 0 to 0.9."""
    flip_horizontal: float = 0.0
    """Probability of a horizontal flip, 0 to 1."""
    flip_vertical: float = 0.0
    """Probability of a vertical flip, 0 to 1; suits a camera that looks down."""
    hue: float = 0.0
    """Largest rotation of the hue, degrees, 0 to 180."""
    saturation: float = 0.0
    """Saturation is multiplied by up to 1 ± this, 0 to 1."""
    brightness: float = 0.0
    """Brightness is multiplied by up to 1 ± this, 0 to 1."""
    contrast: float = 0.0
    """Contrast is multiplied by up to 1 ± this, 0 to 1."""
    gamma: float = 0.0
    """Gamma is up to (1 + this), or its inverse, 0 to 2."""
    jpeg_quality: int = 100
    """Lowest quality of the JPEG compression applied to the result, 1 to 100; 100 for none."""
    mosaic: float = 0.0
    """Probability of a mosaic of four images, 0 to 1."""
    max_boxes: int = 0
    """Most objects trained on in an image, drawn at random, of which the others are ignored; 0 for no limit."""
    min_visible: float = 0.15
    """An object is dropped if less than this share of its area stays inside, 0 to 1."""
    min_side_px: float = SMALLEST_SIDE_PX
    """An object is dropped if a side in the input is shorter than this, pixels."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0.05 <= low <= high <= 4:
            raise ValueError(f"augmentation: scale {self.scale} is not an increasing pair within 0.05 to 4")
        for name, limit in _LIMITS.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"augmentation: {name} is {getattr(self, name)}, not from 0 to {limit}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"augmentation: jpeg_quality is {self.jpeg_quality}, not from 1 to 100")
        if self.max_boxes < 0 or self.min_side_px < 0:
            raise ValueError("augmentation: max_boxes and min_side_px are not negative")


_SHARES = (
    "placement",
    "flip_horizontal",
    "flip_vertical",
    "saturation",
    "brightness",
    "contrast",
    "mosaic",
    "min_visible",
)
_LIMITS = {**dict.fromkeys(_SHARES, 1), "aspect": 0.9, "translate": 0.9, "hue": 180, "gamma": 2}


def modern_augmentation() -> AugmentSettings:
    """Return the default augmentation: scale, shift, flip and colour; 1 ms for an image at 320 px on one core."""
    return AugmentSettings(
        scale=(0.6, 1.5),
        placement=1.0,
        translate=0.05,
        flip_horizontal=0.5,
        saturation=0.4,
        brightness=0.25,
        contrast=0.25,
    )


def calm(settings: AugmentSettings) -> AugmentSettings:
    """Return a milder augmentation of the same kind: whole images of nearly their own size, colours changed half as much.

    Its images are like those a network is scored on, for the last epochs of a training. Flips and placement stay.
    """
    low, high = settings.scale
    return replace(
        settings,
        scale=(low**_CALM_SCALE, high**_CALM_SCALE),
        aspect=settings.aspect * _CALM_SCALE,
        translate=0.0,
        hue=settings.hue / 2,
        saturation=settings.saturation / 2,
        brightness=settings.brightness / 2,
        contrast=settings.contrast / 2,
        gamma=settings.gamma / 2,
        mosaic=0.0,
    )


def paper_augmentation() -> AugmentSettings:
    """Return YOLO-ReT's augmentation; 3 ms for an image at 320 px on one core.

    Source: prakharg24/yoloret (MIT): scale 0.25 to 2, aspect jitter 0.3, random placement, flip, hue, saturation,
    gamma, contrast, JPEG quality, at most 20 objects an image. Here the hue is in degrees of the colour wheel, and further
    objects are ignored; there they are background.
    """
    return AugmentSettings(
        scale=(0.25, 2.0),
        aspect=0.3,
        placement=1.0,
        flip_horizontal=0.5,
        hue=18.0,
        saturation=0.5,
        contrast=0.3,
        gamma=0.5,
        jpeg_quality=60,
        max_boxes=20,
    )


class Labelled(NamedTuple):
    """An image with its boxes."""

    image: npt.NDArray[np.uint8]
    """RGB, of any height and width."""
    boxes: npt.NDArray[np.float32]
    """(N, 4) xyxy, pixels of ``image``."""
    labels: npt.NDArray[np.int64]
    """(N,)."""
    ignored: npt.NDArray[np.bool_]
    """(N,)."""


def augment(
    given: Labelled, input_hw: tuple[int, int], *, settings: AugmentSettings, rng: np.random.Generator
) -> Labelled:
    """Return an augmented copy of an image in the network's input, with its boxes.

    Boxes are clipped to it; objects left with less than ``min_visible`` of their area, or with a side under
    ``min_side_px``, are dropped. What is ignored stays while any of it is inside: it would else count as background.

    Args:
        given: Any size.
        input_hw: H, W, pixels.
        settings: How strongly; ``mosaic`` is left to the caller, see `augment_mosaic`.
        rng: Source of all randomness: the same state gives the same result.

    Returns:
        (H, W, 3) image; margins are `PAD_RGB` before colours change.
    """
    height, width = input_hw
    matrix = _draw_affine(given.image.shape[:2], input_hw, settings=settings, rng=rng)
    canvas = _warp(given.image, matrix, width=width, height=height)
    placed = _place_boxes(given, matrix, window=(0, 0, width, height), settings=settings)
    placed = _limit_boxes(placed._replace(image=canvas), settings.max_boxes, rng)
    return placed._replace(image=_change_colours(canvas, settings, rng))


def augment_mosaic(
    given: Sequence[Labelled], input_hw: tuple[int, int], *, settings: AugmentSettings, rng: np.random.Generator
) -> Labelled:
    """Return a mosaic of four images, each augmented like `augment`; they meet at a random point.

    Args:
        given: Four images: top left, top right, bottom left, bottom right.
        input_hw: H, W, pixels.
        settings: As for `augment`; placement and translation are not used.
        rng: Source of all randomness.

    Returns:
        (H, W, 3) image.
    """
    height, width = input_hw
    canvas = np.empty((height, width, 3), np.uint8)
    share_x, share_y = rng.uniform(*_MOSAIC_CENTRE, 2)
    centre_x, centre_y = round(width * float(share_x)), round(height * float(share_y))
    parts = []
    for number, one in enumerate(given):
        is_right, is_low = number % 2 == 1, number >= 2
        left, right = (centre_x, width) if is_right else (0, centre_x)
        top, bottom = (centre_y, height) if is_low else (0, centre_y)
        matrix = _draw_affine(one.image.shape[:2], input_hw, settings=settings, rng=rng)
        # move the image so that its corner facing the meeting point lies on it
        ends = matrix @ np.array([[0, one.image.shape[1]], [0, one.image.shape[0]], [1, 1]], dtype=np.float64)
        matrix[0, 2] += centre_x - (ends[0].min() if is_right else ends[0].max())
        matrix[1, 2] += centre_y - (ends[1].min() if is_low else ends[1].max())
        local = matrix - np.array([[0, 0, left], [0, 0, top]])
        canvas[top:bottom, left:right] = _warp(one.image, local, width=right - left, height=bottom - top)
        parts.append(_place_boxes(one, matrix, window=(left, top, right, bottom), settings=settings))
    joined = Labelled(canvas, *(np.concatenate([part[field] for part in parts]) for field in (1, 2, 3)))
    joined = _limit_boxes(joined, settings.max_boxes, rng)
    return joined._replace(image=_change_colours(canvas, settings, rng))


def _draw_affine(
    size_hw: tuple[int, ...], input_hw: tuple[int, int], *, settings: AugmentSettings, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the (2, 3) matrix from continuous pixels of the image to those of the network's input."""
    height, width = size_hw[:2]
    sides = np.array(input_hw[::-1])
    scale = fit_letterbox((height, width), input_hw).scale * float(np.exp(rng.uniform(*np.log(settings.scale))))
    stretch = np.log1p(settings.aspect) * float(rng.uniform(-1, 1))
    scales = scale * np.exp([stretch / 2, -stretch / 2])
    room = sides - scales * (width, height)
    offset = room * (0.5 + settings.placement * rng.uniform(-0.5, 0.5, 2))
    offset += sides * settings.translate * rng.uniform(-1, 1, 2)
    matrix = np.array([[scales[0], 0.0, offset[0]], [0.0, scales[1], offset[1]]])
    for axis, chance in enumerate((settings.flip_horizontal, settings.flip_vertical)):
        if rng.uniform() < chance:
            matrix[axis] = -matrix[axis]
            matrix[axis, 2] += sides[axis]
    return matrix


def _warp(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], *, width: int, height: int
) -> npt.NDArray[np.uint8]:
    # OpenCV measures from the centre of the first pixel, boxes from its edge
    from_middle = matrix.copy()
    from_middle[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    warped = cv2.warpAffine(image, from_middle, (width, height), flags=cv2.INTER_LINEAR, borderValue=PAD_RGB)
    return warped.astype(np.uint8, copy=False)


def _place_boxes(
    given: Labelled, matrix: npt.NDArray[np.float64], *, window: tuple[int, int, int, int], settings: AugmentSettings
) -> Labelled:
    """Move the boxes, clip them to a window (xyxy) of the input and drop objects left too small."""
    scales, offset = matrix[[0, 1], [0, 1]], matrix[:, 2]
    corners = given.boxes.reshape(-1, 2, 2).astype(np.float64) * scales + offset  # (N, 2, 2)
    whole = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)  # (N, 4): a flip swaps the corners
    low, high = (window[0], window[1]) * 2, (window[2], window[3]) * 2
    clipped = np.clip(whole, low, high)
    sides, whole_sides = clipped[:, 2:] - clipped[:, :2], whole[:, 2:] - whole[:, :2]
    kept = (sides >= settings.min_side_px).all(axis=1)
    kept &= sides.prod(axis=1) >= settings.min_visible * whole_sides.prod(axis=1)
    kept |= given.ignored & (sides > 0).all(axis=1)
    return Labelled(given.image, clipped[kept].astype(np.float32), given.labels[kept], given.ignored[kept])


def _limit_boxes(given: Labelled, max_boxes: int, rng: np.random.Generator) -> Labelled:
    """Ignore all but so many objects, drawn at random; left out, the others would count as background."""
    objects = np.flatnonzero(~given.ignored)
    if not max_boxes or len(objects) <= max_boxes:
        return given
    ignored = given.ignored.copy()
    ignored[objects[rng.permutation(len(objects))[max_boxes:]]] = True
    return given._replace(ignored=ignored)


def _change_colours(
    image: npt.NDArray[np.uint8], settings: AugmentSettings, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    strengths = (settings.saturation, settings.brightness, settings.contrast)
    saturation, brightness, contrast = 1 + rng.uniform(-1, 1, 3) * strengths
    angle = np.deg2rad(settings.hue) * rng.uniform(-1, 1)
    matrix = brightness * contrast * (_hue_turn(angle) @ (saturation * np.eye(3) + (1 - saturation) * _GREY))
    constant = np.full((3, 1), _MIDDLE_LEVEL * (1 - contrast))
    changed = image
    if not np.allclose(matrix, np.eye(3)):
        changed = cv2.transform(changed, np.concatenate([matrix, constant], axis=1)).astype(np.uint8, copy=False)
    if settings.gamma:
        exponent = (1 + settings.gamma) ** rng.uniform(-1, 1)
        table = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
        changed = cv2.LUT(changed, table).astype(np.uint8, copy=False)
    if settings.jpeg_quality < 100:
        changed = _recompress(changed, int(rng.integers(settings.jpeg_quality, 101)))
    return changed


def _hue_turn(angle: float) -> npt.NDArray[np.float64]:
    """Return the (3, 3) rotation of RGB about its grey axis."""
    cosine, sine = np.cos(angle), np.sin(angle) / np.sqrt(3)
    rest = (1 - cosine) / 3
    near, far = rest - sine, rest + sine
    own = cosine + rest
    return np.array([[own, near, far], [far, own, near], [near, far, own]])


def _recompress(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    # encoder and decoder both assume BGR, which cancels out
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR).astype(np.uint8, copy=False)  # type: ignore[union-attr]
