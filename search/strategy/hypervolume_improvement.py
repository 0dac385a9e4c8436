"""Expected hypervolume improvement when the latency is known and only the accuracy is uncertain.

AP is maximised, latency minimised (see `search.front.pareto`). With a known latency the two-dimensional expectation splits
into one-dimensional ones: a candidate of latency t and accuracy a adds, over every step of the front to the right of t,
the step's width times max(0, a - step's AP). The expectation is a sum of ordinary expected improvements.

Source:
    Emmerich, Deutz, Klinkenberg, "Hypervolume-based expected improvement", 2011, for the general case; the split above
    for one certain objective is elementary.
"""

import numpy as np
from scipy.special import log_ndtr, ndtr

from search.front.pareto import FloatArray, Staircase


def expected_improvement(mean: FloatArray, std: FloatArray, level: FloatArray) -> FloatArray:
    """Return E[max(0, a - level)] of a normal a; arguments broadcast; `std` 0 means a certain value."""
    mean, std, level = np.broadcast_arrays(mean, std, level)
    gap = np.asarray(mean - level, dtype=np.float64)
    safe_std = np.where(std > 0, std, 1.0)
    z = gap / safe_std
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.where(std > 0, np.maximum(safe_std * (z * ndtr(z) + density), 0.0), np.maximum(gap, 0.0))


def expected_hypervolume_improvement(gains: FloatArray, latency: FloatArray, *, front: Staircase) -> FloatArray:
    """Return the exact expected hypervolume improvement of each candidate.

    Args:
        gains: (N, M + 1) expected improvement of each candidate's AP on each level of the front.
        latency: (N,) latencies of the candidates, in ms or, if the front's edges are, in log ms.
        front: `staircase` of the trials so far: levels (M + 1,) and edges (M + 2,); M may be 0.

    Returns:
        (N,) in AP times the unit of latency; 0 at and beyond the reference's latency.
    """
    _, edges = front
    starts = np.maximum(edges[:-1], latency[:, None])  # (N, M + 1)
    widths = np.maximum(edges[1:] - starts, 0.0)  # (N, M + 1)
    return np.asarray((widths * gains).sum(axis=1))


def log_probability_of_joining(
    mean: FloatArray, std: FloatArray, latency: FloatArray, *, front: Staircase
) -> FloatArray:
    """Return the logarithm of the probability that each candidate joins the front.

    It ranks candidates where every expected improvement has underflowed to 0. Beyond the reference's latency the last step
    of the front counts.

    Args:
        mean: (N,) expected AP of the candidates, or what is normally distributed in its place, as the front's levels.
        std: (N,) its standard deviation, at least 0.
        latency: As above.
        front: As above.

    Returns:
        (N,), at most 0.
    """
    levels, edges = front
    step = np.clip(np.searchsorted(edges, latency, side="right") - 1, 0, len(levels) - 1)
    return np.asarray(log_ndtr((mean - levels[step]) / np.maximum(std, 1e-12)))
