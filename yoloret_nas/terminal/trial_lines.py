"""Trials and fronts as lines and tables of text."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from search.front.record import TrialRecord
from search.front.summary import Summary

_COLOURS = {"complete": "green", "pruned": "yellow", "infeasible": "blue", "failed": "red"}
_FRONT_COLUMNS = {"trial": 5, "AP": 6, "estimated": 13, "AP50": 6, "median": 10, "p99": 10, "MACs": 7, "params": 6}
"""Column to its width in characters."""
_FRONT_MOST_WANTED = ("trial", "AP", "estimated", "median")
_MIN_ARCHITECTURE = 60
"""Characters left for the architecture, below which a table has only the most wanted columns."""
_GAP = 2
"""Characters between two columns of a table."""
_LINE_COLUMNS = {
    "trial": 5,
    "state": 10,
    "AP": 6,
    "AP50": 6,
    "median": 9,
    "p99": 9,
    "MACs": 7,
    "params": 7,
    "time": 7,
}
_LINE_MOST_WANTED = ("trial", "state", "AP", "median", "time")
_LAST_COLUMN = ("architecture (★ on the front when it finished), or reason", "architecture (★ front), or reason")


def header_line(width: int) -> Text:
    """Return the header of `trial_line`; `width` as there."""
    columns = _fitting(_LINE_COLUMNS, most_wanted=_LINE_MOST_WANTED, width=width)
    long, short = _LAST_COLUMN
    last = long if len(long) <= _left_by(columns, width=width) else short
    line = f"{_line({name: name for name in columns}, columns)}  {last}"
    return Text(line, style="bold", no_wrap=True, overflow="ellipsis")


def trial_line(record: TrialRecord, *, on_front: bool, width: int) -> Text:
    """Return a finished trial as one line: number, state, AP, AP50, latencies, MACs, parameters, seconds, architecture.

    In place of the architecture, a trial that is not complete has the whole reason, in several lines where it is long.

    Args:
        record: The trial.
        on_front: Whether no other one beats it.
        width: Of the terminal in characters; a narrow one gets fewer columns.
    """
    result, latency = record.result, record.result.latency
    columns = _fitting(_LINE_COLUMNS, most_wanted=_LINE_MOST_WANTED, width=width)
    cells = _figures(record) | {"state": result.state, "time": f"{sum(result.seconds.values()):.1f} s"}
    is_complete = result.state == "complete"
    line = Text(_line(cells, columns), no_wrap=is_complete, overflow="ellipsis" if is_complete else "fold")
    line.stylize(_COLOURS[result.state], 7, 17)
    tail = f"{'★ ' if on_front else ''}{record.label + ' ' if record.label else ''}{record.architecture.short}"
    if not is_complete:
        tail = result.reason
    elif latency and latency.notes:
        tail += f" ({'; '.join(latency.notes)})"
    return line.append(f"  {tail}", style="bold" if on_front else "")


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
    columns = {name: size for name, size in _FRONT_COLUMNS.items() if name != "estimated" or summary.estimates}
    front, alike = summary.front, summary.alike
    shown = front if limit is None else front[-limit:]
    marks = {record.number: f"≈ {alike[record.number]}" for record in shown if record.number in alike}
    if knee is not None and knee in shown:
        marks[knee.number] = f"{marks.get(knee.number, '')}  ← knee".lstrip()
    mark_width = max(map(len, marks.values()), default=0)
    figures = add_columns(table, columns, most_wanted=_FRONT_MOST_WANTED, width=width - mark_width - _GAP)
    table.add_column("", no_wrap=True, min_width=mark_width)  # of its own: a long architecture must not push it out
    for record in shown:
        cells = _figures(record) | {"estimated": str(summary.estimates.get(record.number, "–"))}
        table.add_row(*(cells[name] for name in figures), record.architecture.short, marks.get(record.number, ""))
    return table


def add_columns(table: Table, columns: Mapping[str, int], *, most_wanted: Sequence[str], width: int) -> list[str]:
    """Add columns of figures and, last, one for the architecture, which is shortened where the width is not enough.

    Args:
        table: Empty so far.
        columns: Each figure, and its width in characters.
        most_wanted: Those that a narrow terminal shows, too.
        width: For all these columns, in characters.

    Returns:
        The figures that the table shows.
    """
    shown = _fitting(columns, most_wanted=most_wanted, width=width)
    for name, size in shown.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=size)
    table.add_column("architecture", no_wrap=True, overflow="ellipsis", max_width=max(1, _left_by(shown, width=width)))
    return list(shown)


def _fitting(columns: Mapping[str, int], *, most_wanted: Sequence[str], width: int) -> Mapping[str, int]:
    """Return the columns that leave room for an architecture, else the most wanted of them."""
    if _left_by(columns, width=width) >= _MIN_ARCHITECTURE:
        return columns
    return {name: size for name, size in columns.items() if name in most_wanted}


def _left_by(columns: Mapping[str, int], *, width: int) -> int:
    """Return the characters that columns leave of a width."""
    return width - sum(size + _GAP for size in columns.values())


def _line(cells: Mapping[str, str], columns: Mapping[str, int]) -> str:
    return "  ".join(f"{cells[name]:{'<' if name == 'state' else '>'}{size}}" for name, size in columns.items())


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
