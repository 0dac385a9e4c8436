from pathlib import Path

import numpy as np
import onnxruntime

from spaces import Architecture
from trials.latency.reference_network import write_reference
from trials.onnx.export import export_for_timing
from trials.onnx.half_precision import write_half


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
