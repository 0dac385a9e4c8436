"""The project file: a user's data, device and limits, so that `yoloret-nas search` needs no options."""

from pathlib import Path
from typing import Any

PROJECT_FILE = "yoloret-nas.yaml"

TEMPLATE = """\
# yoloret-nas reads this file from the folder it is called in. Every line is a flag of `yoloret-nas search`;
# the command line overrides it. Uncomment the lines you need.

# data: path/to/dataset        # Pascal VOC, COCO or YOLO folder (look at it first: yoloret-nas data PATH)
# device: cpu                  # where latency is measured
# max_latency: 33ms            # slower networks are not trained
# space: tiny                  # paper, nano, tiny, or your own file (yoloret-nas space tiny --yaml > my.yaml)
# epochs: 30                   # of each trial
# budget: 50                   # finished trials in all
"""
"""What `yoloret-nas init` writes."""


class ProjectFileError(ValueError):
    """The project file cannot be read, or names a flag that does not exist."""


def read_project_file(path: Path) -> dict[str, dict[str, Any]]:
    """Return the file's options as click's default map; empty without a file.

    Raises:
        ProjectFileError: the file is no mapping of flags.
    """
    if not path.is_file():
        return {}
    import yaml

    from yoloret_nas.commands.search import search

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectFileError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ProjectFileError(f"{path} must hold lines of the form  flag: value")
    # Options are named as they are typed: --dir is `dir`, whatever the parameter is called.
    known = {_plain(option): str(parameter.name) for parameter in search.params for option in parameter.opts}
    given = {_plain(str(name)): value for name, value in values.items()}
    if unknown := sorted(set(given) - set(known)):
        raise ProjectFileError(f"{path}: {unknown[0]!r} is no flag of search; there are {', '.join(known)}")
    flags = {known[name]: value for name, value in given.items()}
    shared = {known["dir"]: given["dir"]} if "dir" in given else {}
    return {"search": flags, "ui": shared, "export": shared}


def _plain(option: str) -> str:
    return option.lstrip("-").replace("-", "_")
