"""The latency of an architecture: written, then timed or found timed."""

from pathlib import Path

from spaces import Architecture
from trials.device import Device, Latency
from trials.latency_cache import LatencyCache
from trials.onnx_export import export_for_timing


def measure_architecture(
    architecture: Architecture, device: Device, cache: LatencyCache, *, num_classes: int, onnx_path: Path
) -> tuple[Latency, bool]:
    """Write an architecture's ONNX and time it, or find it timed.

    Args:
        architecture: Any legal one.
        device: Where to time it.
        cache: Where a repeat is found.
        num_classes: Classes of the detector.
        onnx_path: The file to write; its weights are random.

    Returns:
        The latency, and whether it came from the cache.

    Raises:
        DeviceError: the device cannot measure it.
        ExportError: the file cannot be written.
    """
    export_for_timing(architecture, onnx_path, num_classes=num_classes, opset=device.opset)
    return cache.measure(device, onnx_path)
