"""The trainings of an experiment, a line for each network."""

from collections.abc import Sequence
from statistics import mean

import click

from search.reports.experiment import Row


def print_rows(rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Print the networks that have complete trainings, then the labels of the others."""
    width = max(14, *(len(label) + 1 for label in labels))
    click.echo(f"{'':{width}}{'AP':>8}{'±':>8}{'AP50':>8}{'median':>12}{'MACs':>11}{'params':>10}")
    for row in rows:
        spread = "—" if row.spread_ap is None else f"{row.spread_ap:.4f}"
        click.echo(
            f"{row.label:{width}}{row.mean_ap:8.4f}{spread:>8}{mean(row.ap50):8.4f}{row.latency_ms:9.3f} ms"
            f"{row.macs / 1e6:9.1f} M{row.params / 1e6:8.2f} M"
        )
    for label in labels:
        if label not in {row.label for row in rows}:
            click.echo(f"{label:{width}}no complete training, so it is not in the files")
