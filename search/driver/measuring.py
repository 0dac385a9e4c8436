"""Latencies that the driver measures itself, for a proposal or as the reference. `search.driver.driver` handles absence."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from search.study.settings import StudySettings
from spaces import Architecture
from trials.latency import DeviceAwayError, DeviceError, UnstableError
from trials.latency.cache import LatencyCache
from trials.latency.measure import measure_architecture
from trials.latency.measurement_lock import MeasurementLock
from trials.latency.open_device import open_device
from trials.onnx import UnsupportedNetworkError

_MARGIN = 1.1
"""The network with the most multiply-adds need not be the slowest, and measurements differ by some percent."""


class MeasureMs(Protocol):
    """Returns an architecture's median latency in ms on the study's device."""

    def __call__(self, architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
        """Measure; raises as :func:`measure_latency_ms`."""


def measure_latency_ms(architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
    """Measure an architecture's median latency in ms on the study's device, or find it in the cache.

    Raises:
        DeviceError: the device cannot measure it.
        UnsupportedNetworkError: the device's TensorRT cannot take it.
    """
    cache = LatencyCache(settings.latency_cache)
    with (
        MeasurementLock().shared() as lock,
        closing(open_device(settings.device)) as device,
        TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "candidate.onnx"
        latency, _ = measure_architecture(
            architecture, device, cache, lock=lock, num_classes=num_classes, onnx_path=path
        )
    return latency.median_ms


def slowest_latency_ms(settings: StudySettings, *, num_classes: int, measure_ms: MeasureMs) -> float:
    """Measure the space's costliest network; a tenth more is the reference latency of its hypervolumes.

    A network that the device cannot run, for lack of memory for example, is passed over for the next one.

    Raises:
        DeviceAwayError, UnstableError: the device is away or gives no steady figure, which says nothing about the network.
        DeviceError, UnsupportedNetworkError: it cannot run the costliest network of any backbone.
    """
    *costlier, cheapest = settings.space.largest(num_classes=num_classes)
    for architecture in costlier:
        try:
            return measure_ms(architecture, settings, num_classes=num_classes) * _MARGIN
        except (DeviceAwayError, UnstableError):
            raise
        except (DeviceError, UnsupportedNetworkError):
            continue
    return measure_ms(cheapest, settings, num_classes=num_classes) * _MARGIN
