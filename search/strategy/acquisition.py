"""The acquisition function: the hypervolume a candidate is expected to add, for what its training costs. N candidates.

Hypervolume is taken over log latency here. Divided by its width it is the best AP within a limit, averaged over limits that
are as likely between 5 and 10 ms as between 50 and 100 ms. Over latency itself the slow half of the range would count most,
and which half that is depends on how slow the space's slowest network happens to be.
"""

import numpy as np

from search.front.pareto import FloatArray, Reference, staircase
from search.strategy.accuracy.model import AccuracyModel
from search.strategy.candidates import BoolArray
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.settings import StrategySettings


class Acquisition:
    """Scores candidates by the logarithm of expected hypervolume improvement over cost.

    Args:
        lookups: The candidates and their latencies.
        model: Of their accuracy.
        reference: The corner that hypervolume is counted from.
        settings: Limit, optimism and cost.
    """

    def __init__(
        self, lookups: LatencyLookups, model: AccuracyModel, *, reference: Reference, settings: StrategySettings
    ) -> None:
        self._lookups = lookups
        self._model = model
        self._reference = reference
        self._settings = settings
        levels, edges_ms = staircase(model.finished_ap, model.finished_latency_ms, reference=reference)
        with np.errstate(divide="ignore"):
            self._front = levels, np.log(edges_ms)  # from log 0 = -inf on

    def score(self, is_free: BoolArray) -> FloatArray:
        """Return (N,); -inf for candidates that are taken, over the limit or without a latency."""
        self._model.update()
        # Optimism is for choosing what to measure; without look-ups the expected latency counts.
        num_std = self._settings.num_optimistic_std if self._settings.num_lookups else 0.0
        gain = self._gain(self._lookups.optimistic_ms(num_std))
        within = self._lookups.probability_within(self._settings.max_latency_ms)
        possible = is_free & (within > 0)
        with np.errstate(divide="ignore"):
            log_within = np.log(within)
            scores = np.where(possible, np.log(gain) + log_within - self._log_cost(), -np.inf)
        if (scores > -np.inf).any():
            return scores
        # Every gain has underflowed to 0.
        joining = self._model.log_probability_of_joining(np.log(self._lookups.latency_ms), front=self._front)
        return np.where(possible, joining + log_within, -np.inf)

    def why(self, candidate: int) -> str:
        """Return the figures that a candidate was chosen for, as a sentence."""
        gain = self._gain(self._lookups.latency_ms)[candidate]
        width = np.log(self._reference.latency_ms / self._lookups.latency_ms.min())
        share = gain / (max(width, 1e-9) * (1 - self._reference.ap))
        return (
            f"expected AP {self._model.mean[candidate]:.3f} ± {self._model.std[candidate]:.3f} at "
            f"{self._lookups.describe(candidate)}, expected gain {share:.2%} of the reference rectangle"
        )

    def _gain(self, latency_ms: FloatArray) -> FloatArray:
        return self._model.expected_hypervolume_improvement(np.log(latency_ms), front=self._front)

    def _log_cost(self) -> FloatArray:
        latency_ms = self._lookups.latency_ms
        median_ms = float(np.median(latency_ms[np.isfinite(latency_ms)]))
        return np.log(np.where(np.isfinite(latency_ms), latency_ms, 0.0) + self._settings.fixed_cost * median_ms)
