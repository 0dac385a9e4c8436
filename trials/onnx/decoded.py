"""The ONNX file that an export is run from: an image in, boxes and scores out.

The file whose latency was measured ends at the raw maps. This one also normalises the image and decodes the boxes, in the
graph, so that whoever runs it needs neither anchors nor strides. Non-maximum suppression is left to the caller.

Legend: H W height and width of the network's input, P predictions of an image, A anchors a cell, K classes, V values of a
prediction.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from spaces.networks import YoloReT
from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from trials.detections import Decoding
from trials.detections.decoding import PredictionGrid, anchors_tensor, build_grid, decode_boxes, split_values
from trials.onnx.export import check_opset, trace
from trials.whole_file import whole_file

INPUT = "images: 1×3×H×W float32, RGB from 0 to 255, letterboxed"
BOXES = "boxes: 1×P×4 float32, x1 y1 x2 y2 in pixels of the input"
SCORES = "scores: 1×P×K float32 from 0 to 1, for each class"


class Decoded(nn.Module):
    """A network between its normalisation and its decoding.

    Args:
        network: Not copied, unless `is_half`.
        decoding: How its maps are decoded.
        is_half: Whether the network computes in float16; normalisation and decoding stay in float32, since float16 knows
            a position beyond 256 px only to a quarter of a pixel.
    """

    scale: Tensor
    offset: Tensor
    cells: Tensor
    anchors: Tensor
    strides: Tensor

    def __init__(self, network: YoloReT, decoding: Decoding, *, is_half: bool = False) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half() if is_half else network
        self._is_half = is_half
        self._coding = decoding.coding
        height, width = decoding.input_hw
        sizes_hw = tuple((height // stride, width // stride) for stride in network.output_strides)
        anchors = anchors_tensor(decoding.anchors)
        grid = build_grid(anchors, network.output_strides, sizes_hw=sizes_hw)
        self._sizes_hw, self._num_anchors = sizes_hw, anchors.shape[1]
        self._num_classes = len(decoding.class_names)
        self.register_buffer("scale", torch.tensor([1 / (255 * one) for one in IMAGENET_STD]).view(1, 3, 1, 1))
        offset = [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        self.register_buffer("offset", torch.tensor(offset).view(1, 3, 1, 1))
        for name in ("cells", "anchors", "strides"):
            self.register_buffer(name, getattr(grid, name))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect, without non-maximum suppression.

        Args:
            images: (1, 3, H, W) float32, RGB from 0 to 255.

        Returns:
            (1, P, 4) xyxy in pixels of the input, and (1, P, K) scores.
        """
        normalised = images * self.scale + self.offset
        maps = self.network(normalised.half() if self._is_half else normalised)
        logits = self._flatten([one.float() for one in maps] if self._is_half else maps)  # (1, P, V)
        grid = PredictionGrid(cells=self.cells, anchors=self.anchors, strides=self.strides, sizes_hw=self._sizes_hw)
        box, scores = split_values(logits, coding=self._coding, num_classes=self._num_classes)
        return decode_boxes(box, grid, coding=self._coding), scores

    def _flatten(self, maps: Sequence[Tensor]) -> Tensor:
        """Concatenate the predictions of all strides; numbers instead of shapes, which would be operators in the file."""
        rows = [
            one.permute(0, 2, 3, 1).reshape(1, height * width * self._num_anchors, -1)
            for one, (height, width) in zip(maps, self._sizes_hw, strict=True)
        ]
        return torch.cat(rows, dim=1)


def export_decoded(network: YoloReT, decoding: Decoding, path: Path, *, opset: int, is_half: bool = False) -> None:
    """Write a trained network with normalisation and decoding; the file's metadata describe input, outputs and classes.

    Args:
        network: With its trained weights, on the CPU; its mode is restored.
        decoding: How its maps are decoded.
        path: The file to write.
        opset: The exact operator set of the file.
        is_half: As for `Decoded`; images, boxes and scores are float32 all the same.

    Raises:
        ExportError: the exporter wrote another operator set.
    """
    was_training = network.training
    decoded = Decoded(network, decoding, is_half=is_half).eval()
    try:
        with whole_file(path) as partial:
            trace(decoded, partial, input_hw=decoding.input_hw, opset=opset, output_names=["boxes", "scores"])
            model = onnx.load(str(partial))
            about = {"input": INPUT, "boxes": BOXES, "scores": SCORES, "classes": json.dumps(decoding.class_names)}
            onnx.helper.set_model_props(model, about)
            onnx.save(model, str(partial))
    finally:
        network.train(was_training)
    check_opset(path, opset)
