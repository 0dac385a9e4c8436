"""Tells the number format that an ONNX file computes in."""

from pathlib import Path
from typing import Literal

from onnx import TensorProto

from trials.onnx.requirements import load_onnx

NumberFormat = Literal["fp32", "fp16", "int8"]


def find_number_format(path: Path) -> NumberFormat:
    """Return ``int8`` for a quantised file, ``fp16`` for one with weights in float16, ``fp32`` for any other.

    Raises:
        UnsupportedNetworkError: it is not an ONNX file.
    """
    graph = load_onnx(path).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    constants = [attribute.t for node in graph.node if node.op_type == "Constant" for attribute in node.attribute]
    tensors = (*graph.initializer, *constants)
    return "fp16" if any(tensor.data_type == TensorProto.FLOAT16 for tensor in tensors) else "fp32"
