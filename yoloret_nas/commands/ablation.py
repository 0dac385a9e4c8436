"""`yoloret-nas ablation`: what each of the paper's ideas is worth, and RFCR against other necks."""

from typing import Literal

import click

from yoloret_nas.options.data import data_name
from yoloret_nas.options.training import TrainingOptions, training_options


@click.command()
@click.option("--backbone", default="mobilenetv2_075", help="See the list in `yoloret-nas space paper`.")
@click.option(
    "--of",
    "which",
    type=click.Choice(("steps", "necks")),
    default="steps",
    help="steps: head, + RFCR, + truncation, + shortcut; necks: none, FPN, PAN, BiFPN, RFCR, RFCR + PAN on one backbone.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, help="Trainings of each.")
@click.option(
    "--name",
    default=None,
    help="Name; the same name resumes.  [default: ablation-OF-BACKBONE-DATA]",
)
@training_options
def ablation(
    backbone: str, which: Literal["steps", "necks"], seeds: int, name: str | None, options: TrainingOptions
) -> None:
    """Train the paper's ablation on your data and measure it on your device, as a table and a plot."""
    from search.reports.experiment import draw_steps
    from spaces.paper_experiments import ablation as steps
    from spaces.paper_experiments import necks
    from yoloret_nas.terminal.console import open_console
    from yoloret_nas.terminal.experiments import compare_variants, prepare, to_settings

    console = open_console()
    architectures = (steps if which == "steps" else necks)(backbone, input_size=options.input_size or 320)
    compare_variants(
        to_settings(name or f"ablation-{which}-{backbone}-{data_name(options.data)}", options),
        {label: prepare(architecture, options, console=console) for label, architecture in architectures.items()},
        seeds=seeds,
        title=f"{'ablation' if which == 'steps' else 'necks'} of {backbone}",
        draw=draw_steps,
        console=console,
    )
