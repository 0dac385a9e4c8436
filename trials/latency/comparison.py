"""Latencies of several networks on several devices; each pair has a figure or the reason of its failure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spaces import Architecture, YoloRetError
from trials.latency.cpu import in_openvino
from trials.latency.device import Device, Latency
from trials.latency.measure import alone_on
from trials.latency.measurement_lock import MeasurementLock
from trials.onnx.export import export_for_timing
from trials.onnx.number_format import find_number_format
from trials.scratch import temporary_folder

MEASURED = {
    "cpu": "forward pass in ONNX Runtime (of an .xml file in OpenVINO) on the CPU, batch 1, without pre-processing and NMS",
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
    precision: str = ""
    """Of its weights and activations on this device; empty where the file does not tell."""
    reason: str = ""
    """Reason of the failure."""


def compare_latencies(
    devices: Sequence[Device], models: Sequence[tuple[str, Architecture | Path, int]]
) -> Iterator[Row]:
    """Measure each network on each device, alone on this machine.

    Args:
        devices: Where to measure.
        models: Name, architecture or file as for `measure_model`, and classes of a detector built from the architecture.

    Yields:
        One row per pair, device by device. After a failure the other pairs are still measured.
    """
    for device in devices:
        for name, model, num_classes in models:
            try:
                measured = measure_model(device, model, num_classes=num_classes)
                yield Row(
                    device=device.name,
                    model=name,
                    latency=measured,
                    precision=_precision(model, of_device=measured.device.precision),
                )
            except YoloRetError as error:
                hint = f" ({error.hint})" if error.hint else ""
                yield Row(device=device.name, model=name, latency=None, reason=f"{error.message}{hint}")


def _precision(model: Architecture | Path, *, of_device: str) -> str:
    """Return what a network is computed in: a file in INT8 stays so; ONNX Runtime computes one in FP16 as its CPU does."""
    if isinstance(model, Path) and model.suffix == ".xml":
        return ""
    return "int8" if isinstance(model, Path) and find_number_format(model) == "int8" else of_device


def measure_model(device: Device, model: Architecture | Path, *, num_classes: int) -> Latency:
    """Measure one network on one device, alone on this machine.

    Args:
        device: Where to measure.
        model: An architecture, an ONNX file, or an ``.xml`` file of OpenVINO, which the CPU alone takes.
        num_classes: Classes of a detector built from an architecture.

    Raises:
        YoloRetError: the network cannot be built, the device has no OpenVINO, or see `Device.measure`.
    """
    if isinstance(model, Path) and model.suffix == ".xml":
        device = in_openvino(device)
    with temporary_folder() as folder:
        path = model if isinstance(model, Path) else Path(folder) / "model.onnx"
        if isinstance(model, Architecture):
            opset = device.opset  # a board that is away is tried for minutes
            with MeasurementLock().shared():  # on all cores, which would disturb another measurement
                export_for_timing(model, path, num_classes=num_classes, opset=opset)
        with alone_on(device):
            return device.measure(path)
