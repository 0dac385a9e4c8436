from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import t as student

from search.front.record import TrialRecord
from search.strategy.accuracy.pruning import MIN_CURVES, RISK, by_epoch, cannot_reach_front, extrapolate
from tests.search.records import record

NUM_EPOCHS = 12


def complete(number: int, ap: float, latency_ms: float = 20.0, *, early: float) -> TrialRecord:
    """A complete trial that had `early` after epochs 3 and 4."""
    history = ((3, 1.0, early, early), (4, 1.0, early, early), (12, 0.5, ap, ap))
    return record(number, ap, latency_ms, history=history)


def rivals(count: int = MIN_CURVES) -> list[TrialRecord]:
    """Trials of 20 ms that end at 0.2 more than they began with, give or take 0.01; the best comes to 0.48 or so."""
    return [
        complete(number, 0.4 + 0.01 * number + 0.01 * (-1) ** number, early=0.2 + 0.01 * number)
        for number in range(count)
    ]


def why(
    ap: float,
    *,
    before: float | None = None,
    latency_ms: float = 30.0,
    epoch: int = 4,
    finished: Sequence[TrialRecord] | None = None,
    risk: float = RISK,
) -> str:
    curve = [(epoch - 1, ap if before is None else before), (epoch, ap)]
    among = rivals() if finished is None else finished
    return cannot_reach_front(curve, latency_ms, num_epochs=NUM_EPOCHS, finished=among, risk=risk)


def test_what_cannot_be_expected_to_reach_a_trial_that_is_no_slower_is_stopped_with_the_figures() -> None:
    reason = why(0.1)
    for figure in (
        "AP 0.100 after epoch 4 of 12",
        "from 8 finished curves",
        "the 0.470 of trial 6",
        "below the risk of 5 %",
    ):
        assert figure.replace("5 %", "5%") in reason


def test_the_expected_end_is_that_of_the_last_score() -> None:
    view = extrapolate([(3, 0.15), (4, 0.1)], 30.0, by_epoch(rivals()))
    assert view is not None
    assert f"expected to end at {view.ap:.3f} ± {view.ap_std:.3f}" in why(0.1, before=0.15)


def test_what_may_still_reach_it_goes_on() -> None:
    assert why(0.27) == ""


def test_the_risk_decides() -> None:
    view = extrapolate([(4, 0.22)], 30.0, by_epoch(rivals()))
    assert view is not None
    chance = view.probability_of_reaching(0.47)
    assert 0 < chance < 0.5
    assert why(0.22, risk=chance * 0.99) == ""
    assert why(0.22, risk=chance * 1.01) != ""
    assert why(0.0, risk=0.0) == ""


def test_one_noisy_epoch_stops_nothing() -> None:
    assert why(0.1, before=0.27) == ""
    assert why(0.1, before=0.1) != ""
    assert cannot_reach_front([(4, 0.1)], 30.0, num_epochs=NUM_EPOCHS, finished=rivals()) == ""


def test_a_trial_faster_than_all_others_always_goes_on() -> None:
    assert why(0.0, latency_ms=19.9) == ""
    assert why(0.0, latency_ms=20.0) != ""


@pytest.mark.parametrize(("epoch", "is_stopped"), [(3, False), (4, True), (12, False)])
def test_none_is_stopped_in_its_first_third_nor_at_its_end(epoch: int, is_stopped: bool) -> None:
    history = tuple((e, 1.0, 0.2, 0.2) for e in (2, 3, 4, 11, 12))
    among = [record(number, 0.5, 20.0, history=history) for number in range(MIN_CURVES)]
    assert bool(why(0.0, epoch=epoch, finished=among)) == is_stopped


def test_too_few_finished_curves_stop_none() -> None:
    assert why(0.0, finished=rivals(MIN_CURVES - 1)) == ""
    unscored = [record(number, 0.5, 20.0, history=((6, 1.0, 0.4, 0.4),)) for number in range(MIN_CURVES)]
    assert why(0.0, finished=unscored) == ""


def test_other_ends_than_complete_count_for_nothing() -> None:
    others = [
        record(20, 0.9, 1.0, state="pruned", history=((4, 1.0, 0.1, 0.1),)),
        record(21, None, 1.0, state="infeasible"),
        record(22, None, None, state="failed"),
    ]
    assert why(0.27, finished=[*rivals(), *others]) == ""
    assert why(0.0, finished=[*rivals(MIN_CURVES - 1), *others]) == ""


def test_curves_that_were_all_alike_tell_no_slope() -> None:
    alike = [complete(number, 0.5 + 0.001 * (-1) ** number, early=0.3) for number in range(MIN_CURVES)]
    view = extrapolate([(4, 0.2)], 20.0, by_epoch(alike))
    assert view is not None
    assert view.ap == pytest.approx(0.4)


def test_the_extrapolation_is_least_squares_with_its_prediction_interval() -> None:
    rng = np.random.default_rng(0)
    early, latency_ms = rng.uniform(0.1, 0.3, 15), rng.uniform(5, 50, 15)
    end = 0.1 + 1.2 * early + 0.1 * np.log(latency_ms / 20) + rng.normal(0, 0.02, 15)
    among = [complete(n, e, ms, early=x) for n, (x, ms, e) in enumerate(zip(early, latency_ms, end, strict=True))]
    view = extrapolate([(4, 0.25)], 40.0, by_epoch(among))
    assert view is not None
    design = np.column_stack((np.ones(15), np.log(latency_ms), early))
    weights, squares, _, _ = np.linalg.lstsq(design, end)
    at = np.array([1.0, np.log(40.0), 0.25])
    std = np.sqrt(squares[0] / 12 * (1 + at @ np.linalg.inv(design.T @ design) @ at))
    assert view.ap == pytest.approx(at @ weights)
    assert view.ap_std == pytest.approx(std)
    assert view.probability_of_reaching(0.45) == pytest.approx(student.sf((0.45 - at @ weights) / std, df=12))


def test_a_large_network_that_begins_as_low_as_small_ones_is_expected_to_end_as_large_ones_do() -> None:
    """The curves of a search: at 64 px AP 0.05 leads to 0.10, at 160 px to 0.30."""
    among = [complete(n, 0.10 + 0.001 * n, 0.2 + 0.01 * n, early=0.05 + 0.001 * n) for n in range(12)]
    among += [complete(n, 0.29 + 0.001 * (n % 3), 1.2 + 0.02 * n, early=0.05 + 0.001 * n) for n in range(12, 16)]
    assert why(0.048, latency_ms=1.5, finished=among) == ""
    small, large = (extrapolate([(4, 0.055)], latency_ms, by_epoch(among)) for latency_ms in (0.25, 1.5))
    assert small is not None
    assert large is not None
    assert small.ap == pytest.approx(0.10, abs=0.03)
    assert large.ap == pytest.approx(0.29, abs=0.03)


def test_a_higher_score_never_speaks_for_a_lower_end() -> None:
    among = [complete(n, 0.5 - 0.01 * n, early=0.1 + 0.01 * n) for n in range(MIN_CURVES)]
    low, high = (extrapolate([(4, early)], 20.0, by_epoch(among)) for early in (0.1, 0.2))
    assert low is not None
    assert high is not None
    assert low.ap == pytest.approx(high.ap)


def test_the_risk_is_kept() -> None:
    """Of trials whose curves are drawn as the finished ones' were, no more are stopped wrongly than the risk says."""
    rng = np.random.default_rng(1)

    def draw(count: int) -> Sequence[tuple[float, float]]:
        early = rng.uniform(0.1, 0.3, count)
        return list(zip(early, 0.1 + early + rng.normal(0, 0.03, count), strict=True))

    stopped = wrongly = 0
    for _ in range(60):
        among = [complete(n, end, early=early) for n, (early, end) in enumerate(draw(12))]
        level = max(one.result.ap or 0.0 for one in among)
        for early, end in draw(60):
            if why(early, finished=among):
                stopped, wrongly = stopped + 1, wrongly + (end >= level)
    assert stopped > 500
    assert 0 < wrongly / stopped < RISK
