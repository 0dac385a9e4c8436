"""`yoloret-nas ablation`: what each of the paper's ideas is worth, RFCR against other necks, truncation against width."""

from typing import Literal

import click

from yoloret_nas.options.data import data_name
from yoloret_nas.options.training import TrainingOptions, training_options


@click.command()
@click.option("--backbone", default="mobilenetv2_075", help="See the list in `yoloret-nas space paper`.")
@click.option(
    "--of",
    "which",
    type=click.Choice(("steps", "necks", "truncation")),
    default="steps",
    help="steps: head, + RFCR, + truncation, + shortcut; necks: none, FPN, PAN, BiFPN, RFCR, RFCR + PAN on one backbone; "
    "truncation: this backbone and a wider one (--wide), each at three lengths.",
)
@click.option("--wide", default=None, help="With --of truncation: the other backbone, slower when whole.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Trainings of each.")
@click.option(
    "--name",
    default=None,
    help="Name; the same name resumes.  [default: ablation-OF-BACKBONE-DATA]",
)
@training_options(
    input_size="320",
    weights="auto takes ImageNet's for all kept blocks, or none for all where they are not available",
)
def ablation(
    backbone: str,
    which: Literal["steps", "necks", "truncation"],
    wide: str | None,
    seeds: int,
    name: str | None,
    options: TrainingOptions,
) -> None:
    """Train the paper's ablation on your data and measure it on your device, as a table and a plot."""
    if wide is not None and which != "truncation":
        raise click.BadParameter(f"{wide!r} is for --of truncation, not for --of {which}", param_hint="--wide")
    if which == "truncation" and wide in (None, backbone):
        raise click.BadParameter(
            f"name a wider backbone than {backbone} to compare it with (mobilenetv2_100 for mobilenetv2_075, "
            "efficientnet_lite2 for efficientnet_lite0)",
            param_hint="--wide",
        )
    from search.reports.experiment import draw_steps, draw_trade_off
    from spaces.paper_experiments import ablation as steps
    from spaces.paper_experiments import necks, truncation_against_width
    from yoloret_nas.api.experiment import check_alike, compare_variants, prepare, to_settings
    from yoloret_nas.terminal.console import open_console

    console = open_console()
    input_size = options.input_size or 320
    if wide is not None:
        architectures = truncation_against_width(backbone, wide, input_size=input_size)
        title, subject = f"truncation against width: {backbone}, {wide}", f"{backbone}-{wide}"
    else:
        architectures = (steps if which == "steps" else necks)(backbone, input_size=input_size)
        title, subject = f"{'ablation' if which == 'steps' else 'necks'} of {backbone}", backbone
    prepared = {label: prepare(architecture, options, console=console) for label, architecture in architectures.items()}
    check_alike(prepared)
    compare_variants(
        to_settings(name or f"ablation-{which}-{subject}-{data_name(options.data)}", options),
        prepared,
        seeds=seeds,
        title=title,
        draw=draw_steps if wide is None else draw_trade_off,
        console=console,
    )
