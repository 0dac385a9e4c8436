"""The latency of a space's costliest network, to which the hypervolumes of a study without a limit refer."""

from search.driver.devices import Devices
from search.study.settings import StudySettings
from trials.latency import DeviceAwayError, DeviceError, UnstableError
from trials.onnx import UnsupportedNetworkError

_MARGIN = 1.1
"""The network with the most multiply-adds need not be the slowest, and measurements differ by some percent."""


def slowest_latency_ms(settings: StudySettings, *, num_classes: int, devices: Devices) -> float:
    """Measure the space's costliest network; a tenth more is the reference latency of its hypervolumes.

    A network that the device cannot run, for lack of memory for example, is passed over for the next one.

    Raises:
        DeviceAwayError, UnstableError: the device is away or gives no steady figure, which says nothing about the network.
        DeviceError, UnsupportedNetworkError: it cannot run the costliest network of any backbone.
    """
    *costlier, cheapest = settings.space.largest(num_classes=num_classes)
    for architecture in costlier:
        try:
            return devices.measure_ms(architecture, settings, num_classes=num_classes) * _MARGIN
        except (DeviceAwayError, UnstableError):
            raise
        except (DeviceError, UnsupportedNetworkError):
            continue
    return devices.measure_ms(cheapest, settings, num_classes=num_classes) * _MARGIN
