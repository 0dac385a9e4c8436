"""`yoloret-nas latency`: a table of networks' latencies on devices."""

import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloret_nas.options.complete import complete_network
from yoloret_nas.options.networks import FORMS, explains
from yoloret_nas.options.paths import UserPath

if TYPE_CHECKING:
    from trials.latency.comparison import Row


@explains(f"A model is {FORMS}, or any other file of ONNX or OpenVINO.")
@click.command("latency")
@click.option("--device", "specs", multiple=True, default=("cpu",), help="Where to measure; repeatable.")
@click.option("--classes", type=click.IntRange(1), default=20, help="Classes of networks that were never trained.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, samples included.")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
@click.argument("models", nargs=-1, required=True, shell_complete=complete_network)
def latency(specs: tuple[str, ...], classes: int, as_json: bool, root: Path, models: tuple[str, ...]) -> None:
    """Measure the latency of MODELS on devices.

    What was trained has the classes that it was trained for.
    """
    from trials.latency.comparison import compare_latencies
    from trials.latency.open_device import open_device
    from yoloret_nas.sources import find_model

    named = [(model, *find_model(model, root=root, classes=classes)) for model in models]
    rows: list[Row] = []
    try:
        with ExitStack() as stack:
            devices = [stack.enter_context(closing(open_device(spec, patience_s=0))) for spec in specs]
            for row in compare_latencies(devices, named):
                rows.append(row)
                if row.latency is None:
                    click.echo(f"{row.model} on {row.device}: {row.reason}", err=True)
    except KeyboardInterrupt:  # what took minutes on a board is not lost
        _print(rows, as_json=as_json)
        raise
    _print(rows, as_json=as_json)
    if any(row.latency is None for row in rows):
        raise click.exceptions.Exit(1)


def _print(rows: "list[Row]", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_as_json(row) for row in rows], indent=2))
    elif rows:
        _print_table(rows)


def _print_table(rows: "list[Row]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from trials.latency.comparison import MEASURED

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table("model", "device", box=None, pad_edge=False)
    has_rate = any(row.latency and row.latency.throughput_per_s is not None for row in rows)
    for name in ("median ms", "p90", "p99", "spread", *(["per second"] if has_rate else []), "precision"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.latency is None:
            table.add_row(escape(row.model), escape(row.device), "failed")
            continue
        measured = row.latency
        rate = "" if measured.throughput_per_s is None else f"{measured.throughput_per_s:.1f}"
        figures = [f"{value:.3f}" for value in (measured.median_ms, measured.p90_ms, measured.p99_ms)]
        figures += [f"{measured.spread:.1%}", *([rate] if has_rate else []), row.precision]
        table.add_row(escape(row.model), escape(row.device), *figures)
    console.print(table)
    for row in rows:
        for note in row.latency.notes if row.latency else ():
            console.print(f"{row.model} on {row.device}: {note}", markup=False, soft_wrap=True)
    for kind in dict.fromkeys(row.latency.device.kind for row in rows if row.latency):
        console.print(f"{kind}: {MEASURED[kind]}", soft_wrap=True)
    for identity in dict.fromkeys(str(row.latency.device) for row in rows if row.latency):
        console.print(f"on {identity}", markup=False, soft_wrap=True)


def _as_json(row: "Row") -> dict[str, object]:
    from trials.latency.comparison import MEASURED

    document: dict[str, object] = {"model": row.model, "device": row.device, "reason": row.reason}
    if row.latency is not None:
        measured = row.latency
        document |= {
            "median_ms": measured.median_ms,
            "p90_ms": measured.p90_ms,
            "p99_ms": measured.p99_ms,
            "spread": measured.spread,
            "precision": row.precision,
            "what": MEASURED[measured.device.kind],
            "latency": measured.to_dict(),
        }
    return document
