"""A device from what the user typed."""

import re

from trials.cpu_device import CpuDevice
from trials.device import Device, UnknownDeviceError


def open_device(spec: str) -> Device:
    """Give the device a text names: ``cpu`` or ``cpu:threads=N``.

    Raises:
        UnknownDeviceError: the text names no device, or one that is not there.
    """
    if spec == "cpu":
        return CpuDevice()
    if match := re.fullmatch(r"cpu:threads=(\d+)", spec):
        return CpuDevice(threads=int(match[1]))
    raise UnknownDeviceError(f"device {spec!r} is unknown", hint="say cpu, or cpu:threads=2 for two threads")
