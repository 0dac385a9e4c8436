"""A small detector with random weights, as an export's folder."""

from pathlib import Path

import torch

from spaces import Architecture
from spaces.networks import YoloReT, build_network
from trials.data.images.letterbox import PAD_RGB
from trials.detections import Decoding
from trials.detections.anchors import cell_anchors
from trials.onnx.decoded import export_decoded
from trials.trial_result import write_json

ARCHITECTURE = Architecture(backbone="mobilenetv3_small_050", truncation=11, head="plain", head_width=32, input_size=64)
CLASSES = ("circle", "square")


def make_decoding(coding: str = "bounded", *, input_hw: tuple[int, int] = (64, 64)) -> Decoding:
    """Return anchors of some pixels at three strides; cells for distances."""
    anchors = tuple(((6.0 * k, 8.0 * k), (10.0 * k, 10.0 * k), (14.0 * k, 12.0 * k)) for k in (1, 2, 3))
    return Decoding(
        anchors=cell_anchors((8, 16, 32)) if coding == "distances" else anchors,
        coding=coding,  # type: ignore[arg-type]
        class_names=CLASSES,
        input_hw=input_hw,
    )


def make_network(coding: str = "bounded") -> YoloReT:
    """Return a network whose scores spread over their whole range."""
    torch.manual_seed(0)
    architecture = ARCHITECTURE.replace(head="decoupled") if coding == "distances" else ARCHITECTURE
    network = build_network(architecture, num_classes=len(CLASSES)).eval()
    with torch.no_grad():
        for conv in network.prediction_convs:
            assert conv.bias is not None
            conv.bias.normal_(0, 1)
    return network


def write_folder(folder: Path, *, opset: int = 13, input_hw: tuple[int, int] = (64, 64)) -> None:
    """Write what the runner needs."""
    export_decoded(make_network(), make_decoding(input_hw=input_hw), folder / "model.onnx", opset=opset)
    write_json(folder / "detector.json", {"class_names": CLASSES, "input_hw": input_hw, "letterbox_rgb": PAD_RGB})
