"""Checks whether a version of TensorRT can take an ONNX file, before minutes are spent on a board."""

from pathlib import Path

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # it has no types
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from spaces import YoloRetError
from trials.onnx.tensorrt_version import TensorRTVersion


class UnsupportedNetworkError(YoloRetError):
    """A version of TensorRT cannot take an ONNX file."""


def check_onnx(path: Path, *, version: TensorRTVersion) -> tuple[int, ...]:
    """Check a file's operator set, operators and shapes.

    Args:
        path: The file.
        version: The TensorRT version that will read it.

    Returns:
        The shape of its only input.

    Raises:
        UnsupportedNetworkError: this TensorRT would refuse the file, or measure another network.
    """
    model = load_onnx(path)
    opset = opset_of(model)
    if opset > version.highest_opset:
        raise UnsupportedNetworkError(
            f"{path.name} is in opset {opset}, TensorRT {version} reads up to {version.highest_opset}",
            hint=f"export it with opset {version.opset}",
        )
    lacking = sorted({node.op_type for node in model.graph.node if version.lacks(node.op_type)})
    if lacking:
        raise UnsupportedNetworkError(
            f"TensorRT {version} has no operator {', '.join(lacking)}, which {path.name} uses",
            hint="choose a space without it, or a board with a newer TensorRT",
        )
    return _input_shape(path, model)


def has_other_files(path: Path) -> bool:
    """Return whether an ONNX file names other files for its weights, as PyTorch's exporter lets it by default.

    Raises:
        UnsupportedNetworkError: it is not an ONNX file.
    """
    graph = load_onnx(path).graph
    constants = [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    return any(uses_external_data(tensor) for tensor in (*graph.initializer, *constants))


def load_whole(path: Path) -> onnx.ModelProto:
    """Return an ONNX file's model with the weights that it names in other files.

    Raises:
        UnsupportedNetworkError: it is not an ONNX file, or a file that it names cannot be read.
    """
    model = load_onnx(path)
    try:
        load_external_data_for_model(model, str(path.absolute().parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UnsupportedNetworkError(
            f"{path.name} names weights in a file that cannot be read: {error}",
            hint="keep that file itself, no link to it, beside it, or export the network as one file (external_data=False)",
        ) from error
    return model


def write_whole(source: Path, target: Path) -> None:
    """Write an ONNX file's model, with the weights that it names in other files, as one file.

    Raises:
        UnsupportedNetworkError: it is not an ONNX file, a file that it names cannot be read, or it has 2 GB and more.
    """
    model = load_whole(source)
    try:
        onnx.save(model, str(target))
    except (ValueError, EncodeError) as error:
        raise UnsupportedNetworkError(f"{source.name} does not fit into one file: {error}") from error


def load_onnx(path: Path) -> onnx.ModelProto:
    """Return an ONNX file's model, without data that it names in other files.

    Raises:
        UnsupportedNetworkError: it is not an ONNX file.
    """
    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own error class differs between its implementations
        raise UnsupportedNetworkError(f"{path.name} is not an ONNX file: {error}") from error


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of a model's default operator set; 0 if it names none."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _input_shape(path: Path, model: onnx.ModelProto) -> tuple[int, ...]:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in weights]
    if len(inputs) != 1:
        raise UnsupportedNetworkError(
            f"{path.name} has {len(inputs)} inputs; only networks of one image input can be timed"
        )
    shape = tuple(side.dim_value for side in inputs[0].type.tensor_type.shape.dim)
    if not shape or not all(side > 0 for side in shape):
        raise UnsupportedNetworkError(
            f"input {inputs[0].name} of {path.name} has a dynamic shape; trtexec would measure it at one pixel",
            hint="export static shapes",
        )
    return shape
