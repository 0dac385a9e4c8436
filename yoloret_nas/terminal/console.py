"""Where commands, scripts and notebooks print."""

import sys

from rich.console import Console

from yoloret_nas.library_settings import take_all_letters

_WIDTH = 250


def progress_console() -> Console:
    """Return a console on the error stream: a bar is drawn on a terminal alone, whatever variables ask for."""
    return Console(stderr=True, force_terminal=sys.stderr.isatty())


def open_console(*, quiet: bool = False) -> Console:
    """Return a console on the standard output, as wide as the terminal.

    A file, a pipe and a notebook have no width of their own: lines there are as long as they need to be.

    Args:
        quiet: Prints nothing.
    """
    if not quiet:
        take_all_letters(sys.stdout)
    is_terminal = sys.stdout.isatty()
    return Console(
        highlight=False,
        quiet=quiet,
        force_terminal=is_terminal and not quiet,  # a notebook asks for colours, by which rich takes it for a terminal
        force_jupyter=False,  # which would make a block of HTML of each line
        width=None if is_terminal else _WIDTH,
    )
