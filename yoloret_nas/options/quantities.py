"""Quantities as users type them."""

import re

import click


class Milliseconds(click.ParamType[float]):
    """A latency: ``33``, ``33ms`` or ``0.033s``, in milliseconds."""

    name = "latency"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return milliseconds, above 0."""
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?", str(value).strip())
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a latency; use 33ms", param, ctx)
        return float(match[1]) * (1000 if match[2] == "s" else 1)
