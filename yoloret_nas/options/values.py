"""Values that options take, whether they were typed or given from Python."""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from spaces import YoloRetError


class OptionError(YoloRetError, ValueError):
    """An option has a value that it does not take."""


def check_at_least(lowest: int, **values: int | None) -> None:
    """Refuse what is no whole number, and numbers below the lowest allowed; None stands for a default.

    Raises:
        OptionError: with the first one.
    """
    for name, value in values.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise OptionError(f"{name} is {value!r}; it must be a whole number")
        if value is not None and value < lowest:
            raise OptionError(f"{name} is {value}; it must be at least {lowest}")


def check_share(**values: float) -> None:
    """Refuse what is no number from 0 to 1.

    Raises:
        OptionError: with the first one.
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise OptionError(f"{name} is {value}; it must be from 0 to 1")


def to_words(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return words; a text alone is one of them, or several with commas, as on the command line."""
    return tuple(word.strip() for word in given.split(",")) if isinstance(given, str) else tuple(given)


def check_choice(name: str, value: str | None, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices; None stands for a default.

    Raises:
        OptionError: with the choices.
    """
    if value is not None and value not in choices:
        raise OptionError(f"{name} {value!r} is none of {', '.join(choices)}")


def check_folder(name: str, value: Path | None) -> None:
    """Refuse a path that is no folder; None stands for a default.

    Raises:
        OptionError: it is none.
    """
    if value is not None and not value.is_dir():
        raise OptionError(f"{name} {str(value)!r} is no folder")


def check_file(name: str, value: Path | None) -> None:
    """Refuse a path where no file can be written at the end; None stands for no file.

    Raises:
        OptionError: its folder is missing or takes no files, or it is no file.
    """
    if value is None:
        return
    if value.exists() and not value.is_file():
        raise OptionError(f"{name} {value} is not a file", hint="give another file")
    if not value.parent.is_dir():
        raise OptionError(f"{name} {value}: there is no folder {value.parent}", hint="create it, or give another file")
    if reason := why_not_writable(value.parent):
        raise OptionError(f"{name} {value} cannot be written: {reason}", hint="give another file")


def why_not_writable(folder: Path) -> str:
    """Return why nothing can be written to a folder, or to the nearest above where it is missing; empty if something can.

    Permissions alone do not tell, so a file is made there and removed.
    """
    whole = folder.resolve()
    place = next(one for one in (whole, *whole.parents) if one.exists())
    try:
        with NamedTemporaryFile(dir=place, prefix=".writable-"):  # of a name of its own: two commands may look together
            return ""
    except OSError as error:
        return error.strerror or str(error)


def to_milliseconds(latency: float | str) -> float:
    """Return a latency in milliseconds: ``33``, ``33ms`` or ``0.033s``; a number alone is milliseconds.

    >>> to_milliseconds("33ms"), to_milliseconds("0.033s"), to_milliseconds(33)
    (33.0, 33.0, 33.0)

    Raises:
        OptionError: it is no latency above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?", str(latency).strip())
    if match is None or float(match[1]) == 0:
        raise OptionError(f"{latency!r} is not a latency; use 33ms or 0.033s")
    return float(match[1]) * (1000 if match[2] == "s" else 1)
