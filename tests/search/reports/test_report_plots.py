"""The data in the figures of a report."""

from dataclasses import replace

import pytest

from search.reports.effects import Effect
from search.reports.report_plots import plot_curves, plot_effects, plot_hypervolume, plot_refit, plot_work
from search.study.refit import compare_refit
from tests.search.records import STAIRCASE, record, summary

EFFECT = Effect(axis="head", value="fpn", trials=5, ap=0.1, ap_range=(0.05, 0.2), latency=1.1, latency_range=(0.9, 1.5))


def test_effects_are_dots_with_their_ranges_on_ap_and_on_latency() -> None:
    unclear = replace(EFFECT, value="<plain>", ap=-0.1, ap_range=(-0.3, 0.1), latency=0.8, latency_range=(0.7, 0.9))
    figure = plot_effects([EFFECT, unclear])
    found = {(trace.xaxis, trace.name.split()[0]): trace for trace in figure.data}
    assert {place: trace.x for place, trace in found.items()} == {
        ("x", "clear"): (0.1,),
        ("x", "not"): (-0.1,),
        ("x2", "clear"): (0.8,),
        ("x2", "not"): (1.1,),
    }
    bar = found["x", "clear"].error_x
    assert (bar.array, bar.arrayminus) == (pytest.approx([0.1]), pytest.approx([0.05]))
    assert found["x", "clear"].hovertext == ("head fpn: +0.100 (+0.050 to +0.200), 5 complete trials",)
    assert found["x", "clear"].y == found["x2", "not"].y  # one effect, one row
    assert [text.text for text in figure.layout.annotations] == ["<b>head</b>", "fpn", "&lt;plain&gt;"]
    assert figure.layout.xaxis2.type == "log"


def test_the_hypervolume_begins_at_nothing() -> None:
    (line,) = plot_hypervolume([(2.0, 0.1), (5.0, 0.3)], axis="minutes").data
    assert (line.x, line.y) == ((0.0, 2.0, 5.0), (0.0, 0.1, 0.3))


def test_work_is_in_minutes_and_shares() -> None:
    figure = plot_work({"training kept": 90.0, "scoring": 30.0, "the rest": 0.0})
    assert figure.data[0].x == (1.5, 0.5)
    assert [text.text for text in figure.layout.annotations] == [
        "training kept: 1.5 minutes, 75.0%",
        "scoring: 0.5 minutes, 25.0%",
    ]


def test_curves_have_gaps_between_trials_and_a_cross_where_one_was_stopped() -> None:
    def with_curve(number: int, *aps: float, state: str = "complete", reason: str = "") -> object:
        history = tuple((epoch, 1.0, ap, ap) for epoch, ap in enumerate(aps, 1))
        return record(number, aps[-1], 10.0 + number, state=state, reason=reason, history=history)

    shown = summary(
        with_curve(0, 0.1, 0.3),  # type: ignore[arg-type]
        with_curve(1, 0.1, 0.2),  # type: ignore[arg-type]
        with_curve(2, 0.2, 0.25),  # type: ignore[arg-type]
        with_curve(3, 0.05, 0.06, 0.07, state="pruned", reason="<hopeless>"),  # type: ignore[arg-type]
    )
    found = {trace.name: trace for trace in plot_curves(shown).data}
    assert found["front"].customdata == (0, 0, 0)
    assert found["complete"].customdata == (1, 1, 1, 2, 2, 2)
    assert found["complete"].x == (1, 2, None, 1, 2, None)
    assert found["complete"].y == (0.1, 0.2, None, 0.2, 0.25, None)
    assert found["stopped"].x == (1, 2, 3, None)
    cross = found["where it was stopped"]
    assert (cross.x, cross.y, cross.hovertext) == ((3,), (0.07,), ("#3: &lt;hopeless&gt;",))


def test_a_refit_sets_short_against_full() -> None:
    full = [
        replace(record(number, ap, ms), label=f"trial {trial}", architecture=STAIRCASE[trial].architecture)
        for number, trial, ap, ms in ((0, 0, 0.3, 10.0), (1, 2, 0.8, 31.0), (2, 6, 0.7, 59.0))
    ]
    found = {trace.name: trace for trace in plot_refit(compare_refit("s-refit-9", summary(*STAIRCASE), full)).data}
    final, other = found["final front"], found["trained in full"]
    assert (final.x, final.y, final.text) == ((0.2, 0.4), (0.3, 0.8), ("#0", "#2"))
    assert (other.x, other.y, other.text) == ((0.5,), (0.7,), ("#6",))
