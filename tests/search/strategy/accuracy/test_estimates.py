"""Estimates of AP, against trials whose true AP is known."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from search.front.pareto import Reference, hypervolume
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.forecast import forecast
from search.strategy.accuracy.estimates import MIN_TRIALS, fit_accuracy, with_estimates
from search.strategy.accuracy.model import AccuracyModel
from search.strategy.accuracy.observations import observe
from search.strategy.latency.lookups import LatencyLookups
from spaces import Architecture
from spaces.named_spaces import open_space
from tests.search.driver.scripted import SPACE, latency
from tests.search.records import record, summary
from trials.trial_result import TrialResult

NOISE = 0.02
NUM_STUDIES = 5


def true_ap(one: Architecture) -> float:
    """An AP with main effects and an interaction, from 0.2 to 0.6."""
    grown = 1 - np.exp(-one.input_size / 100 - one.truncation / 30)
    return float(0.75 * grown + 0.08 * (one.head != "plain") * grown + 0.001 * one.head_width - 0.2)


def study(count: int, seed: int, *, noise: float = NOISE) -> Summary:
    space, rng, normal = open_space("tiny"), random.Random(seed), np.random.default_rng(seed)
    records = []
    for number in range(count):
        one = space.sample(rng)
        latency_ms = (one.input_size / 64) ** 2 * (1 + one.truncation / 10) * (1 + one.head_width / 64)
        result = TrialResult(
            state="complete", ap=true_ap(one) + float(normal.normal(0, noise)), latency=latency(latency_ms)
        )
        records.append(TrialRecord(number=number, architecture=one, result=result))
    return Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=50.0))


def test_estimates_are_nearer_to_the_truth_than_scores_and_their_ranges_hold_it() -> None:
    scores, estimates, inside = [], [], []
    for seed in range(NUM_STUDIES):
        judged = with_estimates(study(30, seed))
        for member in judged.front:
            truth, estimate = true_ap(member.architecture), judged.estimates[member.number]
            assert member.point is not None
            scores.append(member.point[0] - truth)
            estimates.append(estimate.ap - truth)
            inside.append(estimate.ap_range[0] <= truth <= estimate.ap_range[1])
    assert np.mean(scores) > 0.005  # the members of a front were lucky
    assert abs(np.mean(estimates)) < 0.8 * np.mean(scores)
    assert np.square(estimates).mean() < 0.75 * np.square(scores).mean()
    assert np.mean(inside) >= 0.8


def test_the_same_trials_have_the_same_estimates() -> None:
    once = study(12, 0)
    assert with_estimates(once).estimates == with_estimates(once).estimates
    assert set(with_estimates(once).estimates) == set(range(12))


def test_a_pruned_trial_has_no_estimate_and_informs_those_of_others() -> None:
    whole = study(20, 1)
    histories = [
        replace(
            one, result=replace(one.result, history=((1, 1.0, one.result.ap / 2, None), (2, 1.0, one.result.ap, None)))
        )
        for one in whole.records
        if one.result.ap is not None
    ]
    stopped = replace(
        histories[0], result=replace(histories[0].result, state="pruned", history=histories[0].result.history[:1])
    )
    without = with_estimates(replace(whole, records=tuple(histories[1:])))
    judged = with_estimates(replace(whole, records=(stopped, *histories[1:])))
    assert set(judged.estimates) == set(range(1, 20))
    assert judged.estimates != without.estimates


def test_a_pruned_trial_that_is_expected_to_end_below_0_is_no_fault() -> None:
    """The expected end is a line through the others' curves, which knows no bounds."""
    records = [
        replace(one, result=replace(one.result, history=((1, 1.0, 0.2 + 0.5 * (one.result.ap or 0.0), None),)))
        for one in study(20, 1).records
    ]
    stopped = replace(records[0].result, state="pruned", ap=0.05, history=((1, 1.0, 0.05, None),))
    records[0] = replace(records[0], result=stopped)
    (end,) = [one.ap for one in observe(records, {one.number: one.number for one in records}) if one.ap_std > 0]
    assert end == pytest.approx(-0.3, abs=0.01)
    judged = with_estimates(Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=50.0)))
    assert set(judged.estimates) == set(range(1, 20))
    for number, estimate in judged.estimates.items():
        assert estimate.ap == pytest.approx(true_ap(records[number].architecture), abs=0.1)


@pytest.mark.parametrize("count", [0, 1, MIN_TRIALS - 1])
def test_too_few_trials_have_no_estimates(count: int) -> None:
    assert with_estimates(study(count, 0)).estimates == {}


def test_equal_scores_have_no_estimates() -> None:
    alike = summary(*(record(number, 0.0, 10.0 + number) for number in range(10)))
    assert with_estimates(alike).estimates == {}


def test_a_forecast_does_not_take_lucky_scores_for_the_front() -> None:
    """Of six trainings of each network the luckiest is 0.05 too high: beside it, a larger input seems to bring nothing."""
    normal = np.random.default_rng(0)
    small = [one for one in SPACE if one.input_size != 128][:60:5]
    records = [
        TrialRecord(
            number=number,
            architecture=one,
            result=TrialResult(
                state="complete",
                ap=0.25 + one.input_size / 1000 + float(normal.normal(0, 0.04)),
                latency=latency((one.input_size / 32) ** 2),
            ),
        )
        for number, one in enumerate(small * 6)
    ]
    found = forecast(Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=30.0)), SPACE)
    assert found.candidates[0].architecture.input_size == 128
    assert found.candidates[0].gain > 0.03  # without noise 0.039; next to the lucky scores 0.012


def test_the_gain_of_a_forecast_is_expected_over_what_the_model_holds_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    normal, fitted = np.random.default_rng(0), []

    def fit(
        records: Sequence[TrialRecord], architectures: Sequence[Architecture], **options: Any
    ) -> tuple[LatencyLookups, AccuracyModel]:
        fitted.append((architectures, *fit_accuracy(records, architectures, **options)))
        return fitted[0][1:]

    monkeypatch.setattr("search.reports.forecast.fit_accuracy", fit)
    records = []
    for number, one in enumerate([one for one in SPACE if one.input_size != 128][::5]):
        luck = float(np.exp(normal.normal(0, 0.1)))
        ap = 0.02 * 4 ** (one.input_size / 64) * 1.3 ** (one.head != "plain") * luck
        result = TrialResult(state="complete", ap=ap, latency=latency((one.input_size / 32) ** 2))
        records.append(TrialRecord(number=number, architecture=one, result=result))
    reference = Reference(ap=0.0, latency_ms=30.0)
    best = forecast(Summary(records=tuple(records), reference=reference), SPACE).candidates[0]
    ((architectures, lookups, model),) = fitted
    assert model.scale.power == 0
    place = architectures.index(best.architecture)
    draws = ndtri((np.arange(2000) + 0.5) / 2000)  # stratified: one from each 2000th of the distribution
    possible = model.scale.back(model.scaled_mean[place] + model.scaled_std[place] * draws, np.zeros(2000))[0]
    front_ap, front_ms = model.finished_ap, model.finished_latency_ms
    before = hypervolume(front_ap, front_ms, reference=reference)
    all_ms = np.append(front_ms, lookups.latency_ms[place])
    after = np.mean([hypervolume(np.append(front_ap, ap), all_ms, reference=reference) for ap in possible])
    assert best.gain == pytest.approx((after - before) / before, rel=0.01)
