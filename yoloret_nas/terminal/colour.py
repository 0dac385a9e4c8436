"""Colours of what commands print by click; rich has rules of its own, which are the same."""

import os

import click


def coloured(text: str, colour: str, *, bold: bool = False) -> str:
    """Return a text in a colour, plain where the variable NO_COLOR is set; click itself prints plain text into pipes."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=bold or None)
