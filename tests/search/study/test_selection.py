from dataclasses import replace

import pytest

from search.front.estimate import Estimate
from search.reports import estimate_words
from search.study.errors import StudyError
from search.study.selection import select_trial
from tests.search.records import BENT, STAIRCASE, record, summary


def test_the_knee_is_meant_where_nothing_is_said() -> None:
    assert select_trial(BENT).number == 1


def test_best_is_the_most_accurate() -> None:
    assert select_trial(BENT, best=True).number == 3


@pytest.mark.parametrize(("limit_ms", "number"), [(10.0, 0), (49.9, 1), (50.0, 2), (1e9, 3)])
@pytest.mark.parametrize("best", [False, True])
def test_under_a_latency_the_most_accurate_is_meant(limit_ms: float, number: int, best: bool) -> None:
    assert select_trial(BENT, max_latency_ms=limit_ms, best=best).number == number


def test_a_number_need_not_be_on_the_front() -> None:
    assert select_trial(summary(*STAIRCASE), number=3).number == 3


@pytest.mark.parametrize("number", [1, 4, 5, 77])
def test_a_number_without_a_complete_trial_is_refused_with_the_front(number: int) -> None:
    with pytest.raises(StudyError, match=f"trial {number} is not a complete trial") as caught:
        select_trial(summary(*STAIRCASE), number=number)
    assert caught.value.hint == "its front has 0, 2, 6"


def test_a_latency_that_no_trial_meets_is_refused_with_the_fastest() -> None:
    with pytest.raises(StudyError, match="no trial runs within 5 ms") as caught:
        select_trial(BENT, max_latency_ms=5.0)
    assert caught.value.hint == "the fastest takes 10.000 ms"


def test_a_study_without_a_complete_trial_has_nothing_to_choose() -> None:
    with pytest.raises(StudyError, match="no complete trial"):
        select_trial(summary(*STAIRCASE[4:6]))


def test_the_choice_is_by_the_estimates_where_there_are_some() -> None:
    """Trial 1 was lucky: by its score it is the knee and, below 50 ms, the best."""
    scored = summary(record(0, 0.1, 10.0), record(1, 0.5, 20.0), record(2, 0.55, 30.0), record(3, 0.6, 90.0))
    believed = {0: 0.1, 1: 0.3, 2: 0.55, 3: 0.54}
    judged = replace(scored, estimates={number: Estimate(ap=ap, std=0.01) for number, ap in believed.items()})
    assert [one.number for one in judged.front] == [0, 1, 2, 3]
    assert (select_trial(scored).number, select_trial(judged).number) == (1, 2)
    assert (select_trial(scored, best=True).number, select_trial(judged, best=True).number) == (3, 2)
    assert (select_trial(scored, max_latency_ms=90).number, select_trial(judged, max_latency_ms=90).number) == (3, 2)


def test_members_that_cannot_be_told_apart_are_named() -> None:
    scored = summary(*(record(number, 0.1 * number, 10.0 * (number + 1)) for number in range(5)))
    believed = {0: 0.30, 1: 0.31, 2: 0.32, 3: 0.34, 4: 0.50}
    judged = replace(scored, estimates={number: Estimate(ap=ap, std=0.01) for number, ap in believed.items()})
    # 0.02 is less than 1.645 deviations of a difference, 0.0233; 0.04 is more.
    assert judged.alike == {1: 0, 2: 0}
    assert [[one.number for one in group] for group in judged.indistinct] == [[0, 1, 2]]
    assert "Cannot be told apart: #0, #1 and #2." in estimate_words(judged)
    assert scored.alike == {}
    assert scored.indistinct == ()
    assert "needs 8 complete trials, or retrainings with several seeds (--refit EPOCHS --repeats 10)" in estimate_words(
        scored
    )


def test_groups_that_cannot_be_told_apart_are_apart_from_each_other() -> None:
    scored = summary(*(record(number, 0.1 * number, 10.0 * (number + 1)) for number in range(5)))
    believed = {0: 0.30, 1: 0.31, 2: 0.50, 3: 0.505, 4: 0.70}
    judged = replace(scored, estimates={number: Estimate(ap=ap, std=0.01) for number, ap in believed.items()})
    assert [[one.number for one in group] for group in judged.indistinct] == [[0, 1], [2, 3]]
    assert "Cannot be told apart: #0 and #1; #2 and #3." in estimate_words(judged)
