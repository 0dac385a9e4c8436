"""A forecast of the front: untried architectures with the largest expected hypervolume improvement."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.strategy.candidates import Encoder, draw_neighbours, draw_pool
from search.strategy.hypervolume_improvement import expected_hypervolume_improvement
from search.strategy.latency_lookups import LatencyLookups
from search.strategy.surrogate import fit_surrogate
from search.study.pareto import staircase
from search.study.summary import Summary
from spaces import Architecture
from spaces.space import Space

_MIN_TRIALS = 8
_WORTH_IT = 0.005
"""Expected relative growth of the hypervolume by one more training below which more budget hardly pays."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An untried architecture with its predicted figures."""

    architecture: Architecture
    ap: float
    """Expected AP."""
    ap_std: float
    """Its standard deviation."""
    latency_ms: float
    """Predicted from the trials' latencies, with an error of about 10 %."""
    gain: float
    """Expected growth of the hypervolume, relative to its present value."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The candidates for more budget."""

    candidates: tuple[Candidate, ...]
    """The most promising first; none where too few trials are complete."""

    @property
    def is_worth_it(self) -> bool:
        """Whether one more training is expected to increase the hypervolume noticeably."""
        return bool(self.candidates) and self.candidates[0].gain >= _WORTH_IT


def forecast(summary: Summary, space: Space, *, count: int = 5, seed: int = 0) -> Forecast:
    """Predict accuracy and latency over a pool of the study's space, and return the best candidates."""
    complete = [(record.architecture, record.point) for record in summary.records if record.point is not None]
    if len(complete) < _MIN_TRIALS or summary.hypervolume == 0:
        return Forecast(candidates=())
    architectures = _candidates(summary, space, seed)
    place = {one.key: index for index, one in enumerate(architectures)}
    lookups = _predict_latencies(summary, architectures, place, seed)
    inputs, trained = lookups.inputs(), np.array([place[architecture.key] for architecture, _ in complete])
    ap = np.array([point[0] for _, point in complete])
    mean, std = fit_surrogate(inputs.take(trained), ap, seed=seed).predict(inputs)
    front = staircase(ap, lookups.latency_ms[trained], reference=summary.reference)
    gain = expected_hypervolume_improvement(mean, std, lookups.latency_ms, front=front)
    gain[[place[record.architecture.key] for record in summary.records]] = -np.inf
    whole = summary.hypervolume * summary.reference.latency_ms
    best = [
        Candidate(
            architecture=architectures[index],
            ap=float(mean[index]),
            ap_std=float(std[index]),
            latency_ms=float(lookups.latency_ms[index]),
            gain=float(gain[index] / whole),
        )
        for index in np.argsort(-gain)[:count]
        if gain[index] > 0
    ]
    return Forecast(candidates=tuple(best))


def _candidates(summary: Summary, space: Space, seed: int) -> list[Architecture]:
    """Return the tried architectures, a pool of the space and neighbours of the front, without repeats."""
    tried = [record.architecture for record in summary.records]
    front = [member.architecture for member in summary.front]
    around = [near for one in front for near in draw_neighbours(space, one, random.Random(f"{seed}/{one.key}"))]
    return list({one.key: one for one in (*tried, *draw_pool(space, seed), *around)}.values())


def _predict_latencies(
    summary: Summary, architectures: Sequence[Architecture], place: Mapping[str, int], seed: int
) -> LatencyLookups:
    latency_ms = np.full(len(architectures), np.nan)
    for record in summary.records:
        if record.result.latency is not None:
            latency_ms[place[record.architecture.key]] = record.result.latency.median_ms
    num_classes = max(len(record.result.per_class_ap) for record in summary.records if record.point is not None)
    encoded = Encoder(num_classes=max(1, num_classes)).encode(architectures)
    lookups = LatencyLookups(encoded, latency_ms, measure=lambda wanted: [], max_lookups=0, seed=seed)
    lookups.predict()
    return lookups
