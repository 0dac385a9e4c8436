"""Which network to train once more: a repeat goes where it may change which network is taken.

The user takes the network with the best mean AP within some latency. One more training moves the mean of one network. What
that is expected to add to the AP of the networks taken, averaged over limits, is the knowledge gradient of Frazier, Powell
and Dayanik, "A knowledge-gradient policy for sequential information collection", 2008; here all networks share one
deviation over seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.front.estimate import group_repeats, mean_ap, noise_variance
from search.front.record import TrialRecord
from search.strategy.hypervolume_improvement import expected_improvement
from spaces import Architecture

_LEAST_GAIN = 1e-5
"""AP that knowing one network exactly must be expected to add to the networks taken; below it nothing is repeated."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Trainings with other seeds that are not listed but chosen, one after the other."""

    count: int
    """How many at most, at least 0."""
    max_latency_ms: float
    """The largest limit that counts."""


def choose_repeat(
    records: Sequence[TrialRecord], begun: Mapping[Architecture, int], *, max_latency_ms: float
) -> Architecture | None:
    """Return the network whose next training is expected to add most; arguments as of `expected_gains`.

    Returns:
        None where even knowing a network's AP exactly is not expected to add 0.00001 AP.
    """
    certain = expected_gains(records, begun, max_latency_ms=max_latency_ms, more=math.inf)
    if max(certain.values(), default=0.0) < _LEAST_GAIN:
        return None
    gains = expected_gains(records, begun, max_latency_ms=max_latency_ms, more=1)
    return max(gains, key=gains.__getitem__)


def expected_gains(
    records: Sequence[TrialRecord], begun: Mapping[Architecture, int], *, max_latency_ms: float, more: float
) -> dict[Architecture, float]:
    """Return the AP that more trainings of each network are expected to add to the networks taken, on average over limits.

    Limits are as likely between 1 and 2 ms as between 10 and 20 ms.

    Args:
        records: Trainings that have ended, of any state.
        begun: How many trainings of each network have begun, those that have ended included.
        max_latency_ms: The largest limit; the smallest is the fastest network.
        more: Number of further trainings, at least 1; infinite: its AP becomes known.

    Returns:
        For each network with a complete training, fastest first; 0 where it is the only one.
    """
    groups = group_repeats(records)
    latency_ms = {one: min(record.point[1] for record in group if record.point) for one, group in groups.items()}
    networks = sorted(groups, key=latency_ms.__getitem__)
    gains = np.zeros(len(networks))
    if len(networks) < 2:
        return dict(zip(networks, gains.tolist(), strict=True))
    ap = np.array([mean_ap(groups[one]) for one in networks])
    counts = np.array([max(len(groups[one]), begun.get(one, 0)) for one in networks], dtype=np.float64)
    # Standard deviation of the change that more trainings make to a mean.
    change = np.sqrt(noise_variance(groups.values()) * (1 / counts - 1 / (counts + more)))
    edges = np.log([*(latency_ms[one] for one in networks), max(max_latency_ms, latency_ms[networks[-1]])])
    for count, width in enumerate(np.diff(edges), start=1):  # the limits within which just the first `count` are
        if count > 1:
            second, first = np.sort(ap[:count])[-2:]
            behind = np.where(np.arange(count) == np.argmax(ap[:count]), first - second, first - ap[:count])
            gains[:count] += width * expected_improvement(-behind, change[:count], np.zeros(count))
    gains /= max(float(edges[-1] - edges[0]), 1e-9)
    return dict(zip(networks, gains.tolist(), strict=True))
