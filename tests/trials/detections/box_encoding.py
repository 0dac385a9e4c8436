"""The inverse of `decode_boxes`, which only tests need."""

import torch
from torch import Tensor

from trials.detections.decoding import BoxCoding, PredictionGrid


def encode_boxes(boxes: Tensor, grid: PredictionGrid, *, coding: BoxCoding) -> Tensor:
    """Turn (..., P, 4) xyxy boxes into the logits that decode to them, or to the nearest box in reach."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2 / grid.strides - grid.cells
    scales = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3) / grid.anchors
    if coding == "exponential":
        return torch.cat((_logit(centres), scales.log()), dim=-1)
    return torch.cat((_logit((centres + 0.5) / 2), _logit(scales.sqrt() / 2)), dim=-1)


def _logit(values: Tensor) -> Tensor:
    return torch.logit(values, eps=1e-6)
