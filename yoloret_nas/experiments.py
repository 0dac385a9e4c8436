"""What the commands that train named networks have in common, between their options and `search.experiment`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from search.experiment import ExperimentSettings, Variant, run_experiment
from search.local_executor import LocalExecutor
from search.record import TrialRecord
from spaces import Architecture
from spaces.weights import WEIGHTS_DIR, WeightsError, why_unavailable
from trials.recipes import RECIPES
from yoloret_nas.accelerators import visible_gpus
from yoloret_nas.interrupts import interrupts
from yoloret_nas.training_view import TrainingView

Results = Sequence[tuple[Variant, TrialRecord]]


def is_generated(data: str) -> bool:
    """Tell whether the data is the generated dataset's name rather than a path."""
    return data.partition(":")[0] == "shapes"


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
    if flags["weights"] == "imagenet" and architecture.transfer == 0:
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
    data = flags["data"]
    if not is_generated(data) and not Path(data).exists():
        raise click.BadParameter(f"{data!r} does not exist", param_hint="--data")
    recipe = RECIPES[flags["recipe"] or ("quick" if is_generated(data) else "modern")]()
    epochs = flags["epochs"] or recipe.epochs
    train = replace(
        recipe,
        epochs=epochs,
        frozen_epochs=recipe.frozen_epochs * epochs // recipe.epochs,
        batch_size=flags["batch_size"] or recipe.batch_size,
        devices=flags["devices"],
        precision=flags["precision"],
    )
    return ExperimentSettings(
        name=name,
        dataset=data if is_generated(data) else str(Path(data)),
        device=flags["device"],
        train=train,
        skip_broken=flags["skip_broken"],
        root=flags["root"],
    )


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
    view = TrainingView(console)

    def tell(message: str) -> None:
        view.ending = message
        if not console.is_terminal:
            click.echo(message, err=True)

    executor = LocalExecutor(workers=at_once, gpus=() if flags["devices"] > 1 else gpus)
    with view.showing(), interrupts(tell) as wish:
        outcome = run_experiment(experiment, variants, executor=executor, view=view, interrupted=wish, reports=reports)
    if outcome.was_interrupted:
        click.echo(f"{len(outcome.results)} of {len(variants)} trainings are finished; the same command goes on")
        raise click.exceptions.Exit(130)
    return outcome.results
