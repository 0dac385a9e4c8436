import pytest

from tests.search.records import STAIRCASE, record, summary


def test_only_complete_trials_are_on_the_front_fastest_first() -> None:
    assert [one.number for one in summary(*STAIRCASE).front] == [0, 2, 6]


def test_the_hypervolume_is_a_share_of_the_rectangle_of_complete_trials_alone() -> None:
    whole = summary(*STAIRCASE)
    assert whole.hypervolume == pytest.approx((0.2 * 20 + 0.4 * 30 + 0.5 * 40) / 100)
    complete = [one for one in STAIRCASE if one.point]
    assert summary(*complete).hypervolume == whole.hypervolume


def test_the_hypervolume_by_trial_never_falls_and_ends_at_the_whole() -> None:
    whole = summary(*STAIRCASE)
    steps = whole.hypervolume_by_trial
    assert len(steps) == len(STAIRCASE)
    assert list(steps) == sorted(steps)
    assert steps[0] == pytest.approx(0.2 * 90 / 100)
    assert steps[1] == steps[0]  # infeasible
    assert steps[-1] == whole.hypervolume


def test_states_are_counted() -> None:
    assert summary(*STAIRCASE).states == {"complete": 4, "infeasible": 1, "pruned": 1, "failed": 1}


@pytest.mark.parametrize("records", [(), STAIRCASE[1:2], STAIRCASE[4:6]])
def test_without_a_complete_trial_there_is_no_front(records: tuple) -> None:
    nothing = summary(*records)
    assert nothing.front == ()
    assert nothing.knee is None
    assert nothing.hypervolume == 0.0
    assert nothing.hypervolume_by_trial == (0.0,) * len(records)


def test_the_knee_is_a_trial_of_the_front() -> None:
    bent = summary(record(0, 0.1, 10.0), record(1, 0.5, 20.0), record(2, 0.55, 50.0), record(3, 0.6, 100.0))
    assert bent.knee is bent.front[1]
