"""An exported detector against the network it was written from, image by image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spaces import Architecture
from spaces.networks import build_network
from trials.data.letterbox import letterbox, normalise
from trials.detections import Decoding, DetectionSettings, select_detections
from trials.detections.decoding import anchors_tensor, decode_maps
from trials.detections.nms import unletterbox_detections
from trials.onnx.export import export_onnx
from trials.onnx.inference import OnnxDetector

ARCHITECTURE = Architecture(backbone="mobilenetv3_small_050", truncation=11, head="plain", head_width=32, input_size=64)
DECODING = Decoding(
    anchors=tuple(((6.0 * k, 8.0 * k), (10.0 * k, 10.0 * k), (14.0 * k, 12.0 * k)) for k in (1, 2, 3)),
    coding="bounded",
    class_names=("circle", "square"),
    input_size=64,
)
SETTINGS = DetectionSettings(score_threshold=0.2, nms_iou=0.5)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    found = build_network(ARCHITECTURE, num_classes=2).eval()
    with torch.no_grad():
        for conv in found.prediction_convs:
            conv.bias.normal_(0, 1)
    return found


@pytest.fixture(scope="module")
def path(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("detector") / "model.onnx"
    export_onnx(network, found, input_size=64)
    return found


def image_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 200), (333, 100), (8, 8)])
def test_it_finds_what_the_network_finds_in_pixels_of_the_image(
    network: torch.nn.Module, path: Path, height: int, width: int
) -> None:
    image = image_of(height, width)
    found = OnnxDetector(path, DECODING, strides=(8, 16, 32), settings=SETTINGS).detect(image)

    square, place = letterbox(image, 64)
    with torch.no_grad():
        maps = network(normalise(torch.from_numpy(square).permute(2, 0, 1)[None]))
    predictions = decode_maps(maps, anchors_tensor(DECODING.anchors), strides=(8, 16, 32), coding=DECODING.coding)
    expected = unletterbox_detections(select_detections(predictions, SETTINGS)[0], place, size_hw=(height, width))
    assert len(found.boxes) > 0
    torch.testing.assert_close(found.boxes, expected.boxes, atol=0.05, rtol=1e-3)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=1e-3)
    assert torch.equal(found.labels, expected.labels)
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, [0, 2]] <= width).all()
    assert (found.boxes[:, [1, 3]] <= height).all()
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_a_high_threshold_finds_nothing(path: Path) -> None:
    nothing = DetectionSettings(score_threshold=1.0, nms_iou=0.5)
    found = OnnxDetector(path, DECODING, strides=(8, 16, 32), settings=nothing).detect(image_of(40, 60))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)
