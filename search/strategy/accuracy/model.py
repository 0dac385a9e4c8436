"""The model of accuracy: a Gaussian process on the AP of trained candidates, read at every candidate.

It works on a scale of AP that the scores decide (`search.strategy.accuracy.scale`). Its inputs are the encoding, the proxies
and log latency (`LatencyLookups.inputs`). N counts candidates, M finished ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.front.pareto import FloatArray, IntArray, Reference, Staircase, staircase
from search.strategy.accuracy.scale import SCALES, ApScale
from search.strategy.hypervolume_improvement import expected_hypervolume_improvement, log_probability_of_joining
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.surrogate import Inputs, Surrogate, SurrogateSettings, evenly, fit_surrogate

_FEWEST_TO_CHOOSE = 8
"""Observations that can tell one scale from another."""
_ALIKE = 1e-6
"""AP; scores within it count as equal. On every scale they are equally likely, and the scale's slope would decide."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One trained candidate."""

    candidate: int
    """Index of the candidate."""
    ap: float
    """Its AP. An extrapolated one may lie outside [0, 1] and counts as the nearer end."""
    latency_ms: float
    """Its measured latency."""
    ap_std: float = 0.0
    """Uncertainty of `ap` beyond the noise of training. More than 0 for one extrapolated from a pruned training: the
    model learns from it, but it is not on the front."""


class AccuracyModel:
    """Predicts the AP of every candidate.

    Args:
        lookups: The candidates and their latencies.
        observations: At least one.
        pending: Candidates in training; they count as trained, with their expected AP.
        max_learnt: How many observations it learns from at most; None for all.
        scales: Of AP, of which the scores choose; the first where they are few or all equal.
        settings: Of the Gaussian process.
        seed: Of the fit's starting points.
    """

    def __init__(
        self,
        lookups: LatencyLookups,
        observations: Sequence[Observation],
        *,
        pending: Sequence[int],
        max_learnt: int | None = None,
        scales: Sequence[ApScale] = SCALES,
        settings: SurrogateSettings,
        seed: int,
    ) -> None:
        self._lookups = lookups
        self._latency_ms = lookups.latency_ms.copy()
        trained = np.array([observation.candidate for observation in observations], dtype=np.int64)
        ap = np.clip([observation.ap for observation in observations], 0.0, 1.0)
        ap_std = np.array([observation.ap_std for observation in observations])
        inputs, waiting = lookups.inputs(), np.array(pending, dtype=np.int64)
        self._finished = np.concatenate((trained[ap_std == 0], waiting))
        some = evenly(len(trained), max_learnt or len(trained))
        self.scale, self._model = _fit(
            scales, inputs.take(trained[some]), ap[some], ap_std=ap_std[some], settings=settings, seed=seed
        )
        """That of AP, chosen by the scores."""
        scaled, scaled_std = self.scale.of(ap), ap_std * self.scale.slope(ap)
        if len(some) < len(trained):
            # By expected AP: of noisy scores, the lucky ones would be chosen.
            expected, _ = self.scale.back(*self._model.predict(inputs.take(trained)))
            kept = _most_telling(expected, lookups.latency_ms[trained], len(some))
            trained, scaled, scaled_std = trained[kept], scaled[kept], scaled_std[kept]
            self._model = self._model.given(inputs.take(trained), scaled, noise_std=scaled_std)
        if pending:
            scaled = np.concatenate((scaled, self._model.predict(inputs.take(waiting))[0]))
            scaled_std = np.concatenate((scaled_std, np.zeros(len(waiting))))
            trained = np.concatenate((trained, waiting))
            self._model = self._model.given(inputs.take(trained), scaled, noise_std=scaled_std)
        self.scaled_mean, self.scaled_std = self._model.predict(inputs)
        """(N,) each: of the normal distribution that the candidates' AP has on `scale`. It knows nothing of 0 and 1."""
        self.mean, self.std = self.scale.back(self.scaled_mean, self.scaled_std)
        """(N,) each: expected AP of the candidates (the median), and its standard deviation; 0 to 1."""

    @property
    def finished_ap(self) -> FloatArray:
        """(M,) AP of the finished candidates: what the model expects, since a lucky score would hide everything near it."""
        return np.asarray(self.mean[self._finished])

    @property
    def finished_latency_ms(self) -> FloatArray:
        """(M,) their latencies."""
        return np.asarray(self._lookups.latency_ms[self._finished])

    @property
    def scaled_noise_std(self) -> float:
        """The learnt noise of one training, on `scale`."""
        return self._model.noise_std

    def expected_hypervolume_improvement(self, latency: FloatArray, *, front: Staircase) -> FloatArray:
        """Return what each candidate is expected to add to a front, (N,), in AP times the unit of latency.

        Args:
            latency: (N,) latencies of the candidates, in ms or, if the front's edges are, in log ms.
            front: `staircase` of the trials so far.
        """
        gains = self.scale.expected_improvement(self.scaled_mean, self.scaled_std, front[0])
        return expected_hypervolume_improvement(gains, latency, front=front)

    def log_probability_of_joining(self, latency: FloatArray, *, front: Staircase) -> FloatArray:
        """Return the logarithm of the probability that each candidate joins a front, (N,); arguments as above."""
        levels, edges = front
        scaled = self.scale.of(levels), edges
        return log_probability_of_joining(self.scaled_mean, self.scaled_std, latency, front=scaled)

    def log_density(self, candidates: IntArray, ap: FloatArray) -> FloatArray:
        """Return the log density, in units of AP, of scores of candidates, (M,) each."""
        mean, std = self._model.predict(self._lookups.inputs().take(candidates))
        std = np.hypot(std, self._model.noise_std)
        off = (self.scale.of(ap) - mean) / std
        return np.asarray(-0.5 * (off**2 + np.log(2 * np.pi)) - np.log(std) + np.log(self.scale.slope(ap)))

    def update(self) -> None:
        """Predict AP again where a look-up has changed the latency, which is one of the model's inputs."""
        changed = np.flatnonzero(self._lookups.latency_ms != self._latency_ms)
        if len(changed):
            mean, std = self._model.predict(self._lookups.inputs().take(changed))
            self.scaled_mean[changed], self.scaled_std[changed] = mean, std
            self.mean[changed], self.std[changed] = self.scale.back(mean, std)
            self._latency_ms = self._lookups.latency_ms.copy()


def _fit(
    scales: Sequence[ApScale],
    inputs: Inputs,
    ap: FloatArray,
    *,
    ap_std: FloatArray,
    settings: SurrogateSettings,
    seed: int,
) -> tuple[ApScale, Surrogate]:
    """Return the scale on which the scores are most likely, and the process on it; arrays are of N observations."""
    found = list[tuple[float, ApScale, Surrogate]]()
    fitted = evenly(len(ap), settings.max_fit_points)  # the evidence is theirs
    can_choose = len(ap) >= _FEWEST_TO_CHOOSE and np.ptp(ap[fitted]) > _ALIKE
    for scale in scales if can_choose else scales[:1]:
        slope = scale.slope(ap)
        model = fit_surrogate(inputs, scale.of(ap), noise_std=ap_std * slope, settings=settings, seed=seed)
        found.append((model.log_evidence + float(np.log(slope[fitted]).sum()), scale, model))
    _, scale, model = max(found, key=lambda one: one[0])
    return scale, model


def _most_telling(ap: FloatArray, latency_ms: FloatArray, count: int) -> IntArray:
    """Return which observations to learn from, in order: half of `count` next to the front, the others evenly from the rest.

    What is chosen next lies near the front; the rest shows where not to look.
    """
    levels, edges_ms = staircase(ap, latency_ms, reference=Reference(ap=0.0, latency_ms=float(latency_ms.max()) * 2))
    below = levels[np.searchsorted(edges_ms, latency_ms, side="right") - 1] - ap
    by_distance = np.argsort(below, kind="stable")
    near, others = by_distance[: count // 2], np.sort(by_distance[count // 2 :])
    return np.sort(np.concatenate((near, others[evenly(len(others), count - len(near))])))
