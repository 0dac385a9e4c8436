"""Opens the device that the user named."""

import dataclasses
import re

from trials.latency.board import SshDevice, SshSettings, parse_address
from trials.latency.board.address import TIMES
from trials.latency.cpu import CpuDevice
from trials.latency.cuda import CudaDevice
from trials.latency.device import Device, UnknownDeviceError


def open_device(spec: str, *, patience_s: float | None = None) -> Device:
    """Return the device that a text names: ``cpu``, ``cpu:threads=N``, ``cuda``, ``cuda:N``, or ``ssh://[user@]host[:port]``.

    A board is not contacted yet; of a GPU, driver and TensorRT are asked.

    Args:
        spec: The device's name.
        patience_s: How long calls wait for a device that is away; 0 fails at once, None is the device's default (5 minutes
            over ssh).

    Raises:
        UnknownDeviceError: the text names no device, or one that this machine lacks.
    """
    if spec == "cpu":
        return CpuDevice()
    if match := re.fullmatch(r"cpu:threads=([0-9]{1,6})", spec):
        return CpuDevice(threads=int(match[1]))
    if match := re.fullmatch(r"cuda(?::([0-9]{1,4}))?", spec):
        return CudaDevice(index=None if match[1] is None else int(match[1]))
    if spec.startswith("ssh://"):
        settings = _read_settings(spec)
        if patience_s is not None:
            settings = dataclasses.replace(settings, patience_s=patience_s)
        return SshDevice(name=spec, settings=settings)
    raise UnknownDeviceError(
        f"device {spec!r} is unknown",
        hint="use cpu, cpu:threads=2 for two threads, cuda, cuda:1 for the second GPU, or ssh://nano for a board",
    )


def without_limits(spec: str) -> str:
    """Return a device's name without the time limits that it sets: they make it no other device.

    >>> without_limits("ssh://nano?build_limit_s=4800&trtexec=/opt/trtexec"), without_limits("cpu")
    ('ssh://nano?trtexec=/opt/trtexec', 'cpu')
    """
    address, _, query = spec.partition("?")
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] not in TIMES)
    return f"{address}?{kept}" if kept else address


def longest_measurement_s(spec: str) -> float:
    """Return how many seconds a measurement may take by the limits of its own that a device's name sets; 0 for none."""
    return _read_settings(spec).longest_s if spec.startswith("ssh://") else 0.0


def _read_settings(spec: str) -> SshSettings:
    times = dict(parse_address(spec).times)
    try:
        return dataclasses.replace(SshSettings(), **times)  # type: ignore[arg-type]
    except ValueError as error:
        raise UnknownDeviceError(f"device {spec!r} cannot be used: {error}") from error
