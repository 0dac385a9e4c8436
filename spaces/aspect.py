"""The shape of a network's input image: width to height, as in 16:9."""

import math
import re

from spaces.scale_set import ArchitectureError

SQUARE = "1:1"
_WORDS = re.compile(r"([1-9][0-9]?):([1-9][0-9]?)")
_SIZE = re.compile(r"([1-9][0-9]{0,3})\s*[:x×/]\s*([1-9][0-9]{0,3})")
"""How a shape may be meant that is written otherwise: 16x9, 1920:1080."""
_FORM = "for example 4:3, 16:9 or 9:16, each number from 1 to 99"


def parse_aspect(text: str) -> tuple[int, int]:
    """Return width and height of an aspect such as ``4:3``, which has no common divisor, so that each has one name.

    Raises:
        ArchitectureError: it is written otherwise.
    """
    found = _WORDS.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        written = _SIZE.fullmatch(str(text).strip())
        meant = f"write it as {_shortened(int(written[1]), int(written[2]))}" if written else _FORM
        raise ArchitectureError(f"aspect {text!r} is no width:height", hint=meant)
    width, height = int(found[1]), int(found[2])
    if text != _shortened(width, height):
        raise ArchitectureError(f"aspect {text} can be shortened", hint=f"write it as {_shortened(width, height)}")
    return width, height


def _shortened(width: int, height: int) -> str:
    common = math.gcd(width, height)
    return f"{width // common}:{height // common}"


def shape_of_input(longer: int, aspect: str, *, stride: int) -> tuple[int, int]:
    """Return height and width of an input image, in pixels.

    Args:
        longer: The longer side, a multiple of the stride.
        aspect: Of the images. The shorter side is the first multiple of the stride that holds them.
        stride: The coarsest of the network, in pixels.
    """
    width, height = parse_aspect(aspect)
    least = longer * min(width, height) / max(width, height)
    shorter = math.ceil(least / stride) * stride
    return (shorter, longer) if width >= height else (longer, shorter)


def in_words(input_hw: tuple[int, int]) -> str:
    """Return an input's height and width in pixels as people say them: ``320`` for a square, or ``320×256``, width first."""
    height, width = input_hw
    return str(width) if height == width else f"{width}×{height}"
