"""`yoloret-nas compare`: networks against each other on devices, the paper's tables from one's own measurements."""

import functools
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from yoloret_nas.options.complete import complete_network, complete_path
from yoloret_nas.options.networks import FORMS, explains
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.values import check_file

if TYPE_CHECKING:
    from trials.latency.comparison import Row
    from yoloret_nas.sources import Source


@explains(f"Each of NETWORKS is {FORMS}.")
@click.command()
@click.argument("sources", metavar="NETWORKS...", nargs=-1, required=True, shell_complete=complete_network)
@click.option("--device", "specs", multiple=True, default=("cpu",), help="Where to measure; repeatable.")
@click.option(
    "--data",
    default=None,
    shell_complete=complete_path,
    help="Score the trained ones on this dataset.  [default: their own record]",
)
@click.option(
    "--split", type=click.Choice(("train", "val", "test")), default="val", help="Split of --data to score on."
)
@click.option(
    "--skip-broken", is_flag=True, help="Leave broken images and annotations of --data out instead of stopping."
)
@click.option("--classes", type=click.IntRange(1), default=20, help="Classes of networks that were never trained.")
@click.option("--out", type=UserPath(), default=None, help="Write the table there as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def compare(
    sources: tuple[str, ...],
    specs: tuple[str, ...],
    data: str | None,
    split: str,
    skip_broken: bool,
    classes: int,
    out: Path | None,
    as_json: bool,
    root: Path,
) -> None:
    """Compare NETWORKS.

    Accuracy is of trained networks only; latency is measured now, on each device.
    """
    from search.reports.table import write_csv
    from trials.latency.comparison import compare_latencies
    from trials.latency.open_device import open_device
    from yoloret_nas.sources import find_source

    _refuse_idle_options(click.get_current_context(), has_data=data is not None)
    check_file("--out", out)
    found = [find_source(text, root=root) for text in sources]

    @functools.cache  # all networks are scored on the same data
    def notice(note: str) -> None:
        click.echo(f"note: {note}", err=True)

    rows = [
        _describe(source, data=data, split=split, notice=notice, skip_broken=skip_broken, classes=classes)
        for source in found
    ]

    def show() -> None:
        click.echo(json.dumps(rows, indent=1) if as_json else _table(rows))
        if out is not None:
            write_csv(rows, out)

    with ExitStack() as stack:
        devices = [stack.enter_context(closing(open_device(spec, patience_s=0))) for spec in specs]
        for row in rows:
            row.update({f"ms on {device.name}": None for device in devices})
        try:
            for source, row in zip(found, rows, strict=True):
                named = [(source.label, source.file or source.architecture, row["classes"])]
                for measured in compare_latencies(devices, named):
                    row[f"ms on {measured.device}"] = _median(measured)
        except KeyboardInterrupt:  # what took minutes on a board is not lost
            show()
            raise
    show()
    if any(row[f"ms on {device.name}"] is None for row in rows for device in devices):
        raise click.exceptions.Exit(1)


def _refuse_idle_options(context: click.Context, *, has_data: bool) -> None:
    """Refuse options of --data that were typed without it; the project file's lines hold where they apply."""
    typed = [
        option
        for name, option in (("split", "--split"), ("skip_broken", "--skip-broken"))
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if typed and not has_data:
        raise click.UsageError(f"{typed[0]} is about the images of --data; add --data, or leave it out")


def _describe(
    source: "Source",
    *,
    data: str | None,
    split: str,
    notice: Callable[[str], None],
    skip_broken: bool,
    classes: int,
) -> dict[str, Any]:
    from spaces.aspect import in_words
    from spaces.networks import build_network, count_macs, count_params
    from trials.training import CHECKPOINT_FILE

    is_trained = source.folder is not None and (source.folder / CHECKPOINT_FILE).is_file()
    num_classes = source.num_classes or classes
    network = build_network(source.architecture, num_classes=num_classes)
    if data is not None and source.record is not None and not is_trained:
        click.echo(f"{source.label} is not scored on {data}: its weights are not kept", err=True)
    ap, ap50, num_images = None, None, None
    if data is not None and is_trained:
        from yoloret_nas.scoring import score_source

        scores, num_images = score_source(source, data=data, split=split, notice=notice, skip_broken=skip_broken)
        ap, ap50 = scores.ap, scores.ap50
    elif data is None and (is_trained or source.record is not None):
        ap, ap50 = _recorded_accuracy(source)
    return {
        "network": source.label,
        "size": in_words(source.architecture.input_hw),
        "classes": num_classes,
        "AP": ap,
        "AP50": ap50,
        **({"images": num_images} if data is not None else {}),
        "MACs M": count_macs(network, input_hw=source.architecture.input_hw) / 1e6,
        "params M": count_params(network) / 1e6,
    }


def _recorded_accuracy(source: "Source") -> tuple[float | None, float | None]:
    from yoloret_nas.export.model_card import METRICS_FILE

    if source.record is not None:
        return source.record.result.ap, source.record.result.ap50
    assert source.folder is not None
    if not (source.folder / METRICS_FILE).is_file():  # a checkpoint alone has no record
        return None, None
    metrics = json.loads((source.folder / METRICS_FILE).read_text(encoding="utf-8"))
    if source.file is not None:  # none for the network alone, and where the export was not tried
        proof = metrics["proofs"].get(source.file.name, {})
        if proof and (other := metrics.get("other_data")):
            click.echo(f"{source.label} has no AP here: its record is of other images, {other}; add --data", err=True)
            return None, None
        metrics = proof
    return metrics.get("ap"), metrics.get("ap50")


def _median(row: "Row") -> float | None:
    if row.latency is None:
        click.echo(f"{row.model} on {row.device}: {row.reason}", err=True)
        return None
    return row.latency.median_ms


def _table(rows: list[dict[str, Any]]) -> str:
    forms = {"AP": ".4f", "AP50": ".4f", "MACs M": ".1f", "params M": ".2f"}
    names = list(rows[0])
    cells = [names] + [
        [
            "–" if row[name] is None else format(row[name], forms.get(name, ".3f" if name.startswith("ms on") else ""))
            for name in names
        ]
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    )
