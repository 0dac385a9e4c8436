"""The ranges of effects, on trials whose truth is known."""

from dataclasses import replace

import numpy as np

from search.reports.effects import estimate_effects
from search.study.record import TrialRecord
from tests.search.reports.test_report import trials


def redrawn(records: tuple[TrialRecord, ...], seed: int) -> list[TrialRecord]:
    """Return the trials with another noise of AP, of standard deviation 0.02."""
    noises = np.random.default_rng(seed)
    return [
        replace(one, result=replace(one.result, ap=(one.result.ap or 0.0) + noises.normal(0, 0.02))) for one in records
    ]


def test_the_range_of_an_effect_holds_most_repetitions_of_the_study() -> None:
    """It says how far a repetition may lie from it, so that a range of a few percentiles would not do."""
    records = trials(60, noise=0.0)
    ranges = {(one.axis, one.value): one.ap_range for one in estimate_effects(redrawn(records, 0))}
    repeats = [estimate_effects(redrawn(records, seed), num_resamples=2) for seed in range(1, 21)]
    inside = [
        ranges[one.axis, one.value][0] <= one.ap <= ranges[one.axis, one.value][1] for found in repeats for one in found
    ]
    assert np.mean(inside) > 0.6
    assert np.mean(inside) < 0.999
