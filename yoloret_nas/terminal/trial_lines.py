"""Trials and fronts as lines and tables of text."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from search.study.record import TrialRecord
from search.study.summary import Summary
from spaces import Architecture

_COLOURS = {"complete": "green", "pruned": "yellow", "infeasible": "blue", "failed": "red"}
_FRONT_COLUMNS = {"trial": 5, "AP": 6, "estimated": 13, "AP50": 6, "median": 10, "p99": 10, "MACs": 7, "params": 6}
"""Column to its width in characters."""
_FRONT_MOST_WANTED = ("trial", "AP", "estimated", "median")
_WIDE = 100
_LINE_COLUMNS = {"trial": 5, "AP": 6, "AP50": 6, "median": 9, "p99": 9, "MACs": 7, "params": 7}


def header_line() -> str:
    """Return the header of `trial_line`."""
    columns = _line({name: name for name in _LINE_COLUMNS}, state="state", time="time")
    return f"{columns}  architecture (★ on the front when it finished), or reason"


def trial_line(record: TrialRecord, *, on_front: bool) -> Text:
    """Return a finished trial as one line: number, state, AP, AP50, latencies, MACs, parameters, seconds, reason."""
    result, latency = record.result, record.result.latency
    time = f"{sum(result.seconds.values()):.1f} s"
    line = Text(_line(_figures(record), state=result.state, time=time), no_wrap=True, overflow="ellipsis")
    line.stylize(_COLOURS[result.state], 7, 17)
    tail = f"{'★ ' if on_front else ''}{record.label + ' ' if record.label else ''}{short(record.architecture)}"
    if result.state != "complete":
        tail = result.reason
    elif latency and latency.notes:
        tail += f" ({'; '.join(latency.notes)})"
    return line.append(f"  {tail}", style="bold" if on_front else "")


def short(architecture: Architecture) -> str:
    """Return an architecture's choices in short form."""
    neck = "BiFPN" if architecture.neck == "bifpn" else "no RFCR"
    if architecture.scale_set is not None:
        sizes = f"{architecture.rfcr_width}/{architecture.rfcr_channels}/k{architecture.rfcr_kernel}"
        neck = f"{architecture.scale_set} {sizes} {architecture.shortcut}"
    transfer = f"^{architecture.transfer}" if architecture.transfer else ""
    return (
        f"{architecture.backbone}[:{architecture.truncation}]{transfer} {architecture.input_size}px {neck} "
        f"{architecture.head}×{architecture.head_width}"
    )


def front_table(
    summary: Summary, *, knee: TrialRecord | None, title: str, limit: int | None = None, width: int = 200
) -> Table:
    """Return the front as a table, fastest first, with its estimates and the members that are alike.

    Args:
        summary: The study.
        knee: Marked, if it is a member.
        title: Above the table.
        limit: Shows only the most accurate ones, this many; None for all.
        width: Of the terminal in characters; a narrow one gets fewer columns.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    figures = {name: size for name, size in _FRONT_COLUMNS.items() if width >= _WIDE or name in _FRONT_MOST_WANTED}
    if not summary.estimates:
        del figures["estimated"]
    for name, size in figures.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=size)
    table.add_column("architecture", no_wrap=True, overflow="ellipsis")
    front, alike = summary.front, summary.alike
    for record in front if limit is None else front[-limit:]:
        cells = _figures(record) | {"estimated": str(summary.estimates.get(record.number, "–"))}
        mark = f"  ≈ {alike[record.number]}" if record.number in alike else ""
        mark += "  ← knee" if knee is not None and record.number == knee.number else ""
        table.add_row(*(cells[name] for name in figures), f"{short(record.architecture)}{mark}")
    return table


def _line(cells: Mapping[str, str], *, state: str, time: str) -> str:
    trial, *others = (f"{cells[name]:>{size}}" for name, size in _LINE_COLUMNS.items())
    return "  ".join([trial, f"{state:<10}", *others, f"{time:>7}"])


def _figures(record: TrialRecord) -> dict[str, str]:
    result, latency = record.result, record.result.latency
    return {
        "trial": f"{record.number}",
        "AP": _number(result.ap, ".4f"),
        "AP50": _number(result.ap50, ".4f"),
        "median": _number(latency.median_ms if latency else None, ".3f", " ms"),
        "p99": _number(latency.p99_ms if latency else None, ".3f", " ms"),
        "MACs": _number(result.macs / 1e6 if result.macs else None, ".1f", " M"),
        "params": _number(result.params / 1e6 if result.params else None, ".2f", " M"),
    }


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
