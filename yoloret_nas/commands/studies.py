"""`yoloret-nas studies`: what there is."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.values import OptionError

if TYPE_CHECKING:
    from search.front.record import TrialRecord
    from search.study.read_study import ReadStudy


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def studies(as_json: bool, root: Path) -> None:
    """List the studies and trainings in a folder: their state, trials, front, best network, device and data."""
    from search.study.experiment import read_study_or_experiment
    from search.study.lock import is_driven
    from search.study.read_study import experiment_names, study_names
    from spaces import YoloRetError

    names = study_names(root) + experiment_names(root)
    if not names:
        raise OptionError(f"there is no study in {root} yet", hint="begin one with: yoloret-nas search --budget 50")
    rows, unread = [], []
    for name in names:
        try:
            is_running = is_driven(root / name)  # before it is read: it may end meanwhile
            rows.append(_row(read_study_or_experiment(root, name), is_running=is_running))
        except YoloRetError as error:  # begun and never started, damaged, or of a space that is refused by now
            unread.append(error.message)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print(rows)
    for message in unread:
        click.echo(f"note: {message}", err=True)


def _row(opened: "ReadStudy", *, is_running: bool) -> dict[str, Any]:
    from search.strategy.accuracy.estimates import with_estimates

    summary, limit_ms = with_estimates(opened.summary), opened.max_latency_ms
    front = summary.front
    within = [member for member in front if limit_ms is None or (member.point and member.point[1] <= limit_ms)]
    best = max(within, key=summary.expected_ap, default=None)  # as export --best chooses
    return {
        "name": opened.name,
        "kind": "trainings" if opened.space is None else "search",
        "is_running": is_running,
        "interruption": "" if is_running else opened.interruption,
        "states": dict(summary.states),
        "front": len(front),
        "best": _figures(best) if best else None,
        "knee": _figures(summary.knee) if summary.knee else None,
        "max_latency_ms": limit_ms,
        "device": opened.device,
        "data": opened.dataset,
    }


def _figures(record: "TrialRecord") -> dict[str, Any]:
    assert record.point is not None
    return {"trial": record.number, "ap": record.point[0], "latency_ms": record.point[1]}


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False)
    for name in ("study", "kind", "now", "trials", "front", "best", "knee", "limit", "device", "data"):
        table.add_column(name, overflow="fold")
    for row in rows:
        states = ", ".join(f"{count} {state}" for state, count in row["states"].items())
        limit = f"{row['max_latency_ms']:g} ms" if row["max_latency_ms"] else ""
        best, knee = (_words(row[name]) for name in ("best", "knee"))
        front = str(row["front"]) if row["kind"] == "search" else ""
        now = "running" if row["is_running"] else row["interruption"]
        cells = (row["name"], row["kind"], now, states, front, best, knee, limit, row["device"], row["data"])
        table.add_row(*map(escape, cells))
    console.print(table)


def _words(figures: dict[str, Any] | None) -> str:
    return "" if figures is None else f"#{figures['trial']} AP {figures['ap']:.3f}, {figures['latency_ms']:.3g} ms"
