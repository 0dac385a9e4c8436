"""The initial design: the first trainings, spread evenly over log latency and far from each other. N candidates."""

from collections.abc import Sequence

import numpy as np

from search.front.pareto import FloatArray
from search.strategy.candidates import BoolArray
from search.strategy.latency.lookups import LatencyLookups

_SURE = 0.9
"""Least probability of being within the limit, of a candidate that earlier studies expect much of."""


class InitialDesign:
    """Scores candidates near the latency that is farthest from all started ones by their distance in the encoding.

    Where earlier studies say something, their expectation, whose spread is several times that of the distance, comes first.

    Args:
        lookups: The candidates and their latencies.
        started: Candidates that were trained or are in training.
        num_first: Size of the design.
        limit_ms: Slower candidates are left out, where latencies are known in milliseconds.
        seed: Of the choice among equals.
    """

    def __init__(
        self, lookups: LatencyLookups, started: Sequence[int], *, num_first: int, limit_ms: float, seed: int
    ) -> None:
        self._lookups = lookups
        self._num_started = len(started)
        self._limit_ms = limit_ms if lookups.has_scale else None
        random = np.random.default_rng([seed, len(started)])
        self._distance = np.minimum(lookups.distance_to(np.array(started, dtype=np.int64)), 100.0)
        if lookups.beliefs is not None:  # what earlier studies expect to be accurate is tried first
            beliefs = lookups.beliefs.mean(axis=1)
            self._distance = self._distance / max(float(self._distance.max()), 1e-9) + beliefs - beliefs.min()
        self._distance += 1e-3 * random.random(len(self._distance))
        log_ms = np.log(lookups.latency_ms)
        low, high = self._range(log_ms)
        targets = np.linspace(low, high, num_first)
        apart = np.abs(targets[:, None] - log_ms[list(started)]).min(axis=1, initial=np.inf)
        self._target = float(random.choice(targets[apart >= apart.max()]))
        self._reach = 0.5 * (high - low) / max(1, num_first - 1)

    def score(self, is_free: BoolArray) -> FloatArray:
        """Return (N,): distance in the encoding plus earlier studies' expectation near the target, negative elsewhere.

        -inf for taken candidates.
        """
        within = self._lookups.probability_within(self._limit_ms)
        off = np.abs(np.log(self._lookups.latency_ms) - self._target)
        near = (off <= self._reach) & (within >= 0.5)
        if self._lookups.beliefs is not None:
            near &= within >= _SURE  # beliefs favour large networks, of which many are over a limit
        elif (near & is_free & self._lookups.is_known).any():
            near &= self._lookups.is_known  # no need to measure more
        scores = np.where(near, self._distance, np.where(within >= 0.5, -1.0 - off, -1e3 + within))
        return np.where(is_free & (within > 0), scores, -np.inf)

    def why(self, candidate: int) -> str:
        """Return why a candidate was chosen, as a sentence."""
        if self._lookups.beliefs is not None:
            return f"initial design: {self._lookups.describe(candidate)}, where earlier studies lead to expect most"
        far = ", far from what was trained" if self._num_started else ""
        return f"initial design: {self._lookups.describe(candidate)}{far}"

    def _range(self, log_ms: FloatArray) -> tuple[float, float]:
        """Return the range of log latency within the limit, of all candidates where none is within it."""
        eligible = self._lookups.probability_within(self._limit_ms) >= 0.5
        eligible = eligible if eligible.any() else np.isfinite(log_ms)
        return (float(log_ms[eligible].min()), float(log_ms[eligible].max())) if eligible.any() else (0.0, 0.0)
