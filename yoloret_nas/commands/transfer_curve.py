"""`yoloret-nas transfer-curve`: accuracy against how many blocks start from ImageNet weights."""

import re
from dataclasses import replace
from functools import partial

import click

from yoloret_nas.options.data import data_name
from yoloret_nas.options.training import TrainingOptions, training_options


@click.command("transfer-curve")
@click.option("--backbone", default="mobilenetv2_075", help="See the list in `yoloret-nas space paper`.")
@click.option(
    "--blocks",
    default="",
    show_default=False,
    help="How many start from weights, e.g. 0,6,12,19.  [default: seven, spread]",
)
@click.option("--seeds", type=click.IntRange(1), default=3, help="Trainings of each.")
@click.option(
    "--name",
    default=None,
    help="Name; the same name resumes.  [default: transfer-curve-BACKBONE-DATA]",
)
@training_options(input_size="320", weights="ImageNet's, which must be available; random is refused")
def transfer_curve(backbone: str, blocks: str, seeds: int, name: str | None, options: TrainingOptions) -> None:
    """Train the paper's transfer-learning curve (its Fig. 2): nothing is cut off, the last blocks start at random."""
    words = [word.strip() for word in blocks.split(",") if word.strip()]
    if not all(re.fullmatch("[0-9]{1,9}", word) for word in words):
        raise click.BadParameter(f"{blocks!r} is not a list of whole numbers such as 0,6,12,19", param_hint="--blocks")
    if options.weights == "random":
        raise click.BadParameter("without ImageNet weights there is no curve", param_hint="--weights")
    from search.reports.experiment import draw_curve
    from spaces.paper_experiments import transfer_curve as curve
    from yoloret_nas.api.experiment import compare_variants, prepare, to_settings
    from yoloret_nas.terminal.console import open_console

    console = open_console()
    # A curve without the weights would be flat and mean nothing, so they are required.
    options = replace(options, weights="imagenet")
    boundaries = tuple(int(word) for word in words)
    architectures = curve(backbone, input_size=options.input_size or 320, boundaries=boundaries)
    compare_variants(
        to_settings(name or f"transfer-curve-{backbone}-{data_name(options.data)}", options),
        {label: prepare(one, options, console=console, keeps_transfer=True) for label, one in architectures.items()},
        seeds=seeds,
        title=f"transfer learning of {backbone}",
        draw=partial(draw_curve, axis="blocks that start from ImageNet weights"),
        console=console,
    )
