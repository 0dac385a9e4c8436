"""Checks that run before data are fetched and anything is trained."""

from collections.abc import Sequence
from pathlib import Path

from trials.latency.open_device import open_device
from yoloret_nas.options.values import OptionError, why_not_writable


def check_devices(specs: Sequence[str]) -> None:
    """Refuse what names no device, or one that this machine lacks; none is reached yet.

    Raises:
        UnknownDeviceError: with the first such text.
    """
    for spec in specs:
        open_device(spec).close()


def check_writable(root: Path) -> None:
    """Create the folder of the studies where it is missing.

    Raises:
        OptionError: nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        reason = why_not_writable(root)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise OptionError(f"cannot write to {root}: {reason}; choose another folder with --dir")
