"""An experiment's results by label: mean and standard deviation over seeds, as a table and as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from search.front.record import TrialRecord
from search.reports.front_plot import CLEAR, ESTIMATE, FRONT
from search.reports.picture import new_figure, save_figure
from search.reports.table import write_csv


@dataclass(frozen=True, kw_only=True)
class Row:
    """One label's figures."""

    label: str
    ap: tuple[float, ...]
    """AP@[.5:.95] of each seed."""
    ap50: tuple[float, ...]
    """AP at IoU 0.5 of each seed."""
    latency_ms: float
    """Median latency; seeds share one network."""
    macs: int
    params: int

    @property
    def mean_ap(self) -> float:
        """Mean over the seeds."""
        return mean(self.ap)

    @property
    def spread_ap(self) -> float | None:
        """Standard deviation over the seeds, None for a single seed."""
        return stdev(self.ap) if len(self.ap) > 1 else None


def to_rows(records: Sequence[TrialRecord]) -> list[Row]:
    """Return each label's complete trainings as one row, in order of first occurrence, complete or not."""
    by_label: dict[str, list[TrialRecord]] = {record.label: [] for record in records}
    for record in records:
        if record.point is not None:
            by_label[record.label].append(record)
    return [_row(label, complete) for label, complete in by_label.items() if complete]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write a CSV, one label per line."""
    lines: list[dict[str, str | int]] = [
        {
            "label": row.label,
            "ap": f"{row.mean_ap:.4f}",
            "ap_std": "" if row.spread_ap is None else f"{row.spread_ap:.4f}",
            "ap50": f"{mean(row.ap50):.4f}",
            "seeds": len(row.ap),
            "latency_ms": f"{row.latency_ms:.4f}",
            "macs_m": f"{row.macs / 1e6:.2f}",
            "params_m": f"{row.params / 1e6:.4f}",
        }
        for row in rows
    ]
    write_csv(lines, path)


def draw_steps(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Draw labels as bars: accuracy with its standard deviation above, latency below."""
    figure, (upper, lower) = new_figure(2, height=7.4)
    places = range(len(rows))
    spreads = [row.spread_ap or 0.0 for row in rows]
    upper.bar(places, [row.mean_ap for row in rows], yerr=spreads, color=CLEAR, capsize=4 if any(spreads) else 0)
    lower.bar(places, [row.latency_ms for row in rows], color=FRONT)
    for place, row in zip(places, rows, strict=True):
        upper.plot([place] * len(row.ap), row.ap, "o", color=ESTIMATE, markersize=3)
        for axes, text in ((upper, f"{row.mean_ap:.3f}"), (lower, f"{row.latency_ms:.2f}")):
            style = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "color": "white"}
            axes.annotate(text, (place, 0), **style)
    upper.set_title(title, fontsize=10, parse_math=False)
    for axes, label in ((upper, "AP@[.5:.95]"), (lower, "latency, median (ms)")):
        axes.set_ylabel(label)
        axes.set_xticks(list(places), [row.label for row in rows])
        axes.grid(axis="y", alpha=0.25)
    save_figure(figure, path)


def draw_curve(rows: Sequence[Row], path: Path, *, title: str, axis: str) -> None:
    """Draw accuracy along an axis, labels in order, with a band of one standard deviation over the seeds."""
    figure, (axes,) = new_figure(1, height=4.2)
    places = list(range(len(rows)))
    means, spreads = [row.mean_ap for row in rows], [row.spread_ap or 0.0 for row in rows]
    low, high = np.subtract(means, spreads), np.add(means, spreads)
    axes.fill_between(places, low, high, color=CLEAR, alpha=0.25, label="± one standard deviation")
    axes.plot(places, means, "o-", color=CLEAR, label="mean of the seeds")
    for place, row in zip(places, rows, strict=True):
        axes.plot([place] * len(row.ap), row.ap, ".", color=ESTIMATE, markersize=4)
    axes.set_xticks(places, [row.label for row in rows])
    axes.set_xlabel(axis)
    axes.set_ylabel("AP@[.5:.95]")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    save_figure(figure, path)


def draw_trade_off(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Draw accuracy against latency; labels that are equal up to a bracket are joined by a line, with error bars."""
    figure, (axes,) = new_figure(1, height=5)
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(row.label.partition("[")[0], []).append(row)
    for name, members in series.items():
        ordered = sorted(members, key=lambda row: row.latency_ms)
        latencies, means = [row.latency_ms for row in ordered], [row.mean_ap for row in ordered]
        spreads = [row.spread_ap or 0.0 for row in ordered]
        axes.errorbar(latencies, means, yerr=spreads, fmt="o-", capsize=4 if any(spreads) else 0, label=name)
        for row in ordered:
            below = {"xytext": (6, -10), "textcoords": "offset points", "fontsize": 8, "parse_math": False}
            axes.annotate(row.label.removeprefix(name), (row.latency_ms, row.mean_ap), **below)
    axes.set_xlabel("latency, median (ms)")
    axes.set_ylabel("AP@[.5:.95]")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.25)
    axes.margins(x=0.12, y=0.12)
    axes.legend(fontsize=8)
    save_figure(figure, path)


def _row(label: str, records: Sequence[TrialRecord]) -> Row:
    points = [record.point for record in records if record.point is not None]
    first = records[0].result
    assert first.macs is not None
    assert first.params is not None
    return Row(
        label=label,
        ap=tuple(ap for ap, _ in points),
        ap50=tuple(record.result.ap50 or 0.0 for record in records),
        latency_ms=mean(latency_ms for _, latency_ms in points),
        macs=first.macs,
        params=first.params,
    )
