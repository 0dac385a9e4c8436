"""Converts an FP32 ONNX file to a strongly typed FP16 one, for TensorRT 11 and the Python runtime.

Up to 10.x ``trtexec --fp16`` converts by itself, and may keep single layers in FP32 where that is faster.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.helper import get_attribute_value, make_attribute

from trials.onnx.requirements import load_whole

_FLOAT32_INPUTS = {"Resize": (2,), "Upsample": (1,)}
"""Positions of inputs that must be float32: the scales."""


def write_half(source: Path, target: Path) -> None:
    """Write a copy whose weights, activations, input and outputs are float16.

    Args:
        source: An FP32 file without control flow.
        target: The file to write.

    Raises:
        UnsupportedNetworkError: it cannot be read.
    """
    model = load_whole(source)
    kept = _names_kept(model)
    for tensor in model.graph.initializer:
        if tensor.name not in kept:
            _halve(tensor)
    for node in model.graph.node:
        if node.output[0] not in kept:
            _spell_out(node)
        for attribute in node.attribute if node.output[0] not in kept else ():
            if node.op_type in ("Constant", "ConstantOfShape") and attribute.HasField("t"):
                _halve(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    del model.graph.value_info[:]  # it holds the old types
    for entry in (*model.graph.input, *model.graph.output):
        if entry.type.tensor_type.elem_type == TensorProto.FLOAT:
            entry.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, str(target))


def _names_kept(model: onnx.ModelProto) -> set[str]:
    """Return the values that stay float32: inputs of fixed type, and everything they are computed from."""
    producers = {output: node for node in model.graph.node for output in node.output}
    waiting = [
        node.input[position]
        for node in model.graph.node
        for position in _FLOAT32_INPUTS.get(node.op_type, ())
        if position < len(node.input) and node.input[position]
    ]
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        producer = producers.get(name)
        if producer is not None and producer.op_type not in ("Cast", "Shape"):  # their inputs have another type
            waiting += producer.input
    return kept


def _spell_out(node: onnx.NodeProto) -> None:
    """Write the value of a constant as a tensor where the file gives numbers, or none for zero."""
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float32))))
    if node.op_type == "Constant" and node.attribute and node.attribute[0].name in ("value_float", "value_floats"):
        values = np.asarray(get_attribute_value(node.attribute[0]), dtype=np.float32)
        node.attribute[0].CopyFrom(make_attribute("value", numpy_helper.from_array(values)))


def _halve(tensor: TensorProto) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    largest = np.finfo(np.float16).max
    halved = np.clip(values, -largest, largest).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))
