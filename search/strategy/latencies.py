"""Latencies of candidates: measured where known, predicted elsewhere, and counted.

A measurement costs seconds to minutes, a training hours; a prediction is free and, after thirty measurements of real
boards, some 10 % wrong. So a spread of candidates is measured first, and later only those that would be named next.

N counts candidates, P ordered and Q unordered choices, R proxies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from search.strategy.surrogate import Inputs, SurrogateSettings, fit_surrogate
from search.study.pareto import FloatArray, IntArray

_LATENCY_EXPONENT = 0.7
"""Latency is expected to grow with this power of the multiply-adds before any is measured; measurements correct it."""

_SURROGATE = SurrogateSettings(noise_median=3e-3, trend_variance=1.0, category_variance=0.25)
"""Of log latency beyond what the multiply-adds tell: measurements repeat themselves better than trainings."""

_SLOPE = 1.0
"""Before any training, AP is expected to rise by so many of its standard deviations over the range of log MACs, of log
latency and of each rising choice: what works more or sees more is more accurate. Each study's trainings correct it."""

BoolArray = npt.NDArray[np.bool_]

Measure = Callable[[Sequence[int]], Sequence[float]]
"""Takes candidates, returns the latency of each in ms; infinity where it cannot be measured."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The architectures to choose from, encoded."""

    ordered: FloatArray
    """(N, P) choices in which order means something (truncation, widths, input size), in any unit; P may be 0."""
    categories: IntArray
    """(N, Q) choices in which it does not, as category numbers; Q may be 0."""
    proxies: FloatArray | None = None
    """(N, R) what is cheap to know of each and tells of AP and latency, log MACs first; None for nothing."""
    is_rising: BoolArray | None = None
    """(P,) ordered choices with which AP is expected to rise, such as the input size; None for none."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe the same candidates."""
        tables = [self.ordered, self.categories, *([] if self.proxies is None else [self.proxies])]
        if any(table.ndim != 2 or len(table) != len(self.ordered) for table in tables) or len(self.ordered) == 0:
            raise ValueError(
                f"candidates have shapes {[table.shape for table in tables]}; each must be (N, ...), N > 0"
            )
        if not all(np.isfinite(table).all() for table in tables):
            raise ValueError("candidates hold a value that is not finite")
        if self.is_rising is not None and self.is_rising.shape != self.ordered.shape[1:]:
            raise ValueError(f"is_rising has shape {self.is_rising.shape}; it must be {self.ordered.shape[1:]}")

    def __len__(self) -> int:
        return len(self.ordered)


class LatencyLookups:
    """What one suggestion knows of latencies, and what it may still ask.

    Args:
        candidates: N candidates.
        latency_ms: (N,) measured so far; NaN where not, infinity where it cannot be. Copied.
        measure: Answers a look-up.
        max_lookups: How many may be known in the end.
        seed: Of the spread and of the fit's starts.
    """

    def __init__(
        self,
        candidates: Candidates,
        latency_ms: FloatArray,
        *,
        measure: Measure,
        max_lookups: int,
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
        self._measure = measure
        self._max_lookups = max_lookups
        self._seed = seed
        is_rising = np.zeros(candidates.ordered.shape[1]) if candidates.is_rising is None else candidates.is_rising
        is_macs = np.arange(proxies.shape[1]) == 0
        self._slopes = _SLOPE * np.concatenate((is_rising, is_macs, [True]))  # latency is the last column
        self._expected_log_ms = _LATENCY_EXPONENT * proxies[:, 0] if proxies.shape[1] else np.zeros(len(candidates))
        self.latency_ms = latency_ms
        self.is_known: BoolArray = ~np.isnan(latency_ms)
        self._log_std = np.zeros(len(candidates))
        self._log_range = (0.0, 1.0)

    @property
    def num_left(self) -> int:
        """How many may still be measured."""
        return max(0, self._max_lookups - int(self.is_known.sum()))

    @property
    def has_scale(self) -> bool:
        """Whether any latency is measured; without one only the predictions' ratios mean something."""
        return bool((self.is_known & np.isfinite(self.latency_ms)).any())

    def look_up(self, wanted: IntArray) -> None:
        """Measure those of `wanted` that are not known, as far as the budget goes."""
        new = wanted[~self.is_known[wanted]][: self.num_left]
        if len(new) == 0:
            return
        measured = np.asarray(self._measure([int(index) for index in new]), dtype=np.float64)
        self.latency_ms[new] = np.where(np.isnan(measured), np.inf, measured)
        self.is_known[new], self._log_std[new] = True, 0.0

    def look_up_spread(self, count: int) -> None:
        """Measure candidates far from each other until `count` are known."""
        missing = count - int(self.is_known.sum())
        if missing > 0 and not self.is_known.all():
            order = np.random.default_rng(self._seed).permutation(len(self.latency_ms))
            distance = self.distance_to(np.flatnonzero(self.is_known))
            chosen: list[int] = []
            while len(chosen) < min(missing, int((~self.is_known).sum())):
                chosen.append(int(order[np.argmax(distance[order])]))
                distance = np.minimum(distance, self.distance_to(np.array(chosen[-1:])))
                distance[chosen] = -1.0
            self.look_up(np.array(chosen))

    def predict(self) -> None:
        """Predict the latencies that are not known from those that are."""
        measured = np.flatnonzero(self.is_known & np.isfinite(self.latency_ms))
        unknown = np.flatnonzero(~self.is_known)
        if len(unknown) and len(measured):
            beyond = np.log(self.latency_ms[measured]) - self._expected_log_ms[measured]
            model = fit_surrogate(self._inputs.take(measured), beyond, settings=_SURROGATE, seed=self._seed)
            mean, std = model.predict(self._inputs.take(unknown))
            self.latency_ms[unknown] = np.exp(mean + self._expected_log_ms[unknown])
            self._log_std[unknown] = np.hypot(std, model.noise_std)
        elif len(unknown):  # nothing but what they cost on paper: `has_scale` is False
            self.latency_ms[unknown], self._log_std[unknown] = np.exp(self._expected_log_ms[unknown]), 1.0
        finite = np.log(self.latency_ms[np.isfinite(self.latency_ms)])
        self._log_range = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)

    def distance_to(self, chosen: IntArray) -> FloatArray:
        """Return the squared distance of each candidate to the nearest of `chosen`, (N,); a category counts as 1."""
        distance = np.full(len(self.latency_ms), np.inf)
        for index in chosen:
            squares = ((self._encoding - self._encoding[index]) ** 2).sum(axis=1)
            differs = (self._inputs.categories != self._inputs.categories[index]).sum(axis=1)
            distance = np.minimum(distance, squares + differs)
        return distance

    def probability_within(self, limit_ms: float | None) -> FloatArray:
        """Return the probability that each candidate can be measured and is not over the limit, (N,)."""
        if limit_ms is None:
            return np.isfinite(self.latency_ms).astype(np.float64)
        probability = (self.latency_ms <= limit_ms).astype(np.float64)
        unknown = ~self.is_known
        probability[unknown] = ndtr(np.log(limit_ms / self.latency_ms[unknown]) / self._log_std[unknown])
        return probability

    def hopeful_ms(self, num_std: float) -> FloatArray:
        """Return latencies, (N,), the predicted ones lowered by `num_std` standard deviations."""
        return self.latency_ms * np.exp(-num_std * self._log_std)

    def inputs(self) -> Inputs:
        """Return what AP is predicted from: encoding, proxies and, as one more ordered column, log latency; and slopes."""
        low, high = self._log_range
        log_ms = np.log(np.where(np.isfinite(self.latency_ms), self.latency_ms, np.exp(high)))
        column = (log_ms - low) / (high - low) if high > low else np.full(len(log_ms), 0.5)
        ordered = np.column_stack((self._inputs.ordered, column))
        return Inputs(ordered=ordered, categories=self._inputs.categories, slopes=self._slopes)


def _unit_range(columns: FloatArray) -> FloatArray:
    """Scale each column to [0, 1]; one without variation becomes 0.5, which the trend ignores."""
    columns = np.asarray(columns, dtype=np.float64)
    low, span = columns.min(axis=0), np.ptp(columns, axis=0)
    return np.where(span > 0, (columns - low) / np.where(span > 0, span, 1.0), 0.5)
