"""Paths as users type them."""

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


class UserPath(click.ParamType[Path]):
    """A path whose ``~`` is the home folder: a shell expands the one in ``--dir ~/runs``, not the one in ``--dir=~/runs``.

    Args:
        checks: As of `click.Path`.
    """

    def __init__(self, **checks: bool) -> None:
        self._path = click.Path(path_type=Path, **checks)
        self.name = self._path.name

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        return Path(self._path.convert(os.path.expanduser(str(value)), param, ctx))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer files or folders."""
        return self._path.shell_complete(ctx, param, incomplete)
