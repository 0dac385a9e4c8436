"""The parts of a study's report as interactive figures."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.effects import Effect
from search.reports.front_plot import CLEAR, FRONT, OTHERS, STOPPED, escape, new_figure
from search.study.refit import Refit

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ROW = 30
"""Height in pixels of a row: its name above its mark, so that long names need no margin and also fit a phone."""


def plot_effects(effects: Sequence[Effect]) -> "Figure":
    """Return a dot and an interval for the effect of each value of each axis: on AP, and beside it on latency.

    Args:
        effects: As `estimate_effects` returns them, the values of an axis one after the other.
    """
    rows: list[tuple[str, Effect | None]] = []
    for axis, values in groupby(effects, key=lambda effect: effect.axis):
        rows += [(axis, None), *((axis, effect) for effect in values)]
    figure = new_figure(height=_ROW * len(rows) + 100)
    panels = (
        ("x", "AP, added", [(one.ap, one.ap_range, 0.0, "{:+.3f}") for one in effects]),
        ("x2", "latency, factor", [(one.latency, one.latency_range, 1.0, "×{:.2f}") for one in effects]),
    )
    places = [place for place, (_, effect) in enumerate(rows) if effect]
    for axis, _, marks in panels:
        for is_clear, colour, name in ((True, CLEAR, "clear"), (False, OTHERS, "not clear beyond noise")):
            chosen = [
                (place, effect, mark)
                for place, effect, mark in zip(places, effects, marks, strict=True)
                if is_clear != (mark[1][0] <= mark[2] <= mark[1][1])
            ]
            figure.add_scatter(
                x=[value for _, _, (value, *_) in chosen],
                y=[place for place, *_ in chosen],
                error_x={
                    "array": [high - value for _, _, (value, (_, high), *_) in chosen],
                    "arrayminus": [value - low for _, _, (value, (low, _), *_) in chosen],
                    "width": 0,
                },
                xaxis=axis,
                name=name,
                legendgroup=name,
                showlegend=axis == "x",
                mode="markers",
                marker={"color": colour, "size": 8},
                hovertext=[_effect_words(effect, *mark) for _, effect, mark in chosen],
                hoverinfo="text",
            )
    names = [
        _name_above(row, effect.value) if effect else _heading(row, axis) for row, (axis, effect) in enumerate(rows)
    ]
    figure.update_layout(
        xaxis={"title": panels[0][1], "domain": [0, 0.485], "zeroline": True, "zerolinecolor": OTHERS, "nticks": 4},
        xaxis2={
            "title": panels[1][1],
            "domain": [0.515, 1],
            "type": "log",
            "anchor": "y",
            "tickvals": _factors(effects),
        },
        shapes=[{"type": "line", "xref": "x2", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1} | _HAIRLINE],
    )
    _one_below_the_other(figure, names)
    return figure


def plot_hypervolume(points: Sequence[tuple[float, float]], *, axis: str) -> "Figure":
    """Return the hypervolume along an axis as a line: what was found stays found.

    Args:
        points: Place on the axis and hypervolume from there on, in order.
        axis: What the places are.
    """
    figure = new_figure(height=280)
    line = {
        "mode": "lines",
        "line": {"color": CLEAR, "shape": "hv"},
        "hovertemplate": "%{x:.4g}: %{y:.4f}<extra></extra>",
        "showlegend": False,
    }
    figure.add_scatter(x=[0.0, *(place for place, _ in points)], y=[0.0, *(value for _, value in points)], **line)
    figure.update_xaxes(title=axis, rangemode="tozero")
    figure.update_yaxes(title="hypervolume", rangemode="tozero")
    return figure


def plot_work(seconds_by_kind: Mapping[str, float]) -> "Figure":
    """Return a bar for each kind of work, with its minutes and its share."""
    spent = {kind: seconds for kind, seconds in seconds_by_kind.items() if seconds}
    whole = sum(spent.values())
    figure = new_figure(height=_ROW * len(spent) + 80)
    minutes = [seconds / 60 for seconds in spent.values()]
    figure.add_bar(
        x=minutes,
        y=list(range(len(spent))),
        orientation="h",
        marker={"color": CLEAR},
        width=0.3,
        hoverinfo="x",
        showlegend=False,
    )
    figure.update_xaxes(title="minutes")
    words = [f"{kind}: {seconds / 60:.1f} minutes, {seconds / whole:.1%}" for kind, seconds in spent.items()]
    _one_below_the_other(figure, [_name_above(row, text) for row, text in enumerate(words)])
    return figure


def plot_curves(summary: Summary) -> "Figure":
    """Return the AP of each trained trial by epoch; stopped ones end in a cross."""
    front = {member.number for member in summary.front}
    scored = [record for record in summary.records if record.curve]
    groups = {
        ("complete", OTHERS, "solid"): [one for one in scored if one.point and one.number not in front],
        ("stopped", STOPPED, "dot"): [one for one in scored if not one.point],
        ("front", FRONT, "solid"): [one for one in scored if one.number in front],
    }
    figure = new_figure(height=400)
    for (name, colour, dash), records in groups.items():
        figure.add_scatter(
            **_joined(records),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 1.2},
            marker={"size": 4},
            hovertemplate="#%{customdata}, epoch %{x}: AP %{y:.3f}<extra></extra>",
        )
    ends = [(record.number, *record.curve[-1], record.result.reason) for record in scored if not record.point]
    figure.add_scatter(
        x=[epoch for _, epoch, _, _ in ends],
        y=[ap for _, _, ap, _ in ends],
        hovertext=[escape(f"#{number}: {reason}") for number, _, _, reason in ends],
        hoverinfo="text",
        name="where it was stopped",
        mode="markers",
        marker={"symbol": "x-thin-open", "size": 10, "color": STOPPED, "line": {"width": 2}},
    )
    figure.update_xaxes(title="epoch", rangemode="tozero")
    figure.update_yaxes(title="AP@[.5:.95]", rangemode="tozero")
    return figure


def plot_refit(refit: Refit) -> "Figure":
    """Return the AP of full trainings against that of the short ones; a trial on the dotted line gained nothing."""
    front = {record.number for record in refit.summary.front}
    figure = new_figure(height=400)
    for name, colour, chosen in (
        ("trained in full", OTHERS, [one for one in refit.retrained if one.best.number not in front]),
        ("final front", FRONT, [one for one in refit.retrained if one.best.number in front]),
    ):
        figure.add_scatter(
            x=[one.trial.result.ap for one in chosen],
            y=[one.ap for one in chosen],
            hovertext=[
                f"full training {one.best.number} of trial {one.trial.number}<br>{escape(one.trial.architecture.short)}<br>"
                f"AP short {one.trial.result.ap:.4f}, full {one.ap:.4f}"
                for one in chosen
            ],
            hoverinfo="text",
            text=[f"#{one.trial.number}" for one in chosen],
            textposition="top left",
            name=name,
            mode="markers+text",
            cliponaxis=False,
            marker={"size": 9, "color": colour},
        )
    short = [one.trial.result.ap for one in refit.retrained if one.trial.result.ap is not None]
    if short:
        ends = [min(short), max(short)]
        style: dict[str, Any] = {"color": OTHERS, "dash": "dot", "width": 1}
        figure.add_scatter(x=ends, y=ends, mode="lines", line=style, name="no gain", hoverinfo="skip")
    figure.update_xaxes(title="AP of the short training")
    figure.update_yaxes(title="AP of the full training")
    return figure


_HAIRLINE: dict[str, Any] = {"layer": "below", "line": {"color": OTHERS, "width": 1}}


def _factors(effects: Sequence[Effect]) -> list[float]:
    """Return round factors to mark on a logarithmic axis: few enough for a phone, and at least two."""
    span = max(effect.latency_range[1] for effect in effects) / min(effect.latency_range[0] for effect in effects)
    step = 4.0 if span > 32 else 2.0 if span > 4 else 1.5 if span > 1.8 else 1.1
    return [round(step**power, 2) for power in range(-6, 7)]


def _effect_words(effect: Effect, value: float, span: tuple[float, float], _: float, form: str) -> str:
    low, high = span
    words = f"{effect.axis} {effect.value}: {form.format(value)} ({form.format(low)} to {form.format(high)})"
    return escape(f"{words}, {effect.trials} complete trials")


def _joined(records: Sequence[TrialRecord]) -> dict[str, list[Any]]:
    """Return the curves of trials as one, with a gap after each."""
    joined: dict[str, list[Any]] = {"x": [], "y": [], "customdata": []}
    for record in records:
        for epoch, ap in (*record.curve, (None, None)):
            joined["x"].append(epoch)
            joined["y"].append(None if ap is None else round(ap, 4))
            joined["customdata"].append(record.number)
    return joined


def _name_above(row: int, name: str) -> dict[str, Any]:
    """Return the name of a row from the left edge on, above its mark."""
    return {"y": row, "text": escape(name), "yshift": 4, "font": {"size": 11}}


def _heading(row: int, name: str) -> dict[str, Any]:
    """Return a row that is a heading of the rows below it."""
    return {"y": row, "text": f"<b>{escape(name)}</b>", "yshift": -8}


def _one_below_the_other(figure: "Figure", texts: Sequence[dict[str, Any]]) -> None:
    """Put as many rows as there are texts one below the other, with their texts."""
    style = {"xref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    figure.update_layout(annotations=[{**style, **text} for text in texts], margin={"l": 12})
    figure.update_yaxes(range=[len(texts) - 0.4, -0.9], showticklabels=False, showgrid=False, zeroline=False)
