"""The strategy `ehvi` in one call: which candidate to train next, when latency is cheap and accuracy is expensive to learn.

:func:`suggest` keeps no state. Given the candidates, the trained ones and the latencies measured so far, it measures the
few latencies that matter now, through the callable it is given, and returns a candidate. A resumed study that passes the
same history and the same latencies gets the same answer.

1. **Latencies.** Some candidates, spread over the encoding, are measured at the start; they predict the latency of the
   others (`search.strategy.latency.lookups`). A candidate is chosen only if it still leads after its own measurement.
2. **First trainings.** They spread over log latency and over the encoding (`search.strategy.initial_design`).
3. **Later trainings.** A Gaussian process predicts AP (`search.strategy.accuracy.model`); the candidate with the largest
   expected hypervolume improvement for its cost is chosen (`search.strategy.acquisition`).

AP is maximised, latency minimised. N counts candidates; indices point into them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.front.pareto import FloatArray, Reference
from search.strategy.accuracy.model import AccuracyModel, Observation
from search.strategy.acquisition import Acquisition
from search.strategy.candidates import BoolArray, Candidates
from search.strategy.initial_design import InitialDesign
from search.strategy.latency.lookups import LatencyLookups, Measure
from search.strategy.one_thread import on_one_thread
from search.strategy.settings import StrategySettings

_MIN_OBSERVED = 2
"""Observations that the model of AP needs: one has no spread to measure differences by."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """The candidate to train next."""

    candidate: int
    """Index of the candidate."""
    why: str
    """Why it was chosen, in one sentence with its figures."""


@on_one_thread
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
    """Return the candidate to train next.

    Args:
        candidates: N candidates.
        observations: Trained candidates, oldest first.
        latency_ms: (N,) measured latencies; NaN where not measured, infinity where it cannot be. Not changed.
        measure: Measures candidates. The caller passes its results again in the next call's `latency_ms`.
        reference: The corner that hypervolume is counted from.
        settings: Limit and effort.
        pending: Candidates in training; they count as trained, with their expected AP.
        excluded: Other candidates not to choose, such as failed ones.
        seed: Of the spreads and of the fits' starting points.

    Returns:
        None when no candidate is left.

    Raises:
        ValueError: `latency_ms` does not fit the candidates.
    """
    settings = settings or StrategySettings()
    lookups = LatencyLookups(
        candidates,
        _with_observed(latency_ms, observations),
        measure=measure,
        max_lookups=settings.max_lookups,
        max_learnt=settings.max_learnt,
        seed=seed,
    )
    lookups.look_up_spread(settings.num_first_lookups)
    lookups.predict()
    if not lookups.num_left:
        settings = replace(settings, num_lookups=0)
    started = [*(observation.candidate for observation in observations), *pending]
    is_free = np.ones(len(candidates), dtype=bool)
    is_free[[*started, *excluded]] = False
    criterion: InitialDesign | Acquisition
    if len(started) < settings.num_first or len(observations) < min(_MIN_OBSERVED, settings.num_first):
        limit_ms = min(settings.max_latency_ms or np.inf, reference.latency_ms)
        criterion = InitialDesign(lookups, started, num_first=settings.num_first, limit_ms=limit_ms, seed=seed)
    else:
        model = AccuracyModel(
            lookups,
            observations,
            pending=pending,
            max_learnt=settings.max_learnt,
            settings=settings.surrogate,
            seed=seed,
        )
        criterion = Acquisition(lookups, model, reference=reference, settings=settings)
    chosen = _select(lookups, is_free, score=criterion.score, num_lookups=settings.num_lookups)
    return None if chosen is None else Suggestion(candidate=chosen, why=criterion.why(chosen))


def _with_observed(latency_ms: FloatArray, observations: Sequence[Observation]) -> FloatArray:
    latency_ms = np.array(latency_ms, dtype=np.float64)
    trained = [observation.candidate for observation in observations]
    latency_ms[trained] = [observation.latency_ms for observation in observations]
    return latency_ms


def _select(
    lookups: LatencyLookups, is_free: BoolArray, *, score: Callable[[BoolArray], FloatArray], num_lookups: int
) -> int | None:
    """Return the free candidate of the highest score, measuring those that lead only by a predicted latency."""
    for _ in range(num_lookups):
        scores = score(is_free)
        best = int(np.argmax(scores))
        if scores[best] == -np.inf or lookups.is_known[best] or not lookups.num_left:
            break
        lookups.look_up(np.array([best]))
    scores = score(is_free)
    known = np.where(lookups.is_known | (num_lookups == 0), scores, -np.inf)
    best = int(np.argmax(known if (known > -np.inf).any() else scores))
    return best if scores[best] > -np.inf else None
