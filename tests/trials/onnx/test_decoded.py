"""The file with normalisation and decoding in the graph computes what training and scoring compute."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.trials.onnx.detector import CLASSES, make_decoding, make_network, write_folder
from trials.data.images.letterbox import normalise
from trials.detections.decoding import anchors_tensor, decode_maps
from trials.onnx.decoded import export_decoded


@pytest.mark.parametrize(("coding", "num_anchors"), [("bounded", 3), ("exponential", 3), ("distances", 1)])
@pytest.mark.parametrize("opset", [11, 13, 17])
def test_boxes_and_scores_are_those_of_the_reference(tmp_path: Path, opset: int, coding: str, num_anchors: int) -> None:
    network, decoding = make_network(coding).train(), make_decoding(coding)
    export_decoded(network, decoding, tmp_path / "model.onnx", opset=opset)
    assert network.training
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {"images": image.float().numpy()})
    with torch.no_grad():
        maps = network.eval()(normalise(image))
    anchors = anchors_tensor(decoding.anchors)
    expected = decode_maps(maps, anchors, strides=(8, 16, 32), coding=decoding.coding, num_classes=2)
    np.testing.assert_allclose(boxes, expected.boxes.numpy(), atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(scores, expected.scores.numpy(), atol=1e-5)
    assert boxes.shape == (1, num_anchors * (64 + 16 + 4), 4)
    assert scores.shape == (1, num_anchors * (64 + 16 + 4), 2)


def test_the_file_says_what_goes_in_and_out(tmp_path: Path) -> None:
    write_folder(tmp_path)
    about = {entry.key: entry.value for entry in onnx.load(str(tmp_path / "model.onnx")).metadata_props}
    assert json.loads(about["classes"]) == list(CLASSES)
    assert about["input"].startswith("images: 1×3×H×W float32, RGB from 0 to 255")
    assert set(about) == {"input", "boxes", "scores", "classes"}
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_opencv_runs_it_too(tmp_path: Path) -> None:
    write_folder(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(["boxes", "scores"], {"images": images})
    network = cv2.dnn.readNetFromONNX(str(tmp_path / "model.onnx"))
    network.setInput(images)
    for theirs, ours in zip(network.forward(["boxes", "scores"]), expected, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-2, rtol=1e-3)
