"""Latencies of several networks on several devices; each pair has a figure or the reason of its failure."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spaces import Architecture, YoloRetError
from trials.latency.device import Device, Latency
from trials.latency.measure import alone
from trials.latency.measurement_lock import MeasurementLock
from trials.onnx.export import export_for_timing

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
    with tempfile.TemporaryDirectory() as folder, MeasurementLock().shared() as lock:
        for device in devices:
            for number, (name, model) in enumerate(models):
                try:
                    path = model if isinstance(model, Path) else Path(folder) / f"{number}.onnx"
                    if isinstance(model, Architecture):
                        export_for_timing(model, path, num_classes=num_classes, opset=device.opset)
                    with alone(device, lock):
                        measured = device.measure(path)
                    yield Row(device=device.name, model=name, latency=measured)
                except YoloRetError as error:
                    hint = f" ({error.hint})" if error.hint else ""
                    yield Row(device=device.name, model=name, latency=None, reason=f"{error.message}{hint}")
