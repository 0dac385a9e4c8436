"""Latencies of candidates: measured or predicted, within a budget of measurements.

A measurement takes seconds to minutes, a training hours. A prediction is free and, after thirty measurements on real
boards, about 10 % wrong. So some candidates, spread over the encoding, are measured first; later only those that lead.

N counts candidates, P ordered and Q unordered choices, R proxies.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtr

from search.front.pareto import FloatArray, IntArray
from search.strategy.candidates import BoolArray, Candidates
from search.strategy.surrogate import Inputs, SurrogateSettings, evenly, fit_surrogate

LATENCY_EXPONENT = 0.7
"""Latency is expected to grow with this power of MACs until measurements correct it."""

_SURROGATE = SurrogateSettings(
    length_median=1.0, category_median=0.4, noise_median=3e-3, trend_variance=1.0, category_variance=0.25
)
"""Of log latency beyond what MACs explain: measurements repeat better than trainings."""

_SLOPE = 1.0
"""AP is expected to rise by so many of its standard deviations over the range of log MACs, of log latency and of each
rising choice, until trainings correct it: a larger network or input is more accurate."""

Measure = Callable[[Sequence[int]], Sequence[float]]
"""Takes candidates, returns the latency of each in ms; infinity or NaN where it cannot be measured."""


class LatencyLookups:
    """The latencies that one suggestion works with.

    Args:
        candidates: N candidates.
        latency_ms: (N,) measured so far; NaN where not, infinity where the device cannot. Copied.
        measure: Measures candidates.
        max_lookups: Budget: of how many networks the latency may be known in the end.
        max_learnt: How many of them predictions rest on at most, evenly spread; None for all.
        seed: Of the spread and of the fit's starting points.
    """

    def __init__(
        self,
        candidates: Candidates,
        latency_ms: FloatArray,
        *,
        measure: Measure,
        max_lookups: int,
        max_learnt: int | None = None,
        seed: int,
    ) -> None:
        latency_ms = np.array(latency_ms, dtype=np.float64)
        if latency_ms.shape != (len(candidates),) or (latency_ms <= 0).any():
            raise ValueError(f"latency_ms has shape {latency_ms.shape}; it must be ({len(candidates)},) and above 0")
        proxies = np.zeros((len(candidates), 0)) if candidates.proxies is None else candidates.proxies
        self._encoding = _unit_range(candidates.ordered)
        self._inputs = Inputs(
            ordered=np.hstack((self._encoding, _unit_range(proxies))), categories=candidates.categories
        )
        self.beliefs = candidates.beliefs
        self._networks = np.arange(len(candidates)) if candidates.networks is None else candidates.networks
        self._measure = measure
        self._max_lookups = max_lookups
        self._max_learnt = max_learnt
        self._seed = seed
        is_rising = np.zeros(candidates.ordered.shape[1]) if candidates.is_rising is None else candidates.is_rising
        is_macs = np.arange(proxies.shape[1]) == 0
        self._slopes = _SLOPE * np.concatenate((is_rising, is_macs, [True]))  # latency is the last column
        self._expected_log_ms = LATENCY_EXPONENT * proxies[:, 0] if proxies.shape[1] else np.zeros(len(candidates))
        self.latency_ms = latency_ms
        self.is_known: BoolArray = ~np.isnan(latency_ms)
        self._log_std = np.zeros(len(candidates))
        self._log_range = (0.0, 1.0)

    @property
    def num_left(self) -> int:
        """How many networks may still be measured."""
        return max(0, self._max_lookups - self._num_known)

    @property
    def _num_known(self) -> int:
        return len(np.unique(self._networks[self.is_known]))

    @property
    def has_scale(self) -> bool:
        """Whether any latency is measured; without one only ratios of predictions mean something."""
        return bool((self.is_known & np.isfinite(self.latency_ms)).any())

    def look_up(self, wanted: IntArray) -> None:
        """Measure the candidates of `wanted` whose latency is not known, within the budget."""
        new = self._distinct(wanted[~self.is_known[wanted]])[: self.num_left]
        if len(new) == 0:
            return
        for index, measured_ms in zip(new, self._measure([int(index) for index in new]), strict=True):
            alike = self._networks == self._networks[index]
            self.latency_ms[alike] = np.inf if np.isnan(measured_ms) else measured_ms
            self.is_known[alike], self._log_std[alike] = True, 0.0

    def _distinct(self, candidates: IntArray) -> IntArray:
        """Return the first candidate of each network, in their order."""
        _, first = np.unique(self._networks[candidates], return_index=True)
        return candidates[np.sort(first)]

    def look_up_spread(self, count: int) -> None:
        """Measure networks far from each other until `count` are known."""
        missing = min(count - self._num_known, len(np.unique(self._networks[~self.is_known])))
        if missing > 0:
            order = np.random.default_rng(self._seed).permutation(len(self.latency_ms))
            distance = self.distance_to(np.flatnonzero(self.is_known))
            chosen: list[int] = []
            while len(chosen) < missing:
                chosen.append(int(order[np.argmax(distance[order])]))
                distance = np.minimum(distance, self.distance_to(np.array(chosen[-1:])))
                distance[np.isin(self._networks, self._networks[chosen])] = -1.0
            self.look_up(np.array(chosen))

    def predict(self) -> None:
        """Predict unknown latencies from known ones."""
        measured = self._distinct(np.flatnonzero(self.is_known & np.isfinite(self.latency_ms)))
        unknown = np.flatnonzero(~self.is_known)
        measured = measured[evenly(len(measured), self._max_learnt or len(measured))]
        if len(unknown) and len(measured):
            beyond = np.log(self.latency_ms[measured]) - self._expected_log_ms[measured]
            model = fit_surrogate(self._inputs.take(measured), beyond, settings=_SURROGATE, seed=self._seed)
            mean, std = model.predict(self._inputs.take(unknown))
            self.latency_ms[unknown] = np.exp(mean + self._expected_log_ms[unknown])
            self._log_std[unknown] = np.hypot(std, model.noise_std)
        elif len(unknown):  # from MACs alone: `has_scale` is False
            self.latency_ms[unknown], self._log_std[unknown] = np.exp(self._expected_log_ms[unknown]), 1.0
        finite = np.log(self.latency_ms[np.isfinite(self.latency_ms)])
        self._log_range = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)

    def distance_to(self, chosen: IntArray) -> FloatArray:
        """Return the squared distance of each candidate to the nearest of `chosen`, (N,); a differing category adds 1."""
        distance = np.full(len(self.latency_ms), np.inf)
        for index in chosen:
            squares = ((self._encoding - self._encoding[index]) ** 2).sum(axis=1)
            differs = (self._inputs.categories != self._inputs.categories[index]).sum(axis=1)
            distance = np.minimum(distance, squares + differs)
        return distance

    def probability_within(self, limit_ms: float | None) -> FloatArray:
        """Return the probability that each candidate can be measured and is within the limit, (N,)."""
        if limit_ms is None:
            return np.isfinite(self.latency_ms).astype(np.float64)
        probability = (self.latency_ms <= limit_ms).astype(np.float64)
        unknown = ~self.is_known
        probability[unknown] = ndtr(np.log(limit_ms / self.latency_ms[unknown]) / self._log_std[unknown])
        return probability

    def optimistic_ms(self, num_std: float) -> FloatArray:
        """Return latencies, (N,), predicted ones lowered by `num_std` standard deviations."""
        return self.latency_ms * np.exp(-num_std * self._log_std)

    def describe(self, candidate: int) -> str:
        """Return a candidate's latency for people, and whether it is a prediction."""
        if not self.has_scale:
            return "latency unknown"
        return f"{self.latency_ms[candidate]:.3g} ms{'' if self.is_known[candidate] else ' (predicted)'}"

    def inputs(self) -> Inputs:
        """Return the inputs of the AP model: encoding, proxies, log latency as the last ordered column; beliefs; slopes."""
        low, high = self._log_range
        log_ms = np.log(np.where(np.isfinite(self.latency_ms), self.latency_ms, np.exp(high)))
        column = (log_ms - low) / (high - low) if high > low else np.full(len(log_ms), 0.5)
        ordered = np.column_stack((self._inputs.ordered, column))
        # An earlier study has learnt what rises with what: as far as it explains, half of the expected slopes suffices.
        known = 0.0 if self.beliefs is None else float(self.beliefs.std(axis=0).mean())
        return Inputs(
            ordered=ordered,
            categories=self._inputs.categories,
            beliefs=self.beliefs,
            slopes=self._slopes * (1 - known / 2),
        )


def _unit_range(columns: FloatArray) -> FloatArray:
    """Scale each column to [0, 1]; a constant one becomes 0.5, which the trend ignores."""
    columns = np.asarray(columns, dtype=np.float64)
    low, span = columns.min(axis=0), np.ptp(columns, axis=0)
    return np.where(span > 0, (columns - low) / np.where(span > 0, span, 1.0), 0.5)
