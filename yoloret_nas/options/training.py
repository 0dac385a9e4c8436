"""The options shared by all commands that train named networks; the settings themselves are `trials.training.settings`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from spaces.aspect import parse_aspect
from yoloret_nas.options.choices import DEFAULT_EPOCHS, RECIPES
from yoloret_nas.options.complete import complete_path
from yoloret_nas.options.data import DATA_HELP, check_data
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.values import check_at_least, check_choice, check_folder

if TYPE_CHECKING:
    from trials.training import Precision, RecipeName

_WEIGHTS = ("auto", "imagenet", "random")
_PRECISIONS = ("auto", "fp32", "bf16")
_WEIGHTS_DIR = "YOLORET_NAS_WEIGHTS_DIR"
"""The variable `spaces.weights.WEIGHTS_DIR`, whose import takes seconds."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What the user gave for them; None is the default that the help names.

    Raises:
        OptionError: one has a value that it does not take.
        ArchitectureError: the aspect is none.
    """

    data: str
    device: str
    recipe: "RecipeName | None"
    epochs: int | None
    batch_size: int | None
    input_size: int | None
    aspect: str | None
    weights: Literal["auto", "imagenet", "random"]
    weights_dir: Path | None
    precision: "Precision"
    skip_broken: bool
    accept_changed_data: bool
    root: Path

    def __post_init__(self) -> None:
        check_at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        check_at_least(32, input_size=self.input_size)
        if self.aspect is not None:
            parse_aspect(self.aspect)
        check_choice("recipe", self.recipe, RECIPES)
        check_choice("weights", self.weights, _WEIGHTS)
        check_choice("precision", self.precision, _PRECISIONS)
        check_folder("weights_dir", self.weights_dir)
        object.__setattr__(self, "data", check_data(self.data))


@contextmanager
def weights_from(folder: Path | None) -> Iterator[None]:
    """Look for ImageNet weights in a folder first while the block runs, in this process and in its trials."""
    before = os.environ.get(_WEIGHTS_DIR)
    if folder is not None:
        os.environ[_WEIGHTS_DIR] = str(folder.resolve())
    try:
        yield
    finally:
        if before is not None:
            os.environ[_WEIGHTS_DIR] = before
        elif folder is not None:
            del os.environ[_WEIGHTS_DIR]


weights_dir_option = click.option(
    "--weights-dir",
    type=UserPath(exists=True, file_okay=False),
    help="Folder of ImageNet weights, searched before any download.",
)

_BEFORE = (
    click.option("--data", default="shapes", shell_complete=complete_path, help=DATA_HELP),
    click.option(
        "--device", default="cpu", help="Where latency is measured: cpu, cpu:threads=N, cuda, cuda:N, ssh://host."
    ),
    click.option("--recipe", type=click.Choice(RECIPES), help="How to train.  [default: quick on shapes, else modern]"),
    click.option("--epochs", type=click.IntRange(1), default=None, help=f"Epochs.  {DEFAULT_EPOCHS}"),
    click.option(
        "--batch-size", type=click.IntRange(1), default=None, help="Images per step.  [default: the recipe's]"
    ),
)

_AFTER = (
    weights_dir_option,
    click.option(
        "--precision",
        type=click.Choice(_PRECISIONS),
        default="auto",
        help="Number format of training; auto is bf16 where the hardware has it, else fp32.",
    ),
    click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping."),
    click.option("--accept-changed-data", is_flag=True, help="Resume even if images or annotations changed."),
    click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies."),
)


def training_options(
    *,
    input_size: str = "the network's own",
    weights: str = "auto takes ImageNet's where the network asks for them and they are available",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the shared options to a command, which takes them as one argument ``options``.

    Args:
        input_size: Its default, in words.
        weights: What its initial weights are, in words.
    """
    own = (
        click.option(
            "--input-size", type=click.IntRange(32), default=None, help=f"Longer side, pixels.  [default: {input_size}]"
        ),
        click.option("--aspect", help="Width to height of the input, such as 16:9.  [default: the network's own]"),
        click.option("--weights", type=click.Choice(_WEIGHTS), default="auto", help=f"Initial weights: {weights}."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def collected(**values: Any) -> None:
            shared = {field.name: values.pop(field.name) for field in fields(TrainingOptions)}
            options = TrainingOptions(**shared)
            with weights_from(options.weights_dir):
                command(options=options, **values)

        decorated: Callable[..., None] = collected
        for option in reversed((*_BEFORE, *own, *_AFTER)):
            decorated = option(decorated)
        return decorated

    return decorate
