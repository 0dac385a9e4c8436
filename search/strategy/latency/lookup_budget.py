"""How many latencies a proposal may measure, so that looking up stays a small share of training.

A measurement on this machine stops its trainings for two seconds; on a board it builds an engine for minutes, and the driver
starts nothing meanwhile. A training takes seconds on a small dataset, hours on a large one. So the share of the time
decides, of what has been spent so far.
"""

from collections.abc import Iterable, Sequence
from statistics import mean

from trials.latency import Latency
from trials.trial_result import TrialResult

SHARE = 0.1
"""Of the time that trainings have taken."""


def affordable_lookups(
    results: Iterable[TrialResult], *, lookups_s: Sequence[float], workers: int, round_size: int
) -> int:
    """Return how many latencies may be measured now.

    Args:
        results: Of the finished trials.
        lookups_s: Seconds of each look-up so far.
        workers: Trials at once; a look-up stops or delays all of them.
        round_size: Look-ups of one proposal: so many are allowed where nothing tells yet how long one takes.

    Returns:
        0 before any training has finished.
    """
    results = list(results)
    training_s = sum(one.seconds.get("train", 0.0) + one.seconds.get("score", 0.0) for one in results) / workers
    if training_s <= 0:
        return 0
    # A trial's own measurement takes as long as a look-up; one found in the cache takes nothing, and says nothing of others.
    # On a cluster the trial only receives it, so that its own seconds do not count it.
    measured_s = [
        max(one.seconds.get("measure", 0.0), _seconds(one.latency))
        for one in results
        if one.latency and not one.is_latency_cached
    ]
    each_s = max(mean(known_s) for known_s in (lookups_s, measured_s, [0.0]) if known_s)
    return max(0, int((SHARE * training_s - sum(lookups_s)) / each_s)) if each_s > 0 else round_size


def _seconds(latency: Latency) -> float:
    return max(latency.seconds, latency.build_s or 0.0)
