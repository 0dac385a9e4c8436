"""Architectures to choose from, and how a model sees them.

Spaces are too large to enumerate: a pool is an even sample, drawn once from a seed, which grows by the neighbours of the
front's members.
"""

import math
import random
from collections.abc import Sequence

import numpy as np

from search.strategy.latencies import Candidates
from spaces import Architecture
from spaces.networks.cost import count_cost
from spaces.space import AXES, ORDERED_AXES, Space

POOL_SIZE = 1500
"""Architectures drawn from the space: the Gaussian process answers for so many in a few hundredths of a second."""

_ORDERED = tuple(axis for axis in AXES if axis in ORDERED_AXES)
_CATEGORIES = tuple(axis for axis in AXES if axis not in ORDERED_AXES)


def draw_pool(space: Space, seed: int) -> list[Architecture]:
    """Draw a pool; all of a small space."""
    if space.size <= POOL_SIZE:
        return list(space)
    rng = random.Random(f"{seed}/pool")
    found: dict[str, Architecture] = {}
    while len(found) < POOL_SIZE:
        drawn = space.sample(rng)
        found[drawn.key] = drawn
    return list(found.values())


class Encoder:
    """Encodes architectures for the models of accuracy and latency; remembers what they cost on paper.

    Args:
        num_classes: Classes of the detectors.
    """

    def __init__(self, *, num_classes: int) -> None:
        self._num_classes = num_classes
        self._rows: dict[str, tuple[list[float], list[str], list[float]]] = {}

    def encode(self, architectures: Sequence[Architecture]) -> Candidates:
        """Give numbers for ordered axes (RFCR sizes are 0 without RFCR), category numbers for the others, and log costs."""
        rows = [self._row(architecture) for architecture in architectures]
        categories = []
        for column in zip(*(names for _, names, _ in rows), strict=True):
            numbers = {name: number for number, name in enumerate(sorted(set(column)))}
            categories.append([numbers[name] for name in column])
        return Candidates(
            ordered=np.array([ordered for ordered, _, _ in rows]),
            categories=np.array(categories, dtype=np.int64).T,
            proxies=np.array([costs for _, _, costs in rows]),
            is_rising=np.array([axis == "input_size" for axis in _ORDERED]),
        )

    def _row(self, architecture: Architecture) -> tuple[list[float], list[str], list[float]]:
        if architecture.key not in self._rows:
            values, cost = architecture.to_dict(), count_cost(architecture, num_classes=self._num_classes)
            self._rows[architecture.key] = (
                [float(values[axis]) for axis in _ORDERED],
                [str(values[axis]) for axis in _CATEGORIES],
                [math.log(cost.macs), math.log(cost.params)],
            )
        return self._rows[architecture.key]
