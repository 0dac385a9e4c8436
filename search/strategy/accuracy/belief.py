"""Knowledge carried over: what earlier studies, on other data or another device, say of the AP of architectures.

Axes have much the same effect on most data: a head that is better on one is better on the next. Each earlier study's own
model of accuracy is read at the candidates. Its expectation, standardised and shrunk by how much the model explains, is the
prior mean of the new study's model, with a coefficient that the new trainings correct (`search.strategy.surrogate`). A study
that says nothing is shrunk to nothing, and one that contradicts the trainings loses its weight, or gets a negative one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from search.front.pareto import FloatArray
from search.front.record import TrialRecord
from search.strategy.accuracy.estimates import MIN_TRIALS, fit_to_observations
from search.strategy.accuracy.model import Observation
from search.strategy.accuracy.observations import observe
from search.strategy.accuracy.scale import ApScale
from search.strategy.candidates import Encoder
from search.strategy.latency.lookups import LATENCY_EXPONENT
from search.study.errors import StudyError
from search.study.prior import SHARED_WEIGHTS, Prior, PriorTrial
from search.study.read_study import ReadStudy
from spaces import Architecture
from spaces.counted import counted
from spaces.networks import count_cost

_SCALES: tuple[ApScale, ...] = (ApScale(power=1.0),)
"""On another scale an earlier study predicted the order of later ones less well (`benchmarks/accuracy_scale.py`)."""
_NUM_RESAMPLES = 400
_MOST_TRIALS = 300
"""Trials kept of an earlier study, the latest; they bound the time of a suggestion."""


def learn_prior(study: ReadStudy) -> Prior:
    """Return what a study says to others.

    Raises:
        StudyError: it has too few complete trials, they say nothing, or they inherited weights.
    """
    if study.inherit:
        raise StudyError(
            f"study {study.name!r} cannot be a prior: its trials inherited weights, so their AP cannot be compared",
            hint="name one that was searched without --inherit, or leave --prior out",
        )
    records = study.summary.records
    complete = [record for record in records if record.point is not None]
    if len(complete) < MIN_TRIALS or len({record.result.ap for record in complete}) == 1:
        raise StudyError(
            f"study {study.name!r} has {counted(len(complete), 'complete trial(s)')}"
            f"{'' if len(complete) < MIN_TRIALS else ', all of one AP'}; a prior needs {MIN_TRIALS} that differ",
            hint="continue its search, or leave --prior out",
        )
    trials = [
        PriorTrial(
            architecture=records[seen.candidate].architecture,
            ap=seen.ap,
            ap_std=seen.ap_std,
            latency_ms=seen.latency_ms,
        )
        for seen in observe(records, {record.number: place for place, record in enumerate(records)})
    ]
    return Prior(study=study.name, dataset=study.dataset, trials=tuple(trials[-_MOST_TRIALS:]))


def shared_prior(scores: Sequence[tuple[Architecture, float]], *, dataset: str, num_classes: int) -> Prior:
    """Return what the scores of networks with shared weights say.

    Their latencies are not measured; multiply-adds stand for them, as in the latency model before its first measurement.

    Args:
        scores: Networks and their AP.
        dataset: As the user typed it.
        num_classes: Of the networks.
    """
    trials = []
    for architecture, ap in scores:
        macs = count_cost(architecture, num_classes=num_classes).macs
        trials.append(PriorTrial(architecture=architecture, ap=ap, ap_std=0.0, latency_ms=macs**LATENCY_EXPONENT))
    return Prior(study=SHARED_WEIGHTS, dataset=dataset, trials=tuple(trials))


def says_nothing(prior: Prior) -> bool:
    """Return whether too few trials, or trials of one AP, are all that a prior has."""
    return len(prior.trials) < MIN_TRIALS or len({one.ap for one in prior.trials}) == 1


class Belief:
    """What an earlier study expects of candidates.

    Args:
        prior: Its trials.
        encoder: Of the candidates.
        seed: Of the fit's starting points.
    """

    def __init__(self, prior: Prior, encoder: Encoder, *, seed: int) -> None:
        self._prior = prior
        self._encoder = encoder
        self._seed = seed
        aspects = Counter(one.architecture.aspect for one in prior.trials)
        self._aspects, self._usual_aspect = frozenset(aspects), max(aspects, key=aspects.__getitem__)

    def of(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return what it expects of N architectures, (N,): mean 0, standard deviation the share of variance it explains.

        A posterior mean would have the square root of that share. The smaller figure is the more cautious one.
        """
        known = {one.architecture.key: one.architecture for one in self._prior.trials}
        asked = [self._at_known_aspect(one) for one in architectures]
        known |= {one.key: one for one in asked}
        place = {key: index for index, key in enumerate(known)}
        latency_ms = np.full(len(place), np.nan)
        observations = []
        for one in self._prior.trials:
            index = place[one.architecture.key]
            latency_ms[index] = one.latency_ms
            observations.append(Observation(candidate=index, ap=one.ap, ap_std=one.ap_std, latency_ms=one.latency_ms))
        candidates = self._encoder.encode(list(known.values()))
        _, model = fit_to_observations(candidates, observations, latency_ms=latency_ms, scales=_SCALES, seed=self._seed)
        wanted = [place[one.key] for one in asked]
        # Not cut to [0, 1]: where hardly anything was learnt, many expectations are at or below 0, and their order counts.
        ap, std = model.scaled_mean[wanted], model.scaled_std[wanted]
        doubt = float((std**2).mean()) + model.scaled_noise_std**2
        explained = float(ap.var()) / (float(ap.var()) + doubt)
        return np.asarray((ap - ap.mean()) / max(float(ap.std()), 1e-9) * explained)

    def _at_known_aspect(self, architecture: Architecture) -> Architecture:
        """Return an architecture with an aspect of the earlier study's, whose images had other shapes."""
        known = architecture.aspect in self._aspects
        return architecture if known else architecture.replace(aspect=self._usual_aspect)


def weighed(beliefs: FloatArray) -> FloatArray:
    """Scale the beliefs of K earlier studies, (N, K), so that their mean counts each by how much its study explains.

    Without this, one that says nothing would take half of the weight of one that says much.
    """
    explained = beliefs.std(axis=0)
    return np.asarray(beliefs * explained / max(float(explained.mean()), 1e-9))


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the order that a prior expected was that of the trials: Kendall's tau-b, -1 to 1."""

    tau: float
    """Over all trials."""
    low: float
    """Lower end of its 95 % interval, from resampled trials."""
    high: float
    """Upper end."""
    within_size: float | None
    """Over the pairs of trials of one input size; None where there are none."""


def agreement(prior: Prior, records: Sequence[TrialRecord]) -> Agreement | None:
    """Compare the order of AP that a prior expected with that which trials reached.

    Args:
        prior: Of the trials' study.
        records: The study's finished trials.

    Returns:
        None for fewer than `MIN_TRIALS` complete trials, or equal ones, and for a prior that says nothing.
    """
    complete = [record for record in records if record.point is not None]
    if len(complete) < MIN_TRIALS or says_nothing(prior):
        return None
    classes = max(1, *(len(record.result.per_class_ap) for record in complete))
    expected = Belief(prior, Encoder(num_classes=classes), seed=0).of([record.architecture for record in complete])
    reached = np.array([record.result.ap for record in complete])
    tau = _tau(expected, reached)
    if not np.isfinite(tau):
        return None
    rng = np.random.default_rng(0)
    draws = (rng.integers(len(complete), size=len(complete)) for _ in range(_NUM_RESAMPLES))
    resampled = [_tau(expected[draw], reached[draw]) for draw in draws]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    sizes = np.array([record.architecture.input_size for record in complete])
    one, other = np.nonzero(np.triu(sizes[:, None] == sizes[None], k=1))
    agreed = np.sign(expected[one] - expected[other]) * np.sign(reached[one] - reached[other])
    return Agreement(tau=tau, low=float(low), high=float(high), within_size=float(agreed.mean()) if len(one) else None)


def _tau(expected: FloatArray, reached: FloatArray) -> float:
    return float(kendalltau(expected, reached).statistic)
