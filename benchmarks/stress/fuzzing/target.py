"""What a target of the fuzzer is, and which errors are answers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click

from spaces import YoloRetError
from yoloret_nas.project_file import ProjectFileError

Attempt = Callable[[Random], None]
"""Makes an input, hands it to the project, and looks at what comes back. Raises what the project raises."""

ANSWERS = (YoloRetError, ProjectFileError, click.ClickException)
"""The project's own errors, and those of the command line for wrong words: one message each."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of input from outside."""

    name: str
    """As ``--target`` takes it."""
    prepare: Callable[[Path], Attempt]
    """Writes what all inputs need into an empty folder, and returns what tries one input."""
    weight: int = 1
    """Share of a run of all targets: about its inputs a second on one core, divided by a hundred."""


def check_printable(texts: object) -> None:
    """Raise where a text of a result cannot be written to a terminal or a file in UTF-8."""
    str(texts).encode()
