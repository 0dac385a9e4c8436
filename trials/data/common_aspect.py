"""The shape that suits the images of a dataset as a network's input."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spaces.aspect import SQUARE, parse_aspect
from trials.data.dataset import Sample

_WIDE = ("5:4", "4:3", "3:2", "8:5", "16:9", "2:1", "3:1", "4:1")
"""The usual shapes of sensors and videos, and two of line cameras and panoramas."""
COMMON_ASPECTS = (SQUARE, *_WIDE, *(":".join(reversed(one.split(":"))) for one in _WIDE))
RARE = 0.05
"""Share of the images that may fit badly."""
_HALF = 0.5


def common_aspect(samples: Sequence[Sample]) -> str:
    """Return the aspect of `COMMON_ASPECTS` whose input, of the same number of pixels, shows the images largest on average.

    An image fills a smaller share of an input the more their aspects differ; its sides are shorter by the root of it. So
    it is the shape that most images have, unless nearly as many have another: a square where as many are upright as not.
    AP rises with the sides about as a constant minus their inverse (docs/measurements.md, Training: front against front:
    Ultralytics' three on three datasets gain 0.76 times as much from 224 to 320 px as from 160 to 224 px, the median),
    so it is the mean inverse that is least here.

    Args:
        samples: Of at least one image.
    """
    ratios = _ratios(samples)
    # A square where several are equal.
    return min(COMMON_ASPECTS, key=lambda aspect: float((_filled(ratios, aspect) ** -0.5).mean()))


def filled_shares(samples: Sequence[Sample], aspect: str) -> npt.NDArray[np.float64]:
    """Return which share of an input of an aspect each of N images fills, (N,), above 0 and at most 1."""
    return _filled(_ratios(samples), aspect)


def count_half_empty(samples: Sequence[Sample], width_height: tuple[int, int]) -> int:
    """Return how many images leave over half of an input of a width and height, in any unit, to the margins."""
    return int((_filled_of(_ratios(samples), width_height) < _HALF).sum())


def _ratios(samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
    return np.array([sample.size_hw[1] / sample.size_hw[0] for sample in samples])


def _filled(ratios: npt.NDArray[np.float64], aspect: str) -> npt.NDArray[np.float64]:
    return _filled_of(ratios, parse_aspect(aspect))


def _filled_of(ratios: npt.NDArray[np.float64], width_height: tuple[int, int]) -> npt.NDArray[np.float64]:
    width, height = width_height
    relative = ratios * height / width
    return np.minimum(relative, 1 / relative)
