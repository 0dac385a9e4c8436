"""Assignment of objects to the predictions that are trained on them.

Legend: M boxes of the batch, S output strides, A anchors a cell, P predictions of an image (in the order of
`trials.detections.decoding`), N positives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trials.detections.decoding import BoxCoding, PredictionGrid
from trials.training.losses.targets import Targets

Assignment = Literal["single", "neighbours"]
"""The rule of assignment: `assign_single` is the paper's, `assign_neighbours` is ours."""

_MAX_SIZE_FACTOR = 4.0  # the bounded coding's (2σ)² is below 4, so a smaller anchor cannot reach the box


@dataclass(frozen=True, kw_only=True)
class Positives:
    """The predictions assigned to an object, one row each; under `neighbours` a prediction may have two objects."""

    images: Tensor
    """(N,) int64, index in the batch."""
    predictions: Tensor
    """(N,) int64, 0 to P − 1."""
    targets: Tensor
    """(N,) int64, 0 to M − 1, index of the object."""


@dataclass(frozen=True, kw_only=True)
class AssignmentRule:
    """An assignment, and the box coding with which predictions can reach their objects."""

    assign: Callable[[Targets, Tensor, PredictionGrid], Positives]
    """Maps objects, anchors and grid to positives."""
    coding: BoxCoding
    """How box logits are decoded."""


def assign_single(objects: Targets, anchors: Tensor, grid: PredictionGrid) -> Positives:
    """Assign each object to the anchor of closest shape over all strides, in the cell of its centre.

    If two objects have the same prediction, the later one keeps it, as in the authors' code.

    Args:
        objects: M boxes, none of them ignored.
        anchors: (S, A, 2) pixels.
        grid: Of the network's maps.

    Source: YOLOv3, section 2.1; the authors' ``preprocess_true_boxes``.
    """
    sizes = objects.boxes[:, 2:] - objects.boxes[:, :2]
    flat = anchors.view(-1, 2)  # (S·A, 2)
    overlap = torch.minimum(sizes[:, None], flat).prod(dim=-1)  # (M, S·A)
    union = sizes.prod(dim=-1)[:, None] + flat.prod(dim=-1) - overlap
    best = (overlap / union).argmax(dim=1)  # (M,)
    stride_index, anchor_index = best // anchors.shape[1], best % anchors.shape[1]
    strides, sizes_wh, starts = _layout(anchors, grid)
    cells = _cells_of(objects.boxes, strides).floor()[torch.arange(len(best), device=best.device), stride_index]
    cells = torch.minimum(cells.clamp(min=0), sizes_wh[stride_index] - 1).long()  # the edge is in the last cell
    width = sizes_wh[stride_index, 0].long()
    rows = starts[stride_index] + (cells[:, 1] * width + cells[:, 0]) * anchors.shape[1] + anchor_index
    return _keep_last(objects.images, rows, num_predictions=len(grid.cells))


def assign_neighbours(objects: Targets, anchors: Tensor, grid: PredictionGrid) -> Positives:
    """Assign each object to every anchor within a factor of 4 of its sides, in its cell and the two nearest.

    Args:
        objects: M boxes, none of them ignored.
        anchors: (S, A, 2) pixels.
        grid: Of the network's maps.

    Returns:
        Positives in order of object, stride, anchor, cell; an object whose shape is far from all anchors has none.

    Source: YOLOv5, ``utils/loss.py`` (build_targets); here a centre in the middle of a cell has the right and
    lower neighbour, and neighbours are used up to the border.
    """
    sizes = (objects.boxes[:, 2:] - objects.boxes[:, :2])[:, None, None]  # (M, 1, 1, 2)
    ratios = sizes / anchors  # (M, S, A, 2)
    fits = torch.maximum(ratios, 1 / ratios).amax(dim=-1) < _MAX_SIZE_FACTOR  # (M, S, A)
    strides, sizes_wh, starts = _layout(anchors, grid)
    centres = _cells_of(objects.boxes, strides)  # (M, S, 2), in cells
    own = torch.minimum(centres.floor().clamp(min=0), sizes_wh - 1)
    step = torch.where(centres - own < 0.5, -1.0, 1.0)  # towards the nearer neighbour on each axis
    steps = torch.stack((torch.zeros_like(step), step * step.new_tensor((1, 0)), step * step.new_tensor((0, 1))), dim=2)
    cells = own[:, :, None] + steps  # (M, S, 3, 2)
    inside = ((cells >= 0) & (cells < sizes_wh[:, None])).all(dim=-1)  # (M, S, 3)
    chosen = (fits[..., None] & inside[:, :, None]).nonzero()  # (N, 4): object, stride, anchor, cell
    target, stride_index, anchor_index, cell_index = chosen.unbind(dim=1)
    columns, rows = cells[target, stride_index, cell_index].long().unbind(dim=-1)
    width = sizes_wh[stride_index, 0].long()
    predictions = starts[stride_index] + (rows * width + columns) * anchors.shape[1] + anchor_index
    return Positives(images=objects.images[target], predictions=predictions, targets=target)


ASSIGNMENTS: dict[Assignment, AssignmentRule] = {
    "single": AssignmentRule(assign=assign_single, coding="exponential"),
    "neighbours": AssignmentRule(assign=assign_neighbours, coding="bounded"),
}
"""Name to rule."""


def _layout(anchors: Tensor, grid: PredictionGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Return strides (S,), map widths and heights (S, 2) in cells, and the first prediction (S,) of each stride."""
    sizes_hw = torch.tensor(grid.sizes_hw, device=anchors.device)  # (S, 2)
    counts = sizes_hw.prod(dim=1) * anchors.shape[1]
    starts = counts.cumsum(dim=0) - counts
    return grid.strides[starts, 0], sizes_hw.flip(1).float(), starts


def _cells_of(boxes: Tensor, strides: Tensor) -> Tensor:
    """Return the boxes' centres in cells of each stride, (M, S, 2) float32."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres[:, None] / strides[:, None]


def _keep_last(images: Tensor, predictions: Tensor, *, num_predictions: int) -> Positives:
    """Keep the last of the objects that have the same prediction of the same image."""
    order = torch.arange(len(images), device=images.device)
    wanted, group = torch.unique(images * num_predictions + predictions, return_inverse=True)
    # amax, not index assignment: with duplicate indices the latter's winner is undefined
    targets = torch.zeros_like(wanted).scatter_reduce(0, group, order, "amax", include_self=True)
    return Positives(images=images[targets], predictions=predictions[targets], targets=targets)
