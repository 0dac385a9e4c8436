from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from spaces import Architecture
from trials.latency.reference_network import write_reference
from trials.onnx.export import export_for_timing
from trials.onnx.half_precision import write_half
from trials.onnx.number_format import find_number_format


def test_half_precision_agrees(tmp_path: Path) -> None:
    write_reference(tmp_path / "full.onnx")
    write_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
    image = np.random.default_rng(0).standard_normal((1, 3, 96, 96)).astype(np.float32)
    outputs = []
    for name, kind in (("full", np.float32), ("half", np.float16)):
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"images": image.astype(kind)})[0].astype(np.float32))
    assert np.abs(outputs[0] - outputs[1]).max() < 0.02 * np.abs(outputs[0]).max()


def test_half_precision_of_a_detector(tmp_path: Path) -> None:
    architecture = Architecture(backbone="mobilenetv2_075", truncation=16, shortcut="maxpool", input_size=64)
    export_for_timing(architecture, tmp_path / "full.onnx", num_classes=3, opset=17)
    write_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "half.onnx"), providers=["CPUExecutionProvider"])
    half = session.run(None, {"images": image.astype(np.float16)})
    full = onnxruntime.InferenceSession(str(tmp_path / "full.onnx"), providers=["CPUExecutionProvider"])
    for ours, theirs in zip(half, full.run(None, {"images": image}), strict=True):
        assert ours.dtype == np.float16
        assert np.abs(ours.astype(np.float32) - theirs).max() < 0.02 * max(1.0, float(np.abs(theirs).max()))


def test_constants_that_are_given_as_numbers_are_halved(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=2.0),
        helper.make_node("Constant", [], ["some"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node("Constant", [], ["sides"], value_ints=[1, 4]),
        helper.make_node("ConstantOfShape", ["sides"], ["zeros"]),
        helper.make_node("Sum", ["images", "one", "some", "zeros"], ["out"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("images", "out")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "full.onnx"))
    write_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
    half = onnx.load(str(tmp_path / "half.onnx"))
    assert find_number_format(tmp_path / "half.onnx") == "fp16"
    onnx.checker.check_model(half, full_check=True)  # refuses mixed types
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"images": np.ones((1, 4), np.float16)})
    assert out.dtype == np.float16
    assert out.tolist() == [[4.0, 5.0, 6.0, 7.0]]
