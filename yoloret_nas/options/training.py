"""The options that all commands which train named networks share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from yoloret_nas.options.choices import RECIPES
from yoloret_nas.options.data import DATA_HELP

_OPTIONS = (
    click.option("--data", default="shapes", help=DATA_HELP),
    click.option("--device", default="cpu", help="Where latency is measured: cpu, cpu:threads=N, cuda, ssh://host."),
    click.option("--recipe", type=click.Choice(RECIPES), help="How to train.  [default: quick on shapes, else modern]"),
    click.option("--epochs", type=click.IntRange(1), default=None, help="[default: the recipe's]"),
    click.option("--batch-size", type=click.IntRange(1), default=None, help="[default: the recipe's]"),
    click.option("--input-size", type=click.IntRange(32), default=None, help="Pixels.  [default: the network's own]"),
    click.option(
        "--weights",
        type=click.Choice(("auto", "imagenet", "random")),
        default="auto",
        help="Start: auto takes ImageNet's where the network says so and they can be had.",
    ),
    click.option(
        "--weights-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of ImageNet weights that comes before the network's.",
    ),
    click.option("--devices", type=click.IntRange(1), default=1, help="GPUs of a training, or CPU processes."),
    click.option("--precision", type=click.Choice(("auto", "fp32", "bf16")), default="auto", help="Of training."),
    click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping."),
    click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies."),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options, in the order above."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
