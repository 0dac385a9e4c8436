"""The project file: a user's data, device and limits, so that `yoloret-nas search` needs no options.

Every line is a flag of `search`. Those that say what the project is about reach every other command that takes them.
"""

import difflib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

PROJECT_FILE = "yoloret-nas.yaml"

TEMPLATE = """\
# yoloret-nas reads this file from the folder it is called in. Every line is a flag of `yoloret-nas search`;
# the command line overrides it. Uncomment the lines you need. data, device, dir, skip_broken, study and weights_dir hold for
# every command that takes them, but for the data of compare and export, which are those of their studies.

# data: path/to/dataset        # VOC, COCO, YOLO, LabelMe, … (look at it first: yoloret-nas data)
# skip_broken: true            # leave broken images and annotations out instead of stopping
# device: cpu                  # where latency is measured
# dir: runs                    # folder of the studies
# max_latency: 33ms            # slower networks are not trained
# space: tiny                  # paper, nano, lite, tiny, or your own file (yoloret-nas space tiny --yaml > my.yaml)
# aspect: "16:9"               # width to height of the networks' input (default: that of the images)
# epochs: 30                   # of each trial (default: the recipe's)
# refit: 90                    # epochs of retraining the front at the end, 0 for none (default: 3 times a trial's)
# budget: 50                   # finished trials in all
"""
"""What `yoloret-nas init` writes."""


SHARED = ("data", "device", "dir", "skip_broken", "study", "weights_dir")
"""What holds for every command that takes it: as an option of this name, or as an argument of it."""

_OF_ITS_OWN = {"compare": ("data",), "export": ("data",), "init": SHARED}
"""Networks are compared by the scores of their own records, and an export is tried on the data of its own study, unless the
command line names other data. `init` writes the file."""


class ProjectFileError(ValueError):
    """The project file cannot be read, names a flag that does not exist, or would be overwritten."""


def read_project_file(path: Path) -> dict[str, Any]:
    """Return the file's lines, by flag without dashes; empty without a file.

    Raises:
        ProjectFileError: the file is no mapping of flags of `search`, or holds a flag twice.
    """
    if not path.is_file():
        return {}
    from spaces.documents import parse_yaml
    from yoloret_nas.commands.search import search

    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ProjectFileError(f"{path} cannot be read as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ProjectFileError(f"{path} must hold lines of the form  flag: value")
    names = [_plain(str(name)) for name in values]
    if len(set(names)) < len(names):
        raise ProjectFileError(f"{path}: {Counter(names).most_common(1)[0][0]} is given twice")
    given = {
        name: value for name, value in zip(names, values.values(), strict=True) if value is not None
    }  # `data:` alone says nothing
    known = parameters_of(search)
    if unknown := sorted(set(names) - set(known)):
        near = difflib.get_close_matches(unknown[0], known, n=1)
        mean = f" Did you mean {near[0]!r}?" if near else ""
        raise ProjectFileError(f"{path}: {unknown[0]!r} is no flag of search.{mean} There are {', '.join(known)}")
    for name, value in given.items():
        if isinstance(value, list) and not getattr(known[name], "multiple", False):
            raise ProjectFileError(f"{path}: {name} takes one value, not a list")
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, str | int | float):
                raise ProjectFileError(f"{path}: {name} is {str(one)[:60]!r}, no text, number, true or false")
            if isinstance(one, bool) and not getattr(known[name], "is_flag", False):
                raise ProjectFileError(f"{path}: {name} is {str(one).lower()}, and takes a value")
    return given


def defaults_of(command: click.Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file's lines mean to a command, as click's defaults for it."""
    defaults = {}
    for flag, parameter in reached_by(command).items():
        if flag in given:
            is_one_of_several = parameter.multiple and not isinstance(given[flag], list)
            value = [given[flag]] if is_one_of_several else given[flag]
            defaults[str(parameter.name)] = [*map(_as_typed, value)] if isinstance(value, list) else _as_typed(value)
    return defaults


def reached_by(command: click.Command) -> dict[str, click.Parameter]:
    """Return the options and arguments of a command that the file's lines reach, as `parameters_of` does."""
    parameters = parameters_of(command)
    if command.name == "search":
        return parameters
    own = _OF_ITS_OWN.get(str(command.name), ())
    return {flag: parameters[flag] for flag in SHARED if flag in parameters and flag not in own}


def parameters_of(command: click.Command) -> dict[str, click.Parameter]:
    """Return a command's options and arguments by the name the file has for them: --dir is ``dir``, STUDY ``study``."""
    return {_plain(option): parameter for parameter in command.params for option in parameter.opts}


def _as_typed(value: str | float) -> str | bool:
    """Return a value as a shell would have given it: a home folder by its path, and a number, to click's types, as text."""
    return value if isinstance(value, bool) else os.path.expanduser(str(value))


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_")
