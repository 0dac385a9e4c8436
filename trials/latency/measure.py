"""The latency of a network file or an architecture: found timed, or timed while this machine is quiet."""

from contextlib import nullcontext
from pathlib import Path

from spaces import Architecture
from trials.latency.cache import LatencyCache
from trials.latency.device import Device, Latency
from trials.latency.measurement_lock import MeasurementLock
from trials.onnx.export import export_for_timing

_ON_THIS_MACHINE = ("cpu", "cuda")


def measure_quietly(
    onnx_path: Path, device: Device, cache: LatencyCache, *, lock: MeasurementLock
) -> tuple[Latency, bool]:
    """Find a file's latency in the cache, or time it while this machine's trials wait, where it is the device.

    Args:
        onnx_path: The network.
        device: Where to time it.
        cache: Where a repeat is found.
        lock: Held shared.

    Returns:
        The latency, and whether it came from the cache.

    Raises:
        DeviceError: the device cannot measure it.
    """
    identity = device.identity()
    if known := cache.get(onnx_path, identity):
        return known, True
    with lock.exclusive() if identity.kind in _ON_THIS_MACHINE else nullcontext():
        return cache.measure(device, onnx_path)


def measure_architecture(
    architecture: Architecture,
    device: Device,
    cache: LatencyCache,
    *,
    lock: MeasurementLock,
    num_classes: int,
    onnx_path: Path,
) -> tuple[Latency, bool]:
    """Write an architecture's ONNX, then as `measure_quietly`.

    Args:
        architecture: Any legal one.
        device: Where to time it.
        cache: Where a repeat is found.
        lock: Held shared.
        num_classes: Classes of the detector.
        onnx_path: The file to write; its weights are random.

    Raises:
        DeviceError: the device cannot measure it.
        ExportError: the file cannot be written.
    """
    export_for_timing(architecture, onnx_path, num_classes=num_classes, opset=device.opset)
    return measure_quietly(onnx_path, device, cache, lock=lock)
