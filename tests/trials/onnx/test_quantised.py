"""INT8 files: quantised where they should be, close to the float file, and refused where they cannot be."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.trials.onnx.detector import write_folder
from trials.data.images.letterbox import letterbox
from trials.data.shapes import ShapesSettings, make_shapes
from trials.onnx.quantised import quantise

SAMPLES = make_shapes(ShapesSettings(num_train=8, num_val=2, size=64)).splits["train"]


def test_the_network_is_quantised_and_its_surroundings_are_not(tmp_path: Path) -> None:
    write_folder(tmp_path, input_hw=(64, 96))
    quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", SAMPLES, input_hw=(64, 96))
    model = onnx.load(str(tmp_path / "int8.onnx"))
    produced_by = {output: node for node in model.graph.node for output in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) > 20
    assert all(produced_by[name].op_type == "DequantizeLinear" for conv in convs for name in conv.input[:2])
    joining = [node for node in model.graph.node if node.op_type == "Concat" and "/network/" not in node.name]
    assert joining  # of boxes and scores: INT8 would round them to some pixels
    for node in joining:
        assert "DequantizeLinear" not in {produced_by[name].op_type for name in node.input if name in produced_by}
    assert {entry.domain for entry in model.opset_import} == {node.domain for node in model.graph.node} == {""}
    assert Counter(entry.key for entry in model.metadata_props)["classes"] == 1

    images = [letterbox(one.load(), (64, 96))[0].transpose(2, 0, 1)[None].astype(np.float32) for one in SAMPLES]
    (boxes, scores), (int8_boxes, int8_scores) = (_run(tmp_path / name, images) for name in ("model.onnx", "int8.onnx"))
    assert 0 < np.abs(scores - int8_scores).max() < 0.2
    assert np.corrcoef(scores.ravel(), int8_scores.ravel())[0, 1] > 0.99
    assert 0 < np.abs(boxes - int8_boxes).max() < 0.5  # 0.22 pixels


def _run(path: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    """Return a file's boxes and scores of some images."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = [session.run(["boxes", "scores"], {"images": one}) for one in images]
    return [np.concatenate(values) for values in zip(*found, strict=True)]


def test_what_cannot_be_quantised_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, opset=11)
    with pytest.raises(ValueError, match="has opset 11; INT8 needs 13"):
        quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", SAMPLES, input_hw=(64, 64))
    write_folder(tmp_path)
    with pytest.raises(ValueError, match="at least one image"):
        quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", (), input_hw=(64, 64))
    assert not (tmp_path / "int8.onnx").exists()
