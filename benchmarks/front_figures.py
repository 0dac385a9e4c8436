"""The two figures of a front that the benchmarks compare."""

import math
from collections.abc import Sequence

import numpy as np

from search.front.pareto import Reference, hypervolume

Points = Sequence[tuple[float, float]]
"""AP and latency in ms of trained networks."""


def area(points: Points, reference: Reference) -> float:
    """Return the hypervolume as a study reports it, 0 without a point."""
    ap, latency_ms = np.array(points, dtype=float).reshape(-1, 2).T
    return hypervolume(ap, latency_ms, reference=reference)


def mean_ap(points: Points, reference: Reference, fastest_ms: float) -> float:
    """Return the mean AP within a limit, over limits from the fastest network to the reference.

    Limits are as likely between 0.1 and 0.2 ms as between 1 and 2 ms. Without a network within one, AP counts as 0 there.
    """
    width = math.log(reference.latency_ms / fastest_ms)
    logarithmic = [(ap, math.log(latency_ms / fastest_ms)) for ap, latency_ms in points]
    return area(logarithmic, Reference(ap=0.0, latency_ms=width)) / width
