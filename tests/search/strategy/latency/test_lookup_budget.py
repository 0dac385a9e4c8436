"""How much looking up latencies the time spent on trainings allows."""

from dataclasses import replace

import pytest

from search.strategy.latency.lookup_budget import SHARE, affordable_lookups
from tests.search.driver.scripted import latency
from trials.trial_result import TrialResult


def _trained(train_s: float, *, measure_s: float = 2.0, is_cached: bool = False) -> TrialResult:
    seconds = {"train": 0.8 * train_s, "score": 0.2 * train_s, "measure": measure_s, "aside": 50.0, "build": 9.0}
    return TrialResult(state="complete", latency=latency(5.0), is_latency_cached=is_cached, seconds=seconds)


def test_nothing_is_affordable_before_a_training_has_ended() -> None:
    failed = TrialResult(state="failed", seconds={"measure": 3.0})
    assert affordable_lookups([], lookups_s=[], workers=1, round_size=4) == 0
    assert affordable_lookups([failed], lookups_s=[1.0], workers=1, round_size=4) == 0


@pytest.mark.parametrize(("workers", "expected"), [(1, 50), (2, 25), (4, 12)])
def test_look_ups_take_a_share_of_the_time_that_passed(workers: int, expected: int) -> None:
    assert SHARE * 1000.0 / 2.0 == 50
    assert (
        affordable_lookups([_trained(400.0), _trained(600.0)], lookups_s=[], workers=workers, round_size=4) == expected
    )


def test_look_ups_that_were_made_count_with_their_own_duration() -> None:
    results = [_trained(1000.0)]
    assert affordable_lookups(results, lookups_s=[10.0, 30.0], workers=1, round_size=4) == 3  # 60 s left, 20 s each
    assert affordable_lookups(results, lookups_s=[60.0, 60.0], workers=1, round_size=4) == 0


def test_a_measurement_that_a_trial_was_handed_counts_with_the_device_s_own_time() -> None:
    """As on a cluster, where another process measures: the trial's own seconds are those of writing a file."""
    handed = replace(_trained(1000.0, measure_s=1.0), latency=replace(latency(5.0), seconds=20.0, build_s=15.0))
    assert affordable_lookups([handed], lookups_s=[], workers=1, round_size=4) == 5


def test_a_cached_measurement_does_not_tell_how_long_one_takes_so_one_round_shall() -> None:
    results = [_trained(500.0, measure_s=5.0), _trained(500.0, measure_s=0.0, is_cached=True)]
    assert affordable_lookups(results, lookups_s=[], workers=1, round_size=4) == 20
    assert affordable_lookups(results[1:], lookups_s=[], workers=1, round_size=4) == 4
    assert affordable_lookups(results[1:], lookups_s=[50.0, 50.0], workers=1, round_size=4) == 0
