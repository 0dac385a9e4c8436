"""The latency of the point to which the hypervolumes of a study refer: its limit, or its space's costliest network."""

from search.driver.devices import Devices
from search.study.settings import StudySettings
from trials.latency import DeviceAwayError, DeviceError, UnstableError, UnusableDeviceError
from trials.onnx import UnsupportedNetworkError

_MARGIN = 1.1
"""The network with the most multiply-adds need not be the slowest, and measurements differ by some percent."""

_BEYOND_LIMIT = 1.25
"""The reference latency is so many times the limit. At 1 a network just within the limit, which is the one that a user with
a limit wants most, would add no hypervolume. On YOLOBench's table with a limit of 60 ms the best AP after 30 trainings
misses the table's best by 0.0022; at 1.1 by 0.0042, at 1 by 0.0051 (16 seeds)."""


def choose_reference_ms(settings: StudySettings, *, num_classes: int, devices: Devices) -> float:
    """Return the latency of a new study's reference point: a little beyond its limit, or its slowest network's."""
    if settings.max_latency_ms is not None:
        return settings.max_latency_ms * _BEYOND_LIMIT
    return slowest_latency_ms(settings, num_classes=num_classes, devices=devices)


def slowest_latency_ms(settings: StudySettings, *, num_classes: int, devices: Devices) -> float:
    """Measure the space's costliest network; a tenth more is the reference latency of its hypervolumes.

    A network that the device cannot run, for lack of memory for example, is passed over for the next one.

    Raises:
        DeviceAwayError, UnstableError, UnusableDeviceError: the device is away, gives no steady figure or cannot be used,
            which says nothing about the network.
        DeviceError, UnsupportedNetworkError: it cannot run the costliest network of any backbone.
    """
    *costlier, cheapest = settings.space.largest(num_classes=num_classes)
    for architecture in costlier:
        try:
            return devices.measure(architecture, settings, num_classes=num_classes).median_ms * _MARGIN
        except (DeviceAwayError, UnstableError, UnusableDeviceError):
            raise
        except (DeviceError, UnsupportedNetworkError):
            continue
    return devices.measure(cheapest, settings, num_classes=num_classes).median_ms * _MARGIN
