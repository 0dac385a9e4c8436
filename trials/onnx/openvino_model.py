"""Converts an exported detector to OpenVINO's own format, which loads without ONNX."""

from functools import cache
from pathlib import Path
from typing import Any

from trials.onnx.export import ExportError


def import_openvino() -> Any:
    """Return the package.

    Raises:
        ExportError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ExportError("OpenVINO is not installed", hint='pip install "yoloret-nas[openvino]"') from error
    return openvino


@cache
def _core() -> Any:
    """Return the one core of this process: what it has read is used after it, and needs its libraries."""
    return import_openvino().Core()


def write_openvino(source: Path, target: Path) -> None:
    """Write a file as OpenVINO's pair of network and weights, in the number format it has.

    Args:
        source: An ONNX file.
        target: The ``.xml`` file to write; the weights go beside it, as ``.bin``.

    Raises:
        ExportError: OpenVINO is not installed, or cannot read the file.
    """
    openvino, core = import_openvino(), _core()
    try:
        model = core.read_model(str(source))  # as `convert_model`, which also reports its use to Intel
        openvino.save_model(model, str(target), compress_to_fp16=False)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot convert {source.name}: {error}") from error
