"""`yoloret-nas train`: one architecture in full."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloret_nas.options.data import data_name
from yoloret_nas.options.training import TrainingOptions, training_options

if TYPE_CHECKING:
    from search.study.record import TrialRecord


@click.command()
@click.argument("source", metavar="NETWORK")
@training_options
@click.option("--name", default=None, help="Name; the same name resumes.  [default: from network and data]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of initial weights, order and augmentation.")
def train(source: str, name: str | None, seed: int, options: TrainingOptions) -> None:
    """Train NETWORK in full: measured, scored, tracked in MLflow like a search's trial.

    NETWORK is a preset (yoloret-m0.75), a YAML or JSON file of one architecture, STUDY:TRIAL, or an export's folder; its
    weights are not used. Run the same command again to resume.
    """
    from search.study.experiment import Variant
    from yoloret_nas.sources import find_source
    from yoloret_nas.terminal.experiments import prepare, run, to_settings

    found = find_source(source, root=options.root)
    architecture = prepare(found.architecture, options)
    label = re.sub(r"[^A-Za-z0-9._]+", "-", found.label)
    settings = to_settings(name or f"train-{label}-{data_name(options.data)}", options)
    records = run(settings, [Variant(label=found.label, architecture=architecture, seed=seed)])
    if records:
        _conclude(settings.name, records[0], root=options.root)


def _conclude(name: str, record: "TrialRecord", *, root: Path) -> None:
    from search.study.next_command import dir_option

    result = record.result
    if result.state != "complete":
        raise click.ClickException(f"the training failed: {result.reason}")
    assert result.latency is not None
    for label, ap in result.per_class_ap.items():
        click.echo(f"  {label}: AP {ap:.4f}")
    seconds = ", ".join(f"{phase} {value:.0f} s" for phase, value in result.seconds.items() if value >= 0.5)
    click.echo(f"AP {result.ap:.4f}, AP50 {result.ap50:.4f}, {result.latency.median_ms:.3f} ms ({seconds})")
    click.echo(f"wrote {root / name}\nnext: yoloret-nas export --study {name}{dir_option(root)}")
