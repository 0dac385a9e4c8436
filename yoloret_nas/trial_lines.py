"""Trials and fronts as lines and tables of text."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from search.record import TrialRecord
from spaces import Architecture

_COLOURS = {"complete": "green", "pruned": "yellow", "infeasible": "blue", "failed": "red"}
_HEADER = (
    f"{'trial':>5}  {'state':<10}  {'AP':>6}  {'AP50':>6}  {'median':>9}  {'p99':>9}"
    f"  {'MACs':>7}  {'params':>7}  {'time':>7}"
)


def header_line() -> str:
    """Give the columns of `trial_line`."""
    return f"{_HEADER}  architecture, or reason"


def trial_line(record: TrialRecord, *, on_front: bool) -> Text:
    """Give a finished trial in one line: number, state, AP, AP50, latencies, MACs, parameters, seconds, reason."""
    result, latency = record.result, record.result.latency
    cells = [
        f"{record.number:>5}",
        f"{result.state:<10}",
        f"{_number(result.ap, '.4f'):>6}",
        f"{_number(result.ap50, '.4f'):>6}",
        f"{_number(latency.median_ms if latency else None, '.3f', ' ms'):>9}",
        f"{_number(latency.p99_ms if latency else None, '.3f', ' ms'):>9}",
        f"{_number(result.macs / 1e6 if result.macs else None, '.1f', ' M'):>7}",
        f"{_number(result.params / 1e6 if result.params else None, '.2f', ' M'):>7}",
        f"{sum(result.seconds.values()):>5.1f} s",
    ]
    line = Text("  ".join(cells), no_wrap=True, overflow="ellipsis")
    line.stylize(_COLOURS[result.state], 7, 17)
    tail = f"{'★ ' if on_front else ''}{record.preset + ' ' if record.preset else ''}{short(record.architecture)}"
    if result.state != "complete":
        tail = result.reason
    elif latency and latency.notes:
        tail += f" ({'; '.join(latency.notes)})"
    return line.append(f"  {tail}", style="bold" if on_front else "")


def short(architecture: Architecture) -> str:
    """Give an architecture's choices in few words."""
    neck = "no RFCR"
    if architecture.scale_set is not None:
        sizes = f"{architecture.rfcr_width}/{architecture.rfcr_channels}/k{architecture.rfcr_kernel}"
        neck = f"{architecture.scale_set} {sizes} {architecture.shortcut}"
    transfer = f"^{architecture.transfer}" if architecture.transfer else ""
    return (
        f"{architecture.backbone}[:{architecture.truncation}]{transfer} {architecture.input_size}px {neck} "
        f"{architecture.head}×{architecture.head_width}"
    )


def front_table(
    front: Sequence[TrialRecord], *, knee: TrialRecord | None, title: str, limit: int | None = None
) -> Table:
    """Give the front as a table, fastest first; with a limit, its most accurate members."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    # In a narrow terminal the architecture gives way, not the figures.
    widths = {"trial": 5, "AP": 6, "AP50": 6, "median": 8, "p99": 8, "MACs": 7, "params": 6}
    for name, width in widths.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("architecture", no_wrap=True, overflow="ellipsis")
    for record in front if limit is None else front[-limit:]:
        result, latency = record.result, record.result.latency
        assert latency is not None
        table.add_row(
            f"{record.number}",
            _number(result.ap, ".4f"),
            _number(result.ap50, ".4f"),
            f"{latency.median_ms:.3f} ms",
            f"{latency.p99_ms:.3f} ms",
            _number(result.macs / 1e6 if result.macs else None, ".1f", " M"),
            _number(result.params / 1e6 if result.params else None, ".2f", " M"),
            f"{short(record.architecture)}{'  ← knee' if knee is not None and record.number == knee.number else ''}",
        )
    return table


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
