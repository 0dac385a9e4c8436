import numpy as np
import pytest

from trials.latency.board.probe import BoardState
from trials.latency.steadiness import drift, judge_run, variation


def _state(mhz: float | None = 921.6, *, low: float | None = 921.6, heat: float = 40.0) -> BoardState:
    return BoardState(
        gpu_mhz=mhz, gpu_min_mhz=low, gpu_max_mhz=None if mhz is None else 921.6, temperatures_c={"GPU-therm": heat}
    )


def _noisy(noise: float, *, slope: float = 0.0) -> list[float]:
    noises = np.random.default_rng(0).normal(1, noise, 300)
    return list(10 * noises * np.linspace(1, 1 + slope, 300))


def test_a_steady_run_has_no_faults() -> None:
    verdict = judge_run(_noisy(0.003), before=_state(), after=_state())
    assert (verdict.faults, verdict.notes) == ((), ())


def test_a_single_interruption_is_no_fault() -> None:
    samples = [*_noisy(0.003), 80.0]
    assert variation(samples) < 0.01
    assert judge_run(samples, before=_state(), after=_state()).faults == ()


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (_noisy(0.2), r"passes vary by \d+.\d% \(at most 5%\)"),
        (_noisy(0.003, slope=0.1), r"it ran \d+.\d% slower at the end"),
        (_noisy(0.003, slope=-0.1), r"it ran \d+.\d% faster at the end"),
    ],
)
def test_unsteady_runs(samples: list[float], fault: str) -> None:
    import re

    faults = judge_run(samples, before=_state(), after=_state()).faults
    assert any(re.match(fault, found) for found in faults)


def test_throttling_shows_as_a_lower_clock() -> None:
    (fault,) = judge_run(_noisy(0.003), before=_state(), after=_state(614.4, heat=96)).faults
    assert fault == "the GPU's clock fell from 922 to 614 MHz at 96 °C: the board throttles"


def test_a_free_clock_may_fall_and_is_noted() -> None:
    verdict = judge_run(_noisy(0.003), before=_state(low=76.8), after=_state(76.8, low=76.8))
    assert (verdict.faults, verdict.notes) == ((), ("the GPU's clock was not locked",))


def test_a_board_without_a_clock() -> None:
    assert judge_run(_noisy(0.003), before=_state(None, low=None), after=_state(None, low=None)).faults == ()


def test_wide_spread_is_noted() -> None:
    assert judge_run(_noisy(0.03), before=_state(), after=_state()).notes == ("passes vary by 3.0%",)


def test_few_samples_tell_no_drift() -> None:
    assert drift([1.0, 2.0, 3.0]) == 0
    assert variation([5.0]) == 0
