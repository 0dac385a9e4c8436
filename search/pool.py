"""Architectures to choose from, and how a model sees them.

Spaces are too large to enumerate: a pool is an even sample, drawn once from a seed, which grows by the neighbours of the
front's members.
"""

import random
from collections.abc import Sequence

import numpy as np

from search.lookups import Candidates
from spaces import Architecture, Space
from spaces.space import AXES, ORDERED_AXES

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


def encode(architectures: Sequence[Architecture]) -> Candidates:
    """Encode: numbers for ordered axes (RFCR sizes are 0 without RFCR), category numbers for the others."""
    rows = [architecture.to_dict() for architecture in architectures]
    categories = []
    for axis in _CATEGORIES:
        names = sorted({str(row[axis]) for row in rows})
        categories.append([names.index(str(row[axis])) for row in rows])
    return Candidates(
        ordered=np.array([[float(row[axis]) for axis in _ORDERED] for row in rows]),
        categories=np.array(categories, dtype=np.int64).T,
    )
