"""Knowledge carried over: what earlier studies, on other data or another device, say of the AP of architectures.

Axes have much the same effect on most data: a head that is better on one is better on the next. Each earlier study's own
model of accuracy is read at the candidates. Its expectation, standardised and shrunk by how much the model explains, is the
prior mean of the new study's model, with a coefficient that the new trainings correct (`search.strategy.surrogate`). A study
that says nothing is shrunk to nothing, and one that contradicts the trainings loses its weight, or gets a negative one.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau

from search.front.pareto import FloatArray
from search.front.record import TrialRecord
from search.strategy.accuracy_model import Observation
from search.strategy.candidates import Encoder
from search.strategy.estimates import MIN_TRIALS, fit_to_observations
from search.strategy.observations import observe
from search.study.errors import StudyError
from search.study.prior import Prior, PriorTrial
from search.study.read_study import ReadStudy
from spaces import Architecture
from spaces.counted import counted

_MOST_TRIALS = 300
"""Trials kept of an earlier study, the latest; they bound the time of a suggestion."""


def learn_prior(study: ReadStudy) -> Prior:
    """Return what a study says to others.

    Raises:
        StudyError: it has too few complete trials, or they say nothing.
    """
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
        self._known: dict[str, Architecture] = {one.architecture.key: one.architecture for one in prior.trials}
        self._expected: dict[str, float] = {}
        self._doubt = 0.0
        """Variance of AP that the model does not explain: its own uncertainty and the noise of trainings."""

    def of(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return what it expects of N architectures, (N,): mean 0, standard deviation the share of variance it explains."""
        if new := {one.key: one for one in architectures if one.key not in self._expected}:
            self._known |= new
            self._fit()
        ap = np.array([self._expected[one.key] for one in architectures])
        variance = float(ap.var())
        explained = variance / (variance + self._doubt)
        return np.asarray((ap - ap.mean()) / max(ap.std(), 1e-9) * explained)

    def _fit(self) -> None:
        """Fit the model to the trials, and read it at all architectures that were ever asked for."""
        place = {key: index for index, key in enumerate(self._known)}
        latency_ms = np.full(len(place), np.nan)
        observations = []
        for one in self._prior.trials:
            index = place[one.architecture.key]
            latency_ms[index] = one.latency_ms
            observations.append(Observation(candidate=index, ap=one.ap, ap_std=one.ap_std, latency_ms=one.latency_ms))
        candidates = self._encoder.encode(list(self._known.values()))
        _, model = fit_to_observations(candidates, observations, latency_ms=latency_ms, seed=self._seed)
        self._expected = dict(zip(place, model.mean.tolist(), strict=True))
        self._doubt = float((model.std**2).mean()) + model.noise_std**2


def agreement(prior: Prior, records: Sequence[TrialRecord]) -> float | None:
    """Return Kendall's tau-b of the AP that a prior expected and that trials reached, -1 to 1.

    Args:
        prior: Of the trials' study.
        records: The study's finished trials.

    Returns:
        None for fewer than three complete trials, or equal ones.
    """
    complete = [record for record in records if record.point is not None]
    if len(complete) < 3:
        return None
    classes = max(1, *(len(record.result.per_class_ap) for record in complete))
    expected = Belief(prior, Encoder(num_classes=classes), seed=0).of([record.architecture for record in complete])
    tau = float(kendalltau(expected, [record.result.ap for record in complete]).statistic)
    return tau if np.isfinite(tau) else None
