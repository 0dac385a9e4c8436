"""What an export holds and what it is tried on; the defaults are those of the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trials.onnx.suppressed import Suppression
from yoloret_nas.export.precisions import Precision

Format = Literal["onnx", "openvino", "engine"]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export."""

    formats: tuple[Format, ...] = ("onnx",)
    """Formats of its files; ONNX is always written, an engine of TensorRT also where `device` has TensorRT."""
    precisions: tuple[Precision, ...] = ("fp32",)
    """Number formats of its files; FP32 is always written."""
    suppression: Suppression | None = None
    """Thresholds of a further file with non-maximum suppression; None for no such file."""
    device: str | None = None
    """The device it is meant for, as the user types it; None for the study's, which need not be at hand."""
    data: str | None = None
    """Images to try it on and to calibrate INT8 with; None for the study's. On the study's AP must be the trial's."""
    skip_broken: bool = False
    """Whether broken images and annotations are left out, as they are where the study leaves them out."""
    weights_dir: Path | None = None
    """Folder of ImageNet weights, searched before any download, for a full training before the export."""
    is_checked: bool = True
    """Whether it is tried on images."""
    is_measured: bool = True
    """Whether the latencies of its files are measured."""
    replace: bool = False
    """Whether an existing export is replaced."""
