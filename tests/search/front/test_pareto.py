import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.front.pareto import Reference, front_indices, hypervolume, knee_index, staircase

CORNER = Reference(ap=0.0, latency_ms=100.0)
TRIALS = st.lists(st.tuples(st.floats(-0.2, 1.0), st.floats(0.1, 150.0)), max_size=12)


def arrays(trials: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([ap for ap, _ in trials]), np.array([ms for _, ms in trials])


def test_a_staircase_of_three_has_the_area_of_its_rectangles() -> None:
    ap, ms = np.array([0.5, 0.2, 0.4, 0.45]), np.array([60.0, 10.0, 30.0, 80.0])
    assert front_indices(ap, ms).tolist() == [1, 2, 0]
    assert hypervolume(ap, ms, reference=CORNER) == pytest.approx(0.2 * 20 + 0.4 * 30 + 0.5 * 40)


def test_the_area_begins_at_the_reference_s_ap() -> None:
    reference = Reference(ap=0.1, latency_ms=100.0)
    assert hypervolume(np.array([0.5]), np.array([60.0]), reference=reference) == pytest.approx(0.4 * 40)


def test_no_trials_have_no_front_no_knee_and_no_area() -> None:
    nothing = np.zeros(0)
    assert front_indices(nothing, nothing).tolist() == []
    assert hypervolume(nothing, nothing, reference=CORNER) == 0.0
    assert knee_index(nothing, nothing) is None


def test_of_equal_trials_the_first_is_kept() -> None:
    ap, ms = np.array([0.3, 0.3, 0.3]), np.array([20.0, 10.0, 10.0])
    assert front_indices(ap, ms).tolist() == [1]


def test_trials_not_better_than_the_reference_on_both_axes_count_nothing() -> None:
    ap, ms = np.array([0.0, 0.9]), np.array([10.0, 100.0])
    assert hypervolume(ap, ms, reference=CORNER) == 0.0
    levels, edges = staircase(ap, ms, reference=CORNER)
    assert levels.tolist() == [0.0]
    assert edges.tolist() == [0.0, 100.0]


def test_a_front_without_a_bend_has_its_most_accurate_member_for_a_knee() -> None:
    ms = np.array([1.0, 2.0, 3.0])
    assert knee_index(np.array([0.1, 0.2, 0.5]), ms) == 2  # the middle lies below the chord
    assert knee_index(np.array([0.1, 0.3, 0.5]), ms) == 2  # on it


def test_the_knee_is_where_latency_stops_paying() -> None:
    ap, ms = np.array([0.1, 0.5, 0.55, 0.6]), np.array([10.0, 20.0, 50.0, 100.0])
    assert knee_index(ap, ms) == 1
    assert knee_index(ap[:2], ms[:2]) == 1


def test_a_single_trial_is_the_knee_and_the_middle_of_three_may_be() -> None:
    assert knee_index(np.array([0.3]), np.array([5.0])) == 0
    assert knee_index(np.array([0.1, 0.5, 0.55]), np.array([10.0, 20.0, 50.0])) == 1


def plain_knee(trials: list[tuple[float, float]]) -> int:
    """The member farthest above the chord from the fastest to the most accurate, on axes of equal length."""
    front = sorted(
        (ms, ap) for ap, ms in trials if not any(a >= ap and m <= ms and (a, m) != (ap, ms) for a, m in trials)
    )
    (first_ms, first_ap), (last_ms, last_ap) = front[0], front[-1]
    above = [(ap - first_ap) / (last_ap - first_ap) - (ms - first_ms) / (last_ms - first_ms) for ms, ap in front]
    ms, ap = front[above.index(max(above))] if max(above) > 0 else front[-1]
    return trials.index((ap, ms))


@pytest.mark.parametrize("seed", range(30))
def test_the_knee_is_the_member_farthest_above_the_chord(seed: int) -> None:
    random = np.random.default_rng(seed)
    ap, ms = 0.3 + 0.5 * random.random(25), 40 + 50 * random.random(25)
    ap = np.minimum(ap, 0.2 + 0.007 * ms + 0.1 * random.random(25))  # a front of several members
    knee = knee_index(ap, ms)
    assert knee == plain_knee(list(zip(ap.tolist(), ms.tolist(), strict=True)))


def test_nan_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^ap or latency_ms holds NaN; leave out the trials without a score or a latency$"
    ):
        front_indices(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match=r"both must be \(N,\)"):
        front_indices(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize(("ap", "ms", "name"), [(np.nan, 1.0, "ap"), (0.0, 0.0, "latency_ms"), (0.0, np.inf, "lat")])
def test_a_reference_that_bounds_no_area_is_refused(ap: float, ms: float, name: str) -> None:
    with pytest.raises(ValueError, match=f"reference {name}"):
        Reference(ap=ap, latency_ms=ms)
    assert Reference(ap=0.0, latency_ms=0.5).latency_ms == 0.5


@given(TRIALS, st.floats(-0.2, 1.0), st.floats(0.1, 150.0))
def test_adding_a_point_never_lowers_the_hypervolume(trials: list[tuple[float, float]], ap: float, ms: float) -> None:
    before = hypervolume(*arrays(trials), reference=CORNER)
    after = hypervolume(*arrays([*trials, (ap, ms)]), reference=CORNER)
    assert after >= before - 1e-9
    assert after >= max(0.0, ap) * max(0.0, 100.0 - ms) - 1e-9


@given(TRIALS)
def test_the_front_is_what_nothing_dominates(trials: list[tuple[float, float]]) -> None:
    members = {trials[index] for index in front_indices(*arrays(trials))}
    undominated = {
        (ap, ms) for ap, ms in trials if not any(a >= ap and m <= ms and (a, m) != (ap, ms) for a, m in trials)
    }
    assert members == undominated


@given(TRIALS)
def test_the_hypervolume_is_the_area_counted_cell_by_cell(trials: list[tuple[float, float]]) -> None:
    counted = [(ap, ms) for ap, ms in trials if ap > 0 and ms < 100]
    edges = sorted({0.0, 100.0, *(ms for _, ms in counted)})
    cells = itertools.pairwise(edges)
    area = sum((b - a) * max((ap for ap, ms in counted if ms <= a), default=0.0) for a, b in cells)
    assert hypervolume(*arrays(trials), reference=CORNER) == pytest.approx(area, abs=1e-9)
