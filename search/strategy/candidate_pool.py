"""The pool of architectures to choose from: spaces are too large to enumerate."""

import random

from spaces import Architecture
from spaces.space import Space

POOL_SIZE = 1500
"""The Gaussian process predicts so many architectures in a few hundredths of a second."""


def draw_pool(space: Space, seed: int) -> list[Architecture]:
    """Return an even sample of the space without repeats, or all architectures of a small space."""
    if space.size <= POOL_SIZE:
        return list(space)
    rng = random.Random(f"{seed}/pool")
    found: dict[str, Architecture] = {}
    while len(found) < POOL_SIZE:
        drawn = space.sample(rng)
        found[drawn.key] = drawn
    return list(found.values())
