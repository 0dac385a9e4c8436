"""Task-aligned assignment: an object's positives are the predictions that know both its class and its box best.

Legend: B batch, M boxes of the batch, P predictions of an image, K classes, C candidates, N positives.

Source: Feng et al., TOOD: Task-aligned One-stage Object Detection, section 3.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trials.detections.decoding import PredictionGrid, cell_centres
from trials.training.losses.targets import Targets


@dataclass(frozen=True, kw_only=True)
class AlignedPositives:
    """The predictions assigned to an object, one row each; a prediction has one object at most."""

    images: Tensor
    """(N,) int64, index in the batch."""
    predictions: Tensor
    """(N,) int64, 0 to P − 1."""
    targets: Tensor
    """(N,) int64, 0 to M − 1, index of the object."""
    quality: Tensor
    """(N,) float32, above 0 to 1: the score to predict. An object's best-aligned prediction has the largest IoU of its
    positives, the others less by as much as they are less aligned."""


@torch.no_grad()
def assign_aligned(
    scores: Tensor,
    boxes: Tensor,
    grid: PredictionGrid,
    objects: Targets,
    *,
    score_exponent: float,
    iou_exponent: float,
    most: int,
) -> AlignedPositives:
    """Assign each object to its best-aligned predictions whose cell's centre is inside it.

    How well a prediction is aligned with an object is score^α · IoU^β, with its score of the object's class; at 0 it is not
    assigned. An object may be too small to hold the centre of a cell, so the cell of the finest stride that its own centre
    is in is a candidate too. Of two objects of one prediction, the one it overlaps more keeps it, the first if equal.

    Args:
        scores: (B, P, K), 0 to 1.
        boxes: (B, P, 4) xyxy, pixels.
        grid: Of the P predictions.
        objects: M boxes, none of them ignored; M may be 0.
        score_exponent: α, not negative.
        iou_exponent: β, not negative.
        most: Most positives of an object, at least 1.

    Returns:
        In order of object, then from best to least aligned.
    """
    targets, predictions = _candidates(grid, objects).nonzero(as_tuple=True)  # (C,) each
    images = objects.images[targets]
    iou = _paired_iou(boxes[images, predictions], objects.boxes[targets])
    alignment = scores[images, predictions, objects.labels[targets]] ** score_exponent * iou**iou_exponent
    order = alignment.argsort(descending=True, stable=True)
    order = order[targets[order].argsort(stable=True)]  # by object, then by alignment
    counts = torch.bincount(targets, minlength=len(objects.boxes))
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(dim=0) - counts)[targets[order]]
    chosen = order[(rank < most) & (alignment[order] > 0)]
    places = images[chosen] * len(grid.cells) + predictions[chosen]
    chosen = chosen[_is_owner(places, iou[chosen])]
    targets, alignment, iou = targets[chosen], alignment[chosen], iou[chosen]
    quality = alignment / _largest_of_each(alignment, targets) * _largest_of_each(iou, targets)
    return AlignedPositives(images=images[chosen], predictions=predictions[chosen], targets=targets, quality=quality)


def _candidates(grid: PredictionGrid, objects: Targets) -> Tensor:
    """Return which predictions an object may have, (M, P) bool."""
    centres, boxes = cell_centres(grid), objects.boxes[:, None]
    inside = ((centres > boxes[..., :2]) & (centres < boxes[..., 2:])).all(dim=-1)
    height, width = grid.sizes_hw[0]
    middles = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2 / grid.strides[0]
    columns, rows = middles.floor().long().unbind(dim=-1)
    own = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    return inside.scatter(1, own[:, None], value=True)


def _paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of (C, 4) boxes with as many others, row by row, (C,)."""
    sides = torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])
    shared = sides.clamp(min=0).prod(dim=-1)
    union = sum((one[:, 2:] - one[:, :2]).prod(dim=-1) for one in (boxes, others)) - shared
    return shared / union


def _is_owner(places: Tensor, iou: Tensor) -> Tensor:
    """Return which of the (N,) pairs keep their prediction: of those at one place the first of largest IoU."""
    is_largest = iou == _largest_of_each(iou, places)
    order = torch.arange(len(places), 0, -1, device=places.device)  # the first has the largest number
    order = order * is_largest
    return is_largest & (order == _largest_of_each(order, places))


def _largest_of_each(values: Tensor, group: Tensor) -> Tensor:
    """Return for each of the (N,) values, none negative, the largest of its group; groups are numbers from 0."""
    size = int(group.max()) + 1 if len(group) else 0
    return values.new_zeros(size).scatter_reduce(0, group, values, "amax")[group]
