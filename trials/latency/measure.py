"""The latency of an ONNX file or an architecture, from the cache or measured under the measurement lock."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from spaces import Architecture
from trials.latency.cache import LatencyCache
from trials.latency.device import Device, Latency
from trials.latency.measurement_lock import MeasurementLock
from trials.onnx.export import export_for_timing

_ON_OTHER_MACHINES = ("ssh",)  # a kind not named here is taken to be on this one


def measure_quietly(
    onnx_path: Path, device: Device, cache: LatencyCache, *, lock: MeasurementLock
) -> tuple[Latency, bool]:
    """Return a file's latency from the cache, or measure it; on this machine, trainings wait meanwhile.

    Nobody waits for a device elsewhere: the lock is released while it is asked.

    Args:
        onnx_path: The network.
        device: Where to time it.
        cache: Earlier measurements.
        lock: Held shared.

    Returns:
        The latency, and whether it came from the cache.

    Raises:
        DeviceError: the device cannot measure it.
    """
    with lock.released():  # a board that is away is tried for minutes
        identity = device.identity()
    if known := cache.get(onnx_path, identity):
        return known, True
    with alone(device, lock):
        return cache.measure(device, onnx_path)


def alone(device: Device, lock: MeasurementLock) -> AbstractContextManager[None]:
    """Return a context that holds this machine's lock exclusively; for a device elsewhere, one that releases it.

    Args:
        device: Where the block measures.
        lock: Held shared.
    """
    return lock.released() if device.identity().kind in _ON_OTHER_MACHINES else lock.exclusive()


@contextmanager
def alone_on(device: Device) -> Iterator[None]:
    """Keep this machine quiet while a block uses a device that is on it; one elsewhere needs no lock."""
    if (
        device.identity().kind in _ON_OTHER_MACHINES
    ):  # asked before a lock is held: a board that is away is tried for minutes
        yield
        return
    with MeasurementLock().shared() as lock, lock.exclusive():
        yield


def measure_architecture(
    architecture: Architecture,
    device: Device,
    cache: LatencyCache,
    *,
    lock: MeasurementLock,
    num_classes: int,
    onnx_path: Path,
) -> tuple[Latency, bool]:
    """Export an architecture, then call `measure_quietly`.

    Args:
        architecture: A legal architecture.
        device: Where to time it.
        cache: Earlier measurements.
        lock: Held shared.
        num_classes: Classes of the detector.
        onnx_path: The file to write; its weights are random.

    Raises:
        DeviceError: the device cannot measure it.
        ExportError: the file cannot be written.
    """
    with lock.released():  # as in `measure_quietly`
        opset = device.opset
    export_for_timing(architecture, onnx_path, num_classes=num_classes, opset=opset)
    return measure_quietly(onnx_path, device, cache, lock=lock)
