from collections.abc import Sequence

import pytest

from search.pruning import MIN_CURVES, cannot_reach_front
from search.record import TrialRecord
from tests.search.records import record

NUM_EPOCHS = 10


def finished(number: int, ap: float, latency_ms: float = 20.0, *, at_half: float) -> TrialRecord:
    """A complete trial that had `at_half` after epoch 5."""
    return record(number, ap, latency_ms, history=((5, 1.0, at_half, at_half), (10, 0.5, ap, ap)))


def rivals(count: int = MIN_CURVES) -> list[TrialRecord]:
    """Trials of 20 ms: the best comes to 0.5, the one that gained most gained 0.2."""
    return [finished(number, 0.5 - 0.01 * number, at_half=0.3 if number == 0 else 0.4) for number in range(count)]


def why(ap: float, *, epoch: int = 5, latency_ms: float = 30.0, among: Sequence[TrialRecord] | None = None) -> str:
    return cannot_reach_front(
        [(epoch, ap)], latency_ms, num_epochs=NUM_EPOCHS, finished=rivals() if among is None else among
    )


def test_what_cannot_reach_a_trial_that_is_no_slower_is_stopped_with_the_figures() -> None:
    reason = why(0.29)
    assert "AP 0.290 after epoch 5 of 10" in reason
    assert "0.200" in reason
    assert "0.500" in reason


def test_what_just_can_reach_it_goes_on() -> None:
    assert why(0.3) == ""


def test_the_better_of_the_last_two_scores_counts() -> None:
    scores = [(4, 0.35), (5, 0.1)]
    assert cannot_reach_front(scores, 30.0, num_epochs=NUM_EPOCHS, finished=rivals()) == ""


def test_a_trial_faster_than_all_others_always_goes_on() -> None:
    assert why(0.0, latency_ms=19.9) == ""
    assert why(0.0, latency_ms=20.0) != ""


@pytest.mark.parametrize(("epoch", "is_stopped"), [(4, False), (5, True), (10, False)])
def test_none_is_stopped_in_its_first_half_nor_at_its_end(epoch: int, is_stopped: bool) -> None:
    history = tuple((e, 1.0, 0.4, 0.4) for e in (4, 5, 10))
    among = [record(number, 0.5, 20.0, history=history) for number in range(MIN_CURVES)]
    assert bool(why(0.0, epoch=epoch, among=among)) == is_stopped


def test_too_few_finished_curves_stop_none() -> None:
    assert why(0.0, among=rivals(MIN_CURVES - 1)) == ""
    unscored = [record(number, 0.5, 20.0, history=((6, 1.0, 0.4, 0.4),)) for number in range(MIN_CURVES)]
    assert why(0.0, among=unscored) == ""


def test_other_ends_than_complete_count_for_nothing() -> None:
    others = [
        record(20, 0.9, 1.0, state="pruned", history=((5, 1.0, 0.1, 0.1),)),
        record(21, None, 1.0, state="infeasible"),
        record(22, None, None, state="failed"),
    ]
    assert why(0.3, among=[*rivals(), *others]) == ""
    assert why(0.0, among=[*rivals(MIN_CURVES - 1), *others]) == ""
