"""Latency of networks at batch 1 on a CPU, a local GPU, or a board over ssh: the `Device` protocol and the devices.

Around them: the cache of measurements, the rules of steadiness, the measurement lock, and the doctor that examines a device.
"""

from trials.latency.device import (
    Device,
    DeviceAwayError,
    DeviceError,
    DeviceIdentity,
    Latency,
    UnknownDeviceError,
    UnstableError,
    UnusableDeviceError,
)

__all__ = [
    "Device",
    "DeviceAwayError",
    "DeviceError",
    "DeviceIdentity",
    "Latency",
    "UnknownDeviceError",
    "UnstableError",
    "UnusableDeviceError",
]
