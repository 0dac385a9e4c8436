"""The front as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.front.summary import Summary
from search.reports.front_plot import ESTIMATE, FRONT, OTHERS, STOPPED, scored_words
from trials.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation


def draw_front(summary: Summary, path: Path, *, title: str, marked: int | None = None) -> None:
    """Draw the complete trials, the front as a staircase, and the pruned trials at their last AP, as a PNG.

    Where the study has estimates, a bar beside each member of the front is the range of its AP.

    Args:
        summary: The study.
        path: The PNG to write.
        title: Of the axes: the study, its data, its device.
        marked: Number of a complete trial to put a ring around.
    """
    figure, (axes,) = new_figure(1, height=5)
    members = summary.front
    dominated = [one.point for one in summary.records if one.point and one not in members]
    axes.scatter([ms for _, ms in dominated], [ap for ap, _ in dominated], s=22, color=OTHERS, label="complete")
    front = [(one, (summary.compared_ap(one), one.point[1])) for one in members if one.point]
    if front:
        latencies, aps = [point[1] for _, point in front], [point[0] for _, point in front]
        axes.step(latencies, aps, where="post", color=FRONT, linewidth=1.5, zorder=2)
        axes.scatter(latencies, aps, s=42, color=FRONT, zorder=3, label=scored_words(summary))
    if summary.estimates:
        estimates = [summary.estimates[record.number] for record in members]
        errors = [[e.ap - e.ap_range[0] for e in estimates], [e.ap_range[1] - e.ap for e in estimates]]
        bars = {"fmt": "_", "color": ESTIMATE, "markersize": 7, "elinewidth": 1, "zorder": 4}
        axes.errorbar(latencies, [e.ap for e in estimates], yerr=errors, label="front, estimated (5–95 %)", **bars)
    on_front = {one.number: point for one, point in front}
    ring = [on_front.get(one.number, one.point) for one in summary.records if one.number == marked and one.point]
    if ring:
        style = {"s": 190, "facecolors": "none", "edgecolors": ESTIMATE, "linewidths": 1.5, "zorder": 5}
        axes.scatter([ring[0][1]], [ring[0][0]], label=f"trial {marked}", **style)
    pruned = [one.result for one in summary.records if one.result.state == "pruned"]
    stopped = [(result.latency.median_ms, result.ap or 0.0) for result in pruned if result.latency]
    if stopped:
        style = {"s": 22, "marker": "x", "linewidths": 1, "color": STOPPED}
        axes.scatter(*zip(*stopped, strict=True), label="pruned (AP when stopped)", **style)
    axes.set_xlabel("latency, median (ms)")
    axes.set_ylabel("AP@[.5:.95]")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.25)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.06)  # space for the labels
    axes.set_xlim(right=axes.get_xlim()[1] * 1.03)
    axes.legend(loc="lower right", fontsize=8)
    knee_first = sorted(reversed(front), key=lambda pair: pair[0] != summary.knee)
    _number(axes, [(record.number, *point) for record, point in knee_first])
    save_figure(figure, path)


def new_figure(num_panels: int, *, height: float) -> tuple[Any, Any]:
    """Return a figure without a window, `height` inches high, and its panels from top to bottom."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(num_panels, 1, squeeze=False)[:, 0]


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")


def _number(axes: "Axes", points: Sequence[tuple[int, float, float]]) -> None:
    """Write trials' numbers above and left of their points, where the front has none; skip numbers that would overlap.

    Args:
        axes: The axes, with their limits set.
        points: Number, AP and latency in ms of the front's trials, in order of priority.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # lays the axes out: texts have no position before
    kept: list[Annotation] = []
    for number, ap, latency_ms in points:
        text = axes.annotate(
            f"#{number}", (latency_ms, ap), xytext=(-3, 4), textcoords="offset points", fontsize=8, ha="right"
        )
        box = text.get_window_extent()
        if any(box.overlaps(other.get_window_extent()) for other in kept):
            text.remove()
        else:
            kept.append(text)
