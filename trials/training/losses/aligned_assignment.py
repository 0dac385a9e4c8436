"""Task-aligned assignment: an object's positives are the predictions that know both its class and its box best.

Legend: B batch, M most objects of an image, P predictions of an image, K classes.

Source: Feng et al., TOOD: Task-aligned One-stage Object Detection, section 3.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from trials.detections.decoding import PredictionGrid, cell_centres
from trials.training.losses.targets import PaddedTargets


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """What each prediction of a batch is trained on."""

    is_positive: Tensor
    """(B, P) bool."""
    objects: Tensor
    """(B, P) int64, 0 to M − 1: the object of a positive, any number elsewhere."""
    quality: Tensor
    """(B, P) float32, 0 to 1: the score that a positive is to predict. An object's best one has its IoU, the others less
    by how much less they are aligned."""


@torch.no_grad()
def assign_aligned(
    scores: Tensor,
    boxes: Tensor,
    grid: PredictionGrid,
    wanted: PaddedTargets,
    *,
    score_exponent: float,
    iou_exponent: float,
    most: int,
) -> Aligned:
    """Assign each object to its best-aligned predictions whose cell's centre is inside it.

    How well a prediction is aligned with an object is score^α · IoU^β, with its score of the object's class. An object that
    holds no centre, since it is smaller than a cell, has that of the nearest cell of the finest stride; one whose
    candidates all have an alignment of 0 keeps that cell too. Of two objects of one prediction, the one it overlaps more
    keeps it.

    Args:
        scores: (B, P, K), 0 to 1.
        boxes: (B, P, 4) xyxy, pixels.
        grid: Of the P predictions.
        wanted: The objects; there may be none.
        score_exponent: α, not negative.
        iou_exponent: β, not negative.
        most: Most positives of an object, at least 1.
    """
    num_objects = wanted.boxes.shape[1]
    if num_objects == 0:
        empty = torch.zeros(boxes.shape[:2], device=boxes.device)
        return Aligned(is_positive=empty.bool(), objects=empty.long(), quality=empty)
    centres = cell_centres(grid)
    nearest = _nearest_cells(grid, wanted)  # (B, M, P) bool, one for each object
    iou: Tensor = box_iou(wanted.boxes, boxes)  # (B, M, P)
    of_class = scores.gather(2, wanted.labels[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2)  # (B, M, P)
    alignment = of_class**score_exponent * iou**iou_exponent
    alignment = alignment * (_inside(centres, wanted) | nearest) * wanted.is_box[..., None]
    best, places = alignment.topk(min(most, alignment.shape[-1]), dim=-1)
    chosen = torch.zeros_like(nearest).scatter(2, places, best > 0)
    chosen |= nearest & ~chosen.any(dim=-1, keepdim=True) & wanted.is_box[..., None]
    owner = iou.masked_fill(~chosen, -1).argmax(dim=1)  # (B, P)
    chosen &= torch.zeros_like(chosen).scatter(1, owner[:, None], value=True)
    # An object's best alignment becomes its best IoU.
    alignment, iou = alignment * chosen, iou * chosen
    quality = alignment * (iou.amax(dim=-1, keepdim=True) / alignment.amax(dim=-1, keepdim=True).clamp(min=1e-9))
    return Aligned(is_positive=chosen.any(dim=1), objects=owner, quality=quality.amax(dim=1))


def _inside(centres: Tensor, wanted: PaddedTargets) -> Tensor:
    """Return which cells' centres are inside which object, (B, M, P) bool."""
    upper_left, lower_right = wanted.boxes[:, :, None, :2], wanted.boxes[:, :, None, 2:]
    return ((centres > upper_left) & (centres < lower_right)).all(dim=-1)


def _nearest_cells(grid: PredictionGrid, wanted: PaddedTargets) -> Tensor:
    """Return the cell of the finest stride whose centre is nearest to each object's, (B, M, P) bool."""
    height, width = grid.sizes_hw[0]
    middles = (wanted.boxes[..., :2] + wanted.boxes[..., 2:]) / 2
    distances = (cell_centres(grid)[: height * width] - middles[:, :, None]).norm(dim=-1)  # (B, M, H·W)
    none = torch.zeros(*middles.shape[:2], len(grid.cells), dtype=torch.bool, device=middles.device)
    return none.scatter(2, distances.argmin(dim=-1, keepdim=True), value=True)
