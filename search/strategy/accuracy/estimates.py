"""Estimates of the AP of a study's trials, from the model of accuracy: what each score says about the others.

On the networks of YOLOBench with added noise, the estimates of a front's members are less biased than their scores, and
their 5–95 % ranges hold the true AP in 91 to 100 % of cases: `python -m benchmarks.calibration`, docs/measurements.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from search.front.estimate import NOISE, Estimate, estimate_from_repeats
from search.front.pareto import FloatArray
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.strategy.accuracy.model import AccuracyModel, Observation
from search.strategy.accuracy.observations import observe
from search.strategy.accuracy.scale import SCALES, ApScale
from search.strategy.candidates import Candidates, Encoder
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.one_thread import on_one_thread
from search.strategy.surrogate import SurrogateSettings
from spaces import Architecture

MIN_TRIALS = 8
"""Complete trials below which the model says nothing."""
_NOISE_SPREAD = 0.5
"""The noise's standard deviation is believed to be `NOISE` times or over 1.3 with a probability of two in three. A model
that has to learn it from fifty trials, no two of which are alike, takes half of the luck for accuracy."""
WIDENING = 1.3
"""Factor on the model's standard deviations. They leave out that its hyperparameters are uncertain and that AP is not quite
what the model can describe. On YOLOBench's networks ranges that are widened so hold the true AP in at least 91 % of cases;
widened by 1.2, in 88 % after 50 trials."""


def with_estimates(summary: Summary) -> Summary:
    """Return a summary with estimates: from repeats where architectures were trained repeatedly, else from the model.

    There are none without repeats where fewer than `MIN_TRIALS` trials are complete, or all have the same score.
    """
    estimates = estimate_from_repeats(summary.records) or _estimate_by_model(summary.records)
    return replace(summary, estimates=estimates)


def fit_accuracy(
    records: Sequence[TrialRecord],
    architectures: Sequence[Architecture],
    *,
    looked_up_ms: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[LatencyLookups, AccuracyModel]:
    """Fit the model of accuracy to a study's trials.

    Args:
        records: Finished trials, at least one of them complete.
        architectures: The candidates: those of the trials, and any others to predict. No repeats.
        looked_up_ms: Latencies by network (`Encoder.network`) that no trial had measured when they were needed; infinity
            where the device cannot run it.
        seed: Of the fits' starting points.

    Returns:
        Latency of each candidate, measured or predicted, and the model of its AP.
    """
    place = {one.key: index for index, one in enumerate(architectures)}
    places = {record.number: place[record.architecture.key] for record in records}
    num_classes = max(len(record.result.per_class_ap) for record in records if record.point is not None)
    encoder = Encoder(num_classes=max(1, num_classes))
    candidates = encoder.encode(architectures)
    known_ms = dict(looked_up_ms or {})
    for record in records:
        if record.result.latency is not None:
            known_ms[encoder.network(record.architecture)] = record.result.latency.median_ms
    latency_ms = np.array([known_ms.get(encoder.network(one), np.nan) for one in architectures])
    return fit_to_observations(candidates, observe(records, places), latency_ms=latency_ms, seed=seed)


@on_one_thread
def fit_to_observations(
    candidates: Candidates,
    observations: Sequence[Observation],
    *,
    latency_ms: FloatArray,
    scales: Sequence[ApScale] = SCALES,
    seed: int = 0,
) -> tuple[LatencyLookups, AccuracyModel]:
    """Fit the model of accuracy to encoded candidates; seeds are expected to deviate by `NOISE` until scores say otherwise.

    Args:
        candidates: N candidates.
        observations: The trained ones, at least one.
        latency_ms: (N,) measured latencies, NaN where not measured.
        scales: Of AP, of which the scores choose.
        seed: Of the fits' starting points.
    """
    lookups = LatencyLookups(candidates, latency_ms, measure=lambda wanted: [], max_lookups=0, seed=seed)
    lookups.predict()
    spread = float(np.std(np.clip([observation.ap for observation in observations], 0.0, 1.0)))
    # Of the scores' variance the noise is about the same share on every scale.
    settings = SurrogateSettings(noise_median=(NOISE / max(spread, NOISE)) ** 2, noise_spread=_NOISE_SPREAD)
    return lookups, AccuracyModel(lookups, observations, pending=(), scales=scales, settings=settings, seed=seed)


def _estimate_by_model(records: Sequence[TrialRecord]) -> dict[int, Estimate]:
    complete = [record for record in records if record.point is not None]
    if len(complete) < MIN_TRIALS or len({record.result.ap for record in complete}) == 1:
        return {}
    trained = [record for record in records if record.result.state in ("complete", "pruned")]
    architectures = list({record.architecture.key: record.architecture for record in trained}.values())
    place = {one.key: index for index, one in enumerate(architectures)}
    _, model = fit_accuracy(trained, architectures)
    return {
        record.number: Estimate(ap=float(model.mean[index]), std=WIDENING * float(model.std[index]))
        for record in complete
        for index in [place[record.architecture.key]]
    }
