import re

import numpy as np
import pytest

from trials.latency.steadiness import (
    THRESHOLDS,
    drift,
    grade_repeats,
    has_moved,
    is_slowed,
    is_throttled,
    judge_rounds,
    judge_run,
    quiet_reference_ms,
    variation,
)

LOCKED = {"is_clock_locked": True, "locked_mhz": 921.6, "end_mhz": 921.6, "end_temperature_c": 40.0}


def _noisy(noise: float, *, slope: float = 0.0) -> list[float]:
    noises = np.random.default_rng(0).normal(1, noise, 300)
    return list(10 * noises * np.linspace(1, 1 + slope, 300))


def test_a_steady_run_has_no_faults() -> None:
    verdict = judge_run(_noisy(0.003), **LOCKED)
    assert (verdict.faults, verdict.notes) == ((), ())


def test_a_single_interruption_is_no_fault() -> None:
    samples = [*_noisy(0.003), 80.0]
    assert variation(samples) < 0.01
    assert judge_run(samples, **LOCKED).faults == ()


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (_noisy(0.2), r"passes vary by \d+.\d% \(at most 5%\)"),
        (_noisy(0.003, slope=0.1), r"it ran \d+.\d% slower at the end"),
        (_noisy(0.003, slope=-0.1), r"it ran \d+.\d% faster at the end"),
    ],
)
def test_unsteady_runs(samples: list[float], fault: str) -> None:
    faults = judge_run(samples, **LOCKED).faults
    assert any(re.match(fault, found) for found in faults)


def test_throttling_shows_as_a_lower_clock() -> None:
    (fault,) = judge_run(_noisy(0.003), **{**LOCKED, "end_mhz": 614.4, "end_temperature_c": 96.0}).faults
    assert fault == "the GPU's clock fell from 922 to 614 MHz at 96 °C: the board throttles"


def test_a_free_clock_may_fall_and_is_noted() -> None:
    verdict = judge_run(_noisy(0.003), is_clock_locked=False, locked_mhz=921.6, end_mhz=76.8)
    assert (verdict.faults, verdict.notes) == ((), ("the GPU's clock was not locked",))


def test_a_device_without_a_clock() -> None:
    verdict = judge_run(_noisy(0.003))
    assert (verdict.faults, verdict.notes) == ((), ())


def test_wide_spread_is_noted() -> None:
    assert judge_run(_noisy(0.03), **LOCKED).notes == ("passes vary by 3.0%",)


def test_few_samples_tell_no_drift() -> None:
    assert drift([1.0, 2.0, 3.0]) == 0
    assert variation([5.0]) == 0


def test_a_clock_throttles_below_98_percent_of_its_locked_value() -> None:
    assert is_throttled(900.0, 921.6)
    assert not is_throttled(905.0, 921.6)
    assert not is_throttled(None, 921.6)
    assert not is_throttled(900.0, None)


def _rounds(*medians: float) -> list[list[float]]:
    return [[median] * 3 for median in medians]


def test_steady_rounds() -> None:
    verdict = judge_rounds(_rounds(*[2.0] * 6), [1.0] * 6)
    assert (verdict.quiet, verdict.error, verdict.is_steady) == ((0, 1, 2, 3, 4, 5), 0.0, True)
    assert (verdict.fault, verdict.notes) == ("", ())


def test_rounds_with_a_slow_reference_do_not_count() -> None:
    verdict = judge_rounds(_rounds(*[2.0] * 6, *[2.6] * 6), [*[1.0] * 6, *[1.3] * 6])
    assert verdict.quiet == (0, 1, 2, 3, 4, 5)
    assert verdict.notes == ("reference moved by 26%",)


def test_six_rounds_always_count() -> None:
    assert len(judge_rounds(_rounds(*[2.0] * 6), [1.0, 1.3, 1.6, 1.9, 2.2, 2.5]).quiet) == 6


def test_rounds_that_differ_are_noted_then_refused() -> None:
    noted = judge_rounds(_rounds(1.96, 2.0, 2.04, 1.96, 2.0, 2.04), [1.0] * 6)
    assert (noted.is_steady, noted.fault, noted.notes) == (False, "", ("median known to 1.5%",))
    refused = judge_rounds(_rounds(1.0, 2.0, 3.0, 1.0, 2.0, 3.0), [1.0] * 6)
    assert refused.fault == "its median has a standard error of 38% (at most 5%), and the reference moved by 0%"


@pytest.mark.parametrize(
    ("medians_ms", "grade"), [([1.0, 1.0099], "steady"), ([1.0, 1.0299], "usable"), ([1.0, 1.031], "unsteady")]
)
def test_grades_of_repeats(medians_ms: list[float], grade: str) -> None:
    assert grade_repeats(medians_ms) == grade


def test_a_reference_that_moved() -> None:
    assert has_moved(1.031, first_ms=1.0)
    assert has_moved(0.969, first_ms=1.0)
    assert not has_moved(1.029, first_ms=1.0)


def test_the_quiet_reference_is_the_tenth_percentile_of_five_or_more() -> None:
    assert quiet_reference_ms([0.5] * 4) is None
    assert quiet_reference_ms([0.5] * 3 + [0.9] * 8) == 0.5
    assert is_slowed(1.16)
    assert not is_slowed(THRESHOLDS.max_slowdown)
