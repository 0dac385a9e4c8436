"""What the commands that train named networks have in common, between their options and `search.driver.experiment`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import click
from rich.console import Console

from search.driver.experiment import ExperimentSettings, Variant, run_experiment
from search.driver.local_executor import LocalExecutor
from search.reports.experiment import to_rows, write_rows
from search.study.record import TrialRecord
from spaces import Architecture
from spaces.weights.imagenet import WEIGHTS_DIR, WeightsError, why_unavailable
from yoloret_nas.accelerators import visible_gpus
from yoloret_nas.options.data import check_data, data_name, fetch_data
from yoloret_nas.options.recipe_choice import choose_training
from yoloret_nas.terminal.interrupts import interrupts
from yoloret_nas.terminal.training_view import TrainingView

Results = Sequence[tuple[Variant, TrialRecord]]


def prepare(architecture: Architecture, flags: Mapping[str, Any]) -> Architecture:
    """Apply `--input-size` and `--weights` to an architecture; says so where its ImageNet weights cannot be had.

    Raises:
        WeightsError: they cannot be had and were asked for by name.
        ArchitectureError: the size is none of the network's.
    """
    if flags["weights_dir"]:
        os.environ[WEIGHTS_DIR] = str(flags["weights_dir"].resolve())
    if flags["input_size"]:
        architecture = architecture.replace(input_size=flags["input_size"])
    if flags["weights"] == "random":
        return architecture.replace(transfer=0)
    if flags["weights"] == "imagenet" and architecture.transfer == 0 and not flags.get("keep_transfer"):
        architecture = architecture.replace(transfer=architecture.truncation)
    if architecture.transfer and (reason := why_unavailable(architecture.backbone)):
        if flags["weights"] == "imagenet":
            raise WeightsError(reason, hint="check the network, give --weights-dir, or leave --weights imagenet out")
        click.echo(f"note: starting from random weights: {reason}", err=True)
        return architecture.replace(transfer=0)
    return architecture


def open_experiment(name: str, flags: Mapping[str, Any]) -> ExperimentSettings:
    """Give the experiment that the shared options describe.

    Raises:
        click.BadParameter: the data is not there.
        StudyError: the name cannot name a folder.
    """
    data = check_data(flags["data"])
    train = replace(choose_training(flags), devices=flags["devices"], precision=flags["precision"])
    return ExperimentSettings(
        name=name,
        dataset=data,
        device=flags["device"],
        train=train,
        skip_broken=flags["skip_broken"],
        root=flags["root"],
    )


def compare_variants(
    name: str,
    architectures: Mapping[str, Architecture],
    flags: Mapping[str, Any],
    *,
    seeds: int,
    title: str,
    draw: Callable[..., None],
) -> None:
    """Train labelled architectures with several seeds; print the table, write it and its picture.

    Args:
        name: Of the experiment.
        architectures: By label.
        flags: The command's.
        seeds: Trainings of each.
        title: Of the picture.
        draw: Takes rows, the PNG's path and the title.

    Raises:
        click.exceptions.Exit: no training is complete, or it was interrupted.
    """
    prepared = {label: prepare(architecture, flags) for label, architecture in architectures.items()}
    experiment = open_experiment(name, flags)
    variants = [
        Variant(label=label, architecture=architecture, seed=seed)
        for seed in range(seeds)
        for label, architecture in prepared.items()
    ]
    table, picture = experiment.folder / "results.csv", experiment.folder / "results.png"

    def report(results: Results) -> Sequence[Path]:
        rows = to_rows(results)
        if not rows:
            return []
        write_rows(rows, table)
        plural = "" if seeds == 1 else "s"
        where = f"{data_name(experiment.dataset)} · {experiment.device}"
        draw(rows, picture, title=f"{title} · {where} · {experiment.train.epochs} epochs, {seeds} seed{plural}")
        return [table, picture]

    rows = to_rows(run(experiment, variants, flags, reports=report))
    if not rows:
        raise click.ClickException(f"no training of {name} is complete")
    click.echo(f"{'':14}{'AP':>8}{'±':>8}{'AP50':>8}{'median':>12}{'MACs':>11}{'params':>10}")
    for row in rows:
        spread = "—" if row.spread_ap is None else f"{row.spread_ap:.4f}"
        click.echo(
            f"{row.label:14}{row.mean_ap:8.4f}{spread:>8}{mean(row.ap50):8.4f}{row.latency_ms:9.3f} ms"
            f"{row.macs / 1e6:9.1f} M{row.params / 1e6:8.2f} M"
        )
    click.echo(f"wrote {table} and {picture.name}")


def run(
    experiment: ExperimentSettings,
    variants: Sequence[Variant],
    flags: Mapping[str, Any],
    *,
    workers: int | None = None,
    reports: Callable[[Results], Sequence[Path]] = lambda results: (),
) -> Results:
    """Run an experiment in the terminal; give its finished variants.

    Args:
        experiment: Which.
        variants: What to train.
        flags: The command's.
        workers: Trainings at once; None for one a GPU, else one a core.
        reports: Writes tables and pictures of the results.

    Raises:
        click.exceptions.Exit: it was interrupted.
    """
    gpus = visible_gpus()
    cores = len(os.sched_getaffinity(0))
    at_once = workers or max(1, min(len(variants), (len(gpus) or cores) // flags["devices"]))
    threads = 0 if gpus else max(1, cores // (at_once * flags["devices"]))
    experiment = replace(experiment, train=replace(experiment.train, num_threads=threads))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    fetch_data(experiment.dataset, console)
    view = TrainingView(console)

    executor = LocalExecutor(workers=at_once, gpus=() if flags["devices"] > 1 else gpus)
    with view.showing(), interrupts(view.say_ending) as wish:
        outcome = run_experiment(experiment, variants, executor=executor, view=view, interrupted=wish, reports=reports)
    if outcome.was_interrupted:
        click.echo(f"{len(outcome.results)} of {len(variants)} trainings are finished; the same command goes on")
        raise click.exceptions.Exit(130)
    return outcome.results
