"""The number formats of an export's files: how each is written, and how far it may differ from the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spaces.networks import YoloReT
from trials.data import Sample
from trials.data.dataset import spread
from trials.detections import Decoding
from trials.latency import DeviceIdentity
from trials.onnx.decoded import export_decoded
from trials.onnx.quantised import MIN_OPSET, quantise
from trials.trial_result import ONNX_FILE
from yoloret_nas.export.bundle import BundleError
from yoloret_nas.export.proof import Tolerance

Precision = Literal["fp32", "fp16", "int8"]
"""Keys of `PRECISIONS`."""

NUM_CALIBRATION = 128
"""Training images that INT8 is calibrated with, at most."""
_WITHOUT_INT8 = ("Jetson Nano", "TX1", "TX2")
"""Boards without INT8 (compute capability below 7), by their model; a Jetson Orin Nano has it."""


@dataclass(frozen=True, kw_only=True)
class PrecisionEntry:
    """One number format."""

    file: str
    """Name of its file."""
    tolerance: Tolerance
    """How far the file may differ."""


PRECISIONS: dict[Precision, PrecisionEntry] = {
    "fp32": PrecisionEntry(file=ONNX_FILE, tolerance=Tolerance(box_px=0.1, score=1e-3, ap=0.002)),
    "fp16": PrecisionEntry(file="model-fp16.onnx", tolerance=Tolerance(box_px=None, score=None, ap=0.01)),
    "int8": PrecisionEntry(file="model-int8.onnx", tolerance=Tolerance(box_px=None, score=None, ap=None)),
}
"""Name to number format; the first is always written."""


def check_int8(device: DeviceIdentity, *, opset: int) -> None:
    """Refuse INT8 for a device that lacks it.

    Raises:
        BundleError: it does.
    """
    if any(model in device.board for model in _WITHOUT_INT8):
        raise BundleError(f"{device.board} has no INT8", hint="leave int8 out of --precision")
    if opset < MIN_OPSET:
        raise BundleError(
            f"INT8 needs opset {MIN_OPSET}, and {device.backend} reads up to {opset}",
            hint="leave int8 out of --precision",
        )


def write_precision(
    precision: Precision,
    folder: Path,
    network: YoloReT,
    decoding: Decoding,
    *,
    calibration: Sequence[Sample],
    opset: int,
) -> None:
    """Write the file of a number format other than FP32 into an export.

    Args:
        precision: Which.
        folder: The export, with its FP32 file.
        network: With its weights, on the CPU.
        decoding: How its maps are decoded.
        calibration: Images for INT8; of many, some from all over.
        opset: Of the file.
    """
    path = folder / PRECISIONS[precision].file
    if precision == "fp16":
        export_decoded(network, decoding, path, opset=opset, is_half=True)
    else:
        quantise(folder / ONNX_FILE, path, spread(calibration, NUM_CALIBRATION), input_hw=decoding.input_hw)
