"""The default strategy: which architecture to train next, its latency being known or cheap to learn.

One call answers one question and keeps nothing: given the candidates, what has been trained, and the latencies measured
so far, :func:`suggest` measures the few latencies that matter now (through the callable it is given) and names a
candidate. A resumed study that passes the same history and the same latencies gets the same answer.

1. **Latencies.** A spread of candidates is measured at the start and predicts the others (:mod:`search.strategy.latencies`). A
   candidate that is about to be named is measured first, and named only if it is still the best.
2. **First trainings.** Evenly spread over log latency; within each range, far from what is already trained.
3. **Afterwards.** A Gaussian process on AP, over the encoding and log latency, which expects more of what costs more or
   sees more until trainings say otherwise, and the candidate of the largest expected hypervolume improvement at its latency.

AP is maximised, latency minimised. N counts candidates; indices point into them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

import numpy as np

from search.strategy.acquisition import expected_hypervolume_improvement, log_probability_of_joining
from search.strategy.latencies import BoolArray, Candidates, LatencyLookups, Measure
from search.strategy.surrogate import SurrogateSettings, fit_surrogate
from search.study.pareto import FloatArray, Reference


@dataclass(frozen=True, kw_only=True)
class StrategySettings:
    """What the strategy aims at and what it may spend."""

    max_latency_ms: float | None = None
    """Candidates slower than this are not named; None for no limit; more than 0."""
    num_first: int = 8
    """Trainings spread over latency before the model of AP is trusted, at least 1."""
    num_first_lookups: int = 32
    """Latencies measured before the first training; 0 tells them from what candidates cost on paper until trials end."""
    num_lookups: int = 6
    """Latencies measured at most for one suggestion. 0 names candidates by their predicted latency: where a training begins
    with its own measurement, that is the look-up, and it costs nothing more."""
    num_hopeful_std: float = 2.0
    """Predicted latencies count as so many standard deviations faster when deciding what to measure, at least 0."""
    max_lookups: int = 300
    """Latencies measured altogether, those of trained candidates included; at least 1. Once spent, only candidates of
    known latency are named, while there are any."""
    fixed_cost: float = 1.0
    """The promise of a candidate is divided by what its training costs: its latency, for a network that is slow to run is
    slow to train, and this many times the candidates' median latency, for what every training costs whatever its network;
    at least 0. It depends on no clock, so that a repeated search proposes the same. 397 trainings of space tiny on two cores
    took 10.4 s and 8.5 s a millisecond, which is 2; in a simulation of them 0.5 to 4 did equally well, 0 worse, since
    it spent half of the trainings on the fastest networks."""
    surrogate: SurrogateSettings = field(default_factory=SurrogateSettings)
    """Of the Gaussian process on AP."""

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        if self.max_latency_ms is not None and not self.max_latency_ms > 0:
            raise ValueError(f"max_latency_ms is {self.max_latency_ms}; it must be above 0, or None for no limit")
        for name in ("num_first_lookups", "num_lookups"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        for name in ("num_first", "max_lookups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("num_hopeful_std", "fixed_cost"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One trained candidate."""

    candidate: int
    """Index of the candidate."""
    ap: float
    """Its AP in [0, 1]."""
    latency_ms: float
    """Its measured latency."""
    ap_std: float = 0.0
    """How uncertain `ap` is beyond the noise of training. More than 0 for one extrapolated from a pruned training: it
    teaches the model, but is not on the front."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """The candidate to train next, and why."""

    candidate: int
    """Index of the candidate."""
    latency_ms: float
    """Its latency."""
    is_latency_measured: bool
    """Whether that is a measurement and not a prediction."""
    reason: Literal["spread", "hypervolume"]
    """"spread" for one of the first trainings; "hypervolume" for the largest expected improvement."""
    ap_mean: float | None = None
    """Expected AP; None for "spread"."""
    ap_std: float | None = None
    """Standard deviation of that expectation; None for "spread"."""
    gain: float | None = None
    """Expected hypervolume improvement, in AP times ms; None for "spread"."""


def suggest(
    candidates: Candidates,
    observations: Sequence[Observation],
    *,
    latency_ms: FloatArray,
    measure: Measure,
    reference: Reference,
    settings: StrategySettings | None = None,
    pending: Sequence[int] = (),
    excluded: Sequence[int] = (),
    seed: int = 0,
) -> Suggestion | None:
    """Name the candidate to train next.

    Args:
        candidates: N candidates.
        observations: What has been trained, oldest first.
        latency_ms: (N,) measured latencies; NaN where not measured, infinity where it cannot be. Not changed.
        measure: Called with candidates whose latency is wanted; the answers belong into the next call's `latency_ms`.
        reference: The corner that hypervolume is counted from.
        settings: Aim and spending.
        pending: Candidates in training now; they count as trained, with the AP that is expected of them.
        excluded: Other candidates not to name, such as failed ones.
        seed: Of the spreads and of the fits' starts.

    Returns:
        None when no candidate is left that may be named.

    Raises:
        ValueError: `latency_ms` does not fit the candidates.
    """
    settings = settings or StrategySettings()
    latency_ms = np.array(latency_ms, dtype=np.float64)
    started = [observation.candidate for observation in observations]
    latency_ms[started] = [observation.latency_ms for observation in observations]
    started += pending
    lookups = LatencyLookups(
        candidates,
        latency_ms,
        measure=measure,
        max_lookups=settings.max_lookups,
        seed=seed,
    )
    lookups.look_up_spread(settings.num_first_lookups)
    lookups.predict()
    is_free = np.ones(len(candidates), dtype=bool)
    is_free[[*started, *excluded]] = False
    if len(started) < settings.num_first or not observations:
        spread = _Spread(lookups, started, reference=reference, settings=settings, seed=seed)
        chosen = _settle(lookups, is_free, score=spread.score, settings=settings)
        return None if chosen is None else _suggestion(lookups, chosen, "spread")
    promise = _Promise(lookups, observations, pending=pending, reference=reference, settings=settings, seed=seed)
    chosen = _settle(lookups, is_free, score=promise.score, settings=settings)
    return None if chosen is None else promise.suggestion(chosen)


def _settle(
    lookups: LatencyLookups,
    is_free: BoolArray,
    *,
    score: Callable[[BoolArray], FloatArray],
    settings: StrategySettings,
) -> int | None:
    """Return the free candidate of the highest score, measuring those that lead only by a predicted latency."""
    for _ in range(settings.num_lookups):
        scores = score(is_free)
        best = int(np.argmax(scores))
        if scores[best] == -np.inf or lookups.is_known[best] or not lookups.num_left:
            break
        lookups.look_up(np.array([best]))
    scores = score(is_free)
    known = np.where(lookups.is_known | (settings.num_lookups == 0), scores, -np.inf)
    best = int(np.argmax(known if (known > -np.inf).any() else scores))
    return best if scores[best] > -np.inf else None


def _suggestion(lookups: LatencyLookups, candidate: int, reason: Literal["spread", "hypervolume"]) -> Suggestion:
    return Suggestion(
        candidate=candidate,
        latency_ms=float(lookups.latency_ms[candidate]),
        is_latency_measured=bool(lookups.is_known[candidate]),
        reason=reason,
    )


class _Spread:
    """Scores the first trainings: near the latency that is farthest from all started ones, then far in the encoding."""

    def __init__(
        self,
        lookups: LatencyLookups,
        started: Sequence[int],
        *,
        reference: Reference,
        settings: StrategySettings,
        seed: int,
    ) -> None:
        self._lookups = lookups
        limit_ms = min(settings.max_latency_ms or np.inf, reference.latency_ms)
        self._limit_ms = limit_ms if lookups.has_scale else None
        random = np.random.default_rng([seed, len(started)])
        self._distance = np.minimum(lookups.distance_to(np.array(started, dtype=np.int64)), 100.0)
        self._distance += 1e-3 * random.random(len(self._distance))
        log_ms = np.log(lookups.latency_ms)
        eligible = lookups.probability_within(self._limit_ms) >= 0.5
        eligible = eligible if eligible.any() else np.isfinite(log_ms)
        low, high = (log_ms[eligible].min(), log_ms[eligible].max()) if eligible.any() else (0.0, 0.0)
        targets = np.linspace(low, high, settings.num_first)
        apart = np.abs(targets[:, None] - log_ms[list(started)]).min(axis=1, initial=np.inf)
        self._target = float(random.choice(targets[apart >= apart.max()]))
        self._reach = 0.5 * (high - low) / max(1, len(targets) - 1)

    def score(self, is_free: BoolArray) -> FloatArray:
        """Return (N,): distance in the encoding for those near the target, negative for the others, -inf if taken."""
        within = self._lookups.probability_within(self._limit_ms)
        off = np.abs(np.log(self._lookups.latency_ms) - self._target)
        near = (off <= self._reach) & (within >= 0.5)
        if (near & is_free & self._lookups.is_known).any():
            near &= self._lookups.is_known  # measured ones are at hand: no need to measure more
        scores = np.where(near, self._distance, np.where(within >= 0.5, -1.0 - off, -1e3 + within))
        return np.where(is_free & (within > 0), scores, -np.inf)


class _FrontArguments(TypedDict):
    front_ap: FloatArray
    front_latency_ms: FloatArray
    reference: Reference


class _Promise:
    """Scores candidates by the logarithm of the hypervolume they are expected to add for their cost."""

    def __init__(
        self,
        lookups: LatencyLookups,
        observations: Sequence[Observation],
        *,
        pending: Sequence[int],
        reference: Reference,
        settings: StrategySettings,
        seed: int,
    ) -> None:
        self._lookups = lookups
        self._reference = reference
        self._limit_ms = settings.max_latency_ms
        # Hope is for choosing what to measure; what is named unmeasured is judged by what is expected of it.
        self._num_hopeful_std = settings.num_hopeful_std if settings.num_lookups else 0.0
        self._fixed_cost = settings.fixed_cost
        trained = np.array([observation.candidate for observation in observations], dtype=np.int64)
        ap = np.array([observation.ap for observation in observations])
        ap_std = np.array([observation.ap_std for observation in observations])
        inputs = lookups.inputs()
        self._model = fit_surrogate(inputs.take(trained), ap, noise_std=ap_std, settings=settings.surrogate, seed=seed)
        if pending:
            waiting = np.array(pending, dtype=np.int64)
            believed, _ = self._model.predict(inputs.take(waiting))
            trained, ap = np.concatenate((trained, waiting)), np.concatenate((ap, believed))
            ap_std = np.concatenate((ap_std, np.zeros(len(waiting))))
            self._model = self._model.given(inputs.take(trained), ap, noise_std=ap_std)
        self._latency_ms = lookups.latency_ms.copy()
        self._mean, self._std = self._model.predict(inputs)
        finished = trained[ap_std == 0]
        # The model's mean, not the score: a lucky score would hide everything near it.
        self._front_ap, self._front_ms = self._mean[finished], lookups.latency_ms[finished]

    def score(self, is_free: BoolArray) -> FloatArray:
        """Return (N,); -inf if taken, over the limit or without a latency."""
        self._update()
        hopeful_ms = self._lookups.hopeful_ms(self._num_hopeful_std)
        within = self._lookups.probability_within(self._limit_ms)
        possible = is_free & (within > 0)
        with np.errstate(divide="ignore"):
            log_within = np.log(within)
            scores = np.where(possible, np.log(self._gain(hopeful_ms)) + log_within - self._log_cost(), -np.inf)
        if (scores > -np.inf).any():
            return scores
        # Nothing promises a gain that a float can hold: the likeliest to join the front leads.
        joining = log_probability_of_joining(self._mean, self._std, self._lookups.latency_ms, **self._front())
        return np.where(possible, joining + log_within, -np.inf)

    def _log_cost(self) -> FloatArray:
        latency_ms = self._lookups.latency_ms
        median_ms = float(np.median(latency_ms[np.isfinite(latency_ms)]))
        return np.log(np.where(np.isfinite(latency_ms), latency_ms, 0.0) + self._fixed_cost * median_ms)

    def suggestion(self, candidate: int) -> Suggestion:
        """Return the candidate with the figures it was chosen for."""
        return replace(
            _suggestion(self._lookups, candidate, "hypervolume"),
            ap_mean=float(self._mean[candidate]),
            ap_std=float(self._std[candidate]),
            gain=float(self._gain(self._lookups.latency_ms)[candidate]),
        )

    def _gain(self, latency_ms: FloatArray) -> FloatArray:
        return expected_hypervolume_improvement(self._mean, self._std, latency_ms, **self._front())

    def _front(self) -> _FrontArguments:
        return {
            "front_ap": self._front_ap,
            "front_latency_ms": self._front_ms,
            "reference": self._reference,
        }

    def _update(self) -> None:
        """Predict AP again where a look-up has changed the latency, which is one of the model's inputs."""
        changed = np.flatnonzero(self._lookups.latency_ms != self._latency_ms)
        if len(changed):
            self._mean[changed], self._std[changed] = self._model.predict(self._lookups.inputs().take(changed))
            self._latency_ms = self._lookups.latency_ms.copy()
