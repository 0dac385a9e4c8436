"""A forecast of the front: untried architectures with the largest expected hypervolume improvement."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from search.front.pareto import hypervolume, staircase
from search.front.summary import Summary
from search.strategy.accuracy.estimates import MIN_TRIALS, fit_accuracy
from search.strategy.candidates import draw_neighbours, draw_pool
from spaces import Architecture
from spaces.space import Space

_WORTH_IT = 0.005
"""Expected relative growth of the hypervolume by one more training below which more budget hardly pays."""
_NUM_CANDIDATES = 5
"""The most that a forecast has."""
_SEED = 0
"""Of the pool and of the fits' starting points."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An untried architecture with its predicted figures."""

    architecture: Architecture
    ap: float
    """Expected AP."""
    ap_std: float
    """Its standard deviation."""
    latency_ms: float
    """As measured for a proposal, or predicted from measured ones with an error of about 10 %."""
    gain: float
    """Expected growth of the hypervolume, relative to that of the trials' expected AP. Over the limit nothing is gained."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The candidates for more budget."""

    candidates: tuple[Candidate, ...]
    """The most promising first; none where too few trials are complete."""

    @property
    def is_worth_it(self) -> bool:
        """Whether one more training is expected to increase the hypervolume noticeably."""
        return bool(self.candidates) and self.candidates[0].gain >= _WORTH_IT

    @property
    def title(self) -> str:
        """What the candidates are, for people."""
        return "Worth a larger budget" if self.is_worth_it else "The most promising of the networks not tried"


def forecast(
    summary: Summary,
    space: Space,
    *,
    max_latency_ms: float | None = None,
    looked_up_ms: Mapping[str, float] | None = None,
) -> Forecast:
    """Predict accuracy and latency over a pool of the study's space, and return the best candidates.

    The front that they have to improve on is that of the trials' expected AP: beside lucky scores, hardly anything seems to.

    Args:
        summary: The study.
        space: Where its architectures come from.
        max_latency_ms: The study's limit, which its reference lies beyond; None for none.
        looked_up_ms: Latencies that were measured for proposals (`ReadStudy.looked_up_ms`).
    """
    if sum(record.point is not None for record in summary.records) < MIN_TRIALS or summary.hypervolume == 0:
        return Forecast(candidates=())
    architectures = _candidates(summary, space)
    lookups, model = fit_accuracy(summary.records, architectures, looked_up_ms=looked_up_ms or {}, seed=_SEED)
    finished = model.finished_ap, model.finished_latency_ms
    whole = hypervolume(*finished, reference=summary.reference)
    if whole == 0:
        return Forecast(candidates=())
    front = staircase(*finished, reference=summary.reference)
    gain = model.expected_hypervolume_improvement(lookups.latency_ms, front=front)
    gain *= lookups.probability_within(max_latency_ms)
    tried = {record.architecture.key for record in summary.records}
    gain[[one.key in tried for one in architectures]] = -np.inf
    best = [
        Candidate(
            architecture=architectures[index],
            ap=float(model.mean[index]),
            ap_std=float(model.std[index]),
            latency_ms=float(lookups.latency_ms[index]),
            gain=float(gain[index] / whole),
        )
        for index in np.argsort(-gain)[:_NUM_CANDIDATES]
        if gain[index] > 0
    ]
    return Forecast(candidates=tuple(best))


def _candidates(summary: Summary, space: Space) -> list[Architecture]:
    """Return the tried architectures, a pool of the space and neighbours of the front, without repeats."""
    tried = [record.architecture for record in summary.records]
    front = [member.architecture for member in summary.front]
    around = [near for one in front for near in draw_neighbours(space, one, random.Random(f"{_SEED}/{one.key}"))]
    return list({one.key: one for one in (*tried, *draw_pool(space, _SEED), *around)}.values())
