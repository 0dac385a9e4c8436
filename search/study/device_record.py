"""The device that a run began on: a run never mixes devices, of whose identity power mode, clock and versions are part."""

from collections.abc import Mapping
from typing import Any

from search.study.errors import StudyError
from trials.latency import DeviceIdentity


def describe_device(device: DeviceIdentity) -> dict[str, Any]:
    """Return a device as a run records it, of JSON types."""
    return {
        "kind": device.kind,
        "board": device.board,
        "backend": device.backend,
        "precision": device.precision,
        "settings": dict(device.settings),
    }


def check_device(recorded: Mapping[str, Any] | None, device: DeviceIdentity, *, what: str, way_out: str) -> None:
    """Refuse to resume on another device than a run began on.

    Args:
        recorded: `describe_device` of when it began; None where it has not.
        device: The present one.
        what: The run, for the message.
        way_out: What else the user may do than set the device back.

    Raises:
        StudyError: with what changed.
    """
    if recorded and (lines := device.differences(DeviceIdentity(**recorded))):
        raise StudyError(
            f"the device of {what} is not the one it began on: {'; '.join(lines)}", hint=f"set it back, or {way_out}"
        )
