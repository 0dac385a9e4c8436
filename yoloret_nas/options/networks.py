"""How a user names a network, in the words of the help and of errors; `yoloret_nas.sources` finds it."""

from collections.abc import Callable
from inspect import cleandoc

import click

TRAINED_FORMS = (
    "STUDY:TRIAL, STUDY (the knee of its front), an export's folder or one of its files "
    "(exports/STUDY-7/model-int8.onnx), or a trial's checkpoint.pt"
)
"""What names a network with weights."""
FORMS = f"a preset (yoloret-m0.75), a YAML or JSON file of one architecture, {TRAINED_FORMS}"
"""What names any network."""


def explains(sentence: str) -> Callable[[click.Command], click.Command]:
    """Return a decorator that ends a command's help with a paragraph, such as one about its networks."""

    def explain(command: click.Command) -> click.Command:
        command.help = f"{cleandoc(command.help or '')}\n\n{sentence}"
        return command

    return explain
