import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import norm

from search.front.pareto import FloatArray, Reference, Staircase, hypervolume, staircase
from search.strategy.hypervolume_improvement import (
    expected_hypervolume_improvement,
    expected_improvement,
    log_probability_of_joining,
)

CORNER = Reference(ap=0.1, latency_ms=100.0)
FRONT_AP, FRONT_MS = np.array([0.2, 0.45, 0.4, 0.6]), np.array([10.0, 30.0, 35.0, 70.0])
FRONT = staircase(FRONT_AP, FRONT_MS, reference=CORNER)


def of_normal(mean: list[float], std: list[float], ms: list[float], *, front: Staircase = FRONT) -> FloatArray:
    """Return the expected hypervolume improvement of candidates whose AP is normally distributed."""
    gains = expected_improvement(np.array(mean)[:, None], np.array(std)[:, None], front[0])
    return expected_hypervolume_improvement(gains, np.array(ms), front=front)


def test_expected_improvement_at_the_level_is_std_over_root_two_pi() -> None:
    assert expected_improvement(np.array(0.3), np.array(0.2), np.array(0.3)) == pytest.approx(0.2 / np.sqrt(2 * np.pi))


def test_a_certain_value_improves_by_its_rectangle() -> None:
    gain = of_normal([0.5, 0.3], [0.0, 0.0], [50.0, 40.0])
    assert gain == pytest.approx([0.05 * 20, 0.0])


def test_without_a_front_it_is_expected_improvement_times_the_width() -> None:
    nothing = np.zeros(0)
    gain = of_normal([0.1], [0.05], [60.0], front=staircase(nothing, nothing, reference=CORNER))
    assert gain == pytest.approx(40 * 0.05 / np.sqrt(2 * np.pi))


@pytest.mark.parametrize("latency_ms", [100.0, 150.0, np.inf])
def test_nothing_is_gained_beyond_the_reference(latency_ms: float) -> None:
    gain = of_normal([0.9], [0.1], [latency_ms])
    assert gain.tolist() == [0.0]


@settings(max_examples=25)
@given(st.floats(0.0, 0.8), st.floats(0.01, 0.3), st.floats(1.0, 99.0))
def test_it_agrees_with_monte_carlo(mean: float, std: float, latency_ms: float) -> None:
    exact = of_normal([mean], [std], [latency_ms])[0]
    quantiles = (np.arange(400) + 0.5) / 400  # stratified: one draw from each 400th of the distribution
    draws = mean + std * ndtri(quantiles)
    before = hypervolume(FRONT_AP, FRONT_MS, reference=CORNER)
    gains = [
        hypervolume(np.append(FRONT_AP, ap), np.append(FRONT_MS, latency_ms), reference=CORNER) - before for ap in draws
    ]
    assert exact == pytest.approx(np.mean(gains), rel=0.02, abs=0.02)


def test_candidates_are_told_apart_where_every_gain_underflows() -> None:
    assert of_normal([0.3, 0.5], [1e-3, 1e-3], [80.0, 80.0]).tolist() == [0.0, 0.0]
    mean, std, ms = np.array([0.3, 0.5]), np.array([1e-3, 1e-3]), np.array([80.0, 80.0])
    low, high = log_probability_of_joining(mean, std, ms, front=FRONT)
    assert low < high < 0


@pytest.mark.parametrize(
    ("latency_ms", "level"),
    [(5.0, 0.1), (10.0, 0.2), (29.0, 0.2), (30.0, 0.45), (70.0, 0.6), (99.0, 0.6), (150.0, 0.6)],
)
def test_a_candidate_joins_the_front_where_it_beats_the_level_at_its_latency(latency_ms: float, level: float) -> None:
    mean, std = np.array([0.3, 0.3, 0.5]), np.array([0.05, 0.2, 0.05])
    found = log_probability_of_joining(mean, std, np.full(3, latency_ms), front=FRONT)
    assert found == pytest.approx(norm.logsf(level, loc=mean, scale=std))
