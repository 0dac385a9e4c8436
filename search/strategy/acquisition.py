"""The acquisition function: the hypervolume a candidate is expected to add, for what its training costs. N candidates."""

from functools import partial

import numpy as np

from search.strategy.accuracy_model import AccuracyModel
from search.strategy.candidates import BoolArray
from search.strategy.hypervolume_improvement import expected_hypervolume_improvement, log_probability_of_joining
from search.strategy.latencies import LatencyLookups
from search.study.pareto import FloatArray, Reference


class Acquisition:
    """Scores candidates by the logarithm of expected hypervolume improvement over cost.

    Args:
        lookups: The candidates and their latencies.
        model: Of their accuracy.
        reference: The corner that hypervolume is counted from.
        max_latency_ms: Slower candidates are not chosen; None for no limit.
        num_optimistic_std: Predicted latencies count as so many standard deviations faster.
        fixed_cost: Cost of any training, in median latencies; the candidate's latency is added to it.
    """

    def __init__(
        self,
        lookups: LatencyLookups,
        model: AccuracyModel,
        *,
        reference: Reference,
        max_latency_ms: float | None,
        num_optimistic_std: float,
        fixed_cost: float,
    ) -> None:
        self._lookups = lookups
        self._model = model
        self._reference = reference
        self._max_latency_ms = max_latency_ms
        self._num_optimistic_std = num_optimistic_std
        self._fixed_cost = fixed_cost
        ap, latency_ms = model.finished_ap, model.finished_latency_ms
        self._improvement = partial(
            expected_hypervolume_improvement, front_ap=ap, front_latency_ms=latency_ms, reference=reference
        )
        self._log_joining = partial(
            log_probability_of_joining, front_ap=ap, front_latency_ms=latency_ms, reference=reference
        )

    def score(self, is_free: BoolArray) -> FloatArray:
        """Return (N,); -inf for candidates that are taken, over the limit or without a latency."""
        self._model.update()
        gain = self._gain(self._lookups.optimistic_ms(self._num_optimistic_std))
        within = self._lookups.probability_within(self._max_latency_ms)
        possible = is_free & (within > 0)
        with np.errstate(divide="ignore"):
            log_within = np.log(within)
            scores = np.where(possible, np.log(gain) + log_within - self._log_cost(), -np.inf)
        if (scores > -np.inf).any():
            return scores
        # Every gain has underflowed to 0.
        joining = self._log_joining(self._model.mean, self._model.std, self._lookups.latency_ms)
        return np.where(possible, joining + log_within, -np.inf)

    def why(self, candidate: int) -> str:
        """Return the figures that a candidate was chosen for, as a sentence."""
        gain = self._gain(self._lookups.latency_ms)[candidate]
        share = gain / (self._reference.latency_ms * (1 - self._reference.ap))
        return (
            f"expected AP {self._model.mean[candidate]:.3f} ± {self._model.std[candidate]:.3f} at "
            f"{self._lookups.describe(candidate)}, expected gain {share:.2%} of the reference rectangle"
        )

    def _gain(self, latency_ms: FloatArray) -> FloatArray:
        return self._improvement(self._model.mean, self._model.std, latency_ms)

    def _log_cost(self) -> FloatArray:
        latency_ms = self._lookups.latency_ms
        median_ms = float(np.median(latency_ms[np.isfinite(latency_ms)]))
        return np.log(np.where(np.isfinite(latency_ms), latency_ms, 0.0) + self._fixed_cost * median_ms)
