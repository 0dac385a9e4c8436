"""The data in the front's figure."""

from dataclasses import replace
from typing import Any

import pytest

from search.front.estimate import Estimate
from search.front.summary import Summary
from search.reports.front_plot import plot_front
from tests.search.records import STAIRCASE, record, summary
from tests.search.reports.outline import HOSTILE


def traces(shown: Summary, **options: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in plot_front(shown, **options).data}


def test_trials_are_where_they_are_measured_and_scored() -> None:
    found = traces(summary(*STAIRCASE))
    assert [(found[name].customdata, found[name].x, found[name].y) for name in ("front, as scored", "complete")] == [
        ((0, 2, 6), (10.0, 30.0, 60.0), (0.2, 0.4, 0.5)),
        ((3,), (40.0,), (0.3,)),
    ]
    pruned = found["pruned (AP when stopped)"]
    assert (pruned.customdata, pruned.x, pruned.y) == ((4,), (5.0,), (0.9,))
    assert "front, estimated (5–95 %)" not in found


def test_a_point_says_what_it_is() -> None:
    found = traces(summary(*STAIRCASE))
    words = found["front, as scored"].hovertext[1].split("<br>")
    assert words[:3] == [
        "#2  complete, on the front",
        STAIRCASE[2].architecture.short.replace(">", "&gt;"),
        "AP 0.4000",
    ]
    assert words[4] == "3.0 M MACs, 0.002 M parameters"
    assert found["pruned (AP when stopped)"].hovertext[0].endswith("<br>would miss the front")


def test_bars_are_the_ranges_of_the_estimates() -> None:
    judged = replace(
        summary(*STAIRCASE), estimates={one.number: Estimate(ap=0.25, std=0.02) for one in STAIRCASE if one.point}
    )
    bars = traces(judged)["front, estimated (5–95 %)"]
    assert (bars.x, bars.y) == ((10.0, 30.0, 60.0), (0.25, 0.25, 0.25))
    assert bars.error_y.array == pytest.approx([0.0329] * 3)


def test_the_knee_s_number_comes_first_so_that_it_is_the_one_that_stays() -> None:
    assert traces(summary(*STAIRCASE))[None].text == ("#2", "#6", "#0")


@pytest.mark.parametrize(("marked", "place"), [(2, (30.0, 0.4)), (4, (5.0, 0.9))])
def test_a_ring_is_around_the_marked_trial(marked: int, place: tuple[float, float]) -> None:
    ring = traces(summary(*STAIRCASE), marked=marked)["selected"]
    assert (ring.x[0], ring.y[0]) == place
    assert traces(summary(*STAIRCASE))["selected"].x == ()


def test_no_text_of_the_user_s_is_markup() -> None:
    pruned = record(0, 0.1, 5.0, state="pruned", reason=HOSTILE)
    (text,) = traces(summary(pruned))["pruned (AP when stopped)"].hovertext
    assert "<" not in text.replace("<br>", "")


def test_an_empty_study_has_a_figure() -> None:
    assert all(not trace.x for trace in plot_front(summary()).data)


def test_repeats_stand_at_the_mean_that_decides_the_front() -> None:
    """By its best seed the first would be above the second, which then would be no member."""
    lucky, steady = record(0, 0.5, 10.0), record(1, 0.47, 12.0)
    repeated = summary(lucky, steady, replace(record(2, 0.4, 10.0), architecture=lucky.architecture))
    found = traces(repeated)
    members = found["front, mean over seeds"]
    assert (members.customdata, members.y) == ((0, 1), (pytest.approx(0.45), 0.47))
    numbers = next(trace for trace in plot_front(repeated).data if trace.text)
    assert sorted(numbers.y) == [pytest.approx(0.45), 0.47]
