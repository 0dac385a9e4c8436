"""What annotations of several formats state beside the box, read in the same way by all readers."""

from collections.abc import Mapping
from typing import Any

_YES, _NO = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "-1", "false", "no", "none", "unspecified")


def read_flag(value: Any, name: str) -> bool:
    """Return a yes or no as tools write it: 1, "1", true, "True"; a missing value, and Open Images' -1, are no.

    Args:
        value: What the annotation states; None where it states nothing.
        name: Of the flag, for messages.

    Raises:
        ValueError: It is neither.

    >>> read_flag("0", "iscrowd"), read_flag(1.0, "iscrowd"), read_flag(None, "iscrowd")
    (False, True, False)
    """
    if value == 0 or value is None:  # the usual cases: COCO has a million
        return False
    text = str(value).strip().lower()
    if text not in _YES and text not in _NO:
        raise ValueError(f"{name} is {value!r}, not 0 or 1")
    return text in _YES


def read_rotation(attributes: Mapping[Any, Any]) -> float:
    """Return by how many degrees a box is turned clockwise about its centre: what CVAT writes into other tools' formats.

    A value that is no number is an attribute of somebody's own, and turns nothing.
    """
    try:
        return float(attributes.get("rotation") or 0)
    except (TypeError, ValueError):
        return 0.0
