"""Latencies of several networks on several devices; each pair has a figure or the reason of its failure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spaces import Architecture, YoloRetError
from trials.latency.device import Device, Latency
from trials.latency.measure import alone
from trials.latency.measurement_lock import MeasurementLock
from trials.onnx.export import export_for_timing
from trials.scratch import temporary_folder

MEASURED = {
    "cpu": "forward pass in ONNX Runtime on the CPU, batch 1, without pre-processing and NMS",
    "cuda": "GPU compute time in TensorRT, batch 1, without transfers, pre-processing and NMS",
    "ssh": "GPU compute time in TensorRT (trtexec), batch 1, without transfers, pre-processing and NMS",
}
"""What a latency includes, by the device's kind."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on one device."""

    device: str
    model: str
    latency: Latency | None
    """None for a failure."""
    reason: str = ""
    """Reason of the failure."""


def compare_latencies(
    devices: Sequence[Device], models: Sequence[tuple[str, Architecture | Path]], *, num_classes: int
) -> Iterator[Row]:
    """Measure each network on each device, alone on this machine.

    Args:
        devices: Where to measure.
        models: Names with an architecture or an ONNX file.
        num_classes: Classes of detectors built from architectures.

    Yields:
        One row per pair, device by device. After a failure the other pairs are still measured.
    """
    for device in devices:
        for name, model in models:
            try:
                measured = measure_model(device, model, num_classes=num_classes)
                yield Row(device=device.name, model=name, latency=measured)
            except YoloRetError as error:
                hint = f" ({error.hint})" if error.hint else ""
                yield Row(device=device.name, model=name, latency=None, reason=f"{error.message}{hint}")


def measure_model(device: Device, model: Architecture | Path, *, num_classes: int) -> Latency:
    """Measure one network on one device, alone on this machine.

    Args:
        device: Where to measure.
        model: An architecture or an ONNX file.
        num_classes: Classes of a detector built from an architecture.

    Raises:
        YoloRetError: the network cannot be built, or see `Device.measure`.
    """
    with temporary_folder() as folder, MeasurementLock().shared() as lock:
        path = model if isinstance(model, Path) else Path(folder) / "model.onnx"
        if isinstance(model, Architecture):
            with lock.released():  # a board that is away is tried for minutes
                opset = device.opset
            export_for_timing(model, path, num_classes=num_classes, opset=opset)
        with lock.released():
            device.identity()
        with alone(device, lock):
            return device.measure(path)
