"""Quantities as users type them."""

import click

from yoloret_nas.options.values import OptionError, to_milliseconds


class Milliseconds(click.ParamType[float]):
    """A latency: ``33``, ``33ms`` or ``0.033s``, in milliseconds."""

    name = "latency"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return milliseconds, above 0."""
        try:
            return to_milliseconds(str(value))
        except OptionError as error:
            self.fail(error.message, param, ctx)
