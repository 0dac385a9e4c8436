"""The front as an interactive figure, for pages and notebooks."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.trial_words import trial_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Figure  # for callers too, which do not import Plotly

FRONT, OTHERS, STOPPED, ESTIMATE, CLEAR = "#d1495b", "#9aa5b1", "#b7791f", "#1f2933", "#30638e"
"""Colours: of the front, other complete trials, stopped trials, estimates, and what is clear beyond noise."""


def plot_front(summary: Summary, *, marked: int | None = None) -> "Figure":
    """Return the complete trials, the front as a staircase, and the pruned trials at their last AP.

    Where the study has estimates, a bar on each member of the front is the range of its AP. A trial's figures appear where
    the pointer rests on it; the points' ``customdata`` is its number.

    Args:
        summary: The study.
        marked: Number of a complete or pruned trial to put a ring around.
    """
    members = summary.front
    numbers = {member.number for member in members}
    others = [one for one in summary.records if one.point and one.number not in numbers]
    pruned = [one for one in summary.records if one.result.state == "pruned" and one.result.latency]

    def ap_of(record: TrialRecord) -> float:
        return summary.compared_ap(record) if record.number in numbers else record.result.ap or 0.0

    def points(records: Sequence[TrialRecord]) -> dict[str, Any]:
        words = [trial_words(one, summary, on_front=one.number in numbers) for one in records]
        return {
            "x": [_latency_ms(one) for one in records],
            "y": [ap_of(one) for one in records],
            "customdata": [one.number for one in records],
            "hovertext": ["<br>".join(map(escape, lines)) for lines in words],
            "hoverinfo": "text",
        }

    figure = new_figure(height=460)
    figure.add_scatter(**points(others), name="complete", mode="markers", marker={"size": 8, "color": OTHERS})
    style: dict[str, Any] = {"size": 8, "color": STOPPED, "symbol": "x-thin-open"}
    figure.add_scatter(**points(pruned), name="pruned (AP when stopped)", mode="markers", marker=style)
    style = {"mode": "lines+markers", "line": {"color": FRONT, "shape": "hv", "width": 1.5}, "marker": {"size": 11}}
    figure.add_scatter(**points(members), name=scored_words(summary), **style)
    estimates = [(one, summary.estimates[one.number]) for one in members if one.number in summary.estimates]
    if estimates:
        spread = [estimate.ap_range[1] - estimate.ap for _, estimate in estimates]
        figure.add_scatter(
            x=[_latency_ms(one) for one, _ in estimates],
            y=[estimate.ap for _, estimate in estimates],
            error_y={"array": spread, "color": ESTIMATE, "thickness": 1.2, "width": 0},
            name="front, estimated (5–95 %)",
            mode="markers",
            marker={"symbol": "line-ew-open", "size": 10, "color": ESTIMATE},
            hoverinfo="skip",
        )
    _add_numbers(figure, summary)
    ringed = [one for one in (*members, *others, *pruned) if one.number == marked]
    style = {"size": 20, "color": ESTIMATE, "symbol": "circle-open", "line": {"width": 2}}
    place = {"x": [_latency_ms(one) for one in ringed], "y": [ap_of(one) for one in ringed]}
    figure.add_scatter(**place, name="selected", mode="markers", marker=style, hoverinfo="skip")
    figure.update_xaxes(title="latency, median (ms)", rangemode="tozero")
    figure.update_yaxes(title="AP@[.5:.95]", rangemode="tozero")
    return figure


def scored_words(summary: Summary) -> str:
    """Return what the front's points are, for the legend."""
    return "front, mean over seeds" if summary.has_repeats else "front, as scored"


def new_figure(*, height: int) -> "Figure":
    """Return an empty figure, `height` pixels high and as wide as its place, in the style of all pages."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        height=height,
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 12, "color": ESTIMATE},
        margin={"l": 56, "r": 12, "t": 32, "b": 48},
        showlegend=True,
        hovermode="closest",
        hoverlabel={"align": "left", "bgcolor": ESTIMATE, "font": {"color": "white"}},
        legend={"orientation": "h", "x": 0, "y": -64 / (height - 80), "yanchor": "top"},  # below the axis' title
    )
    figure.update_xaxes(title_standoff=8)
    return figure


def escape(text: str) -> str:
    """Return text for a figure, which takes a part of HTML for markup."""
    return html.escape(text, quote=False)


def _add_numbers(figure: "Figure", summary: Summary) -> None:
    """Write the members' numbers above and left of their points; the knee's comes first, the page hides what overlaps."""
    first = summary.knee
    ordered = sorted(reversed(summary.front), key=lambda one: one is not first)
    figure.add_scatter(
        x=[_latency_ms(one) for one in ordered],
        y=[summary.compared_ap(one) for one in ordered],
        text=[f"#{one.number}" for one in ordered],
        mode="markers+text",
        marker={"size": 11, "opacity": 0},  # keeps the numbers off the points and the bars
        textposition="top left",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _latency_ms(record: TrialRecord) -> float:
    assert record.result.latency is not None
    return record.result.latency.median_ms
