"""The detection loss of heads without anchors: scores that predict the box's quality, boxes by CIoU and distributions.

Legend: B batch, P predictions of an image, K classes, N bins of a distance, F positives.

Source: Feng et al., TOOD, sections 3.2 and 3.3 (scores and weights by alignment); Li et al., Generalized Focal Loss, section
3.2 (distributions); the weights of the terms are YOLOv8's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import complete_box_iou_loss

from trials.detections.anchors import cell_anchors
from trials.detections.decoding import (
    PredictionGrid,
    anchors_tensor,
    build_grid,
    cell_centres,
    decode_boxes,
    flatten_maps,
    side_logits,
    take_rows,
)
from trials.training.losses.aligned_assignment import assign_aligned
from trials.training.losses.targets import LossParts, Targets, inside_ignored_by_class

_LAST_BIN_MARGIN = 0.01  # a distance beyond the last bin is clamped to just below it, so that its two bins exist


@dataclass(frozen=True, kw_only=True)
class AlignedLossSettings:
    """The terms of the loss and their weights."""

    score_exponent: float = 1.0
    """Exponent α of the assignment's alignment, score^α · IoU^β; not negative."""
    iou_exponent: float = 2.0
    """Its exponent β, not negative."""
    most_positives: int = 10
    """Most positives of an object, at least 1."""
    box_weight: float = 7.5
    """Factor of the box term, not negative."""
    distance_weight: float = 1.5
    """Factor of the term of the distances' distributions, not negative."""
    class_weight: float = 1.0
    """Factor of the class term, not negative; YOLOv8's is half of it."""

    def __post_init__(self) -> None:
        if min(self.box_weight, self.distance_weight, self.class_weight) < 0:
            raise ValueError("a weight of the loss is negative; weights start at 0")
        if min(self.score_exponent, self.iou_exponent) < 0:
            raise ValueError("an exponent of the assignment is negative; exponents start at 0")
        if self.most_positives < 1:
            raise ValueError(f"most_positives is {self.most_positives}; an object needs at least 1")


class AlignedLoss(nn.Module):
    """The loss of raw maps against boxes.

    All terms are divided by the sum of the positives' qualities in the batch (at least 1) and multiplied by its images.

    A box always holds the centre of its cell. An object so small that it holds none is therefore met with an IoU of at most
    0.55 at 3 px and 0.69 at 5 px (one measured each, in the middle between centres).

    Args:
        strides: Output strides in pixels, fine to coarse.
        num_classes: K.
        settings: Terms and weights.
    """

    def __init__(self, strides: Sequence[int], *, num_classes: int, settings: AlignedLossSettings) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.settings = settings
        self.cells: Tensor
        self.register_buffer("cells", anchors_tensor(cell_anchors(strides)), persistent=False)

    def forward(self, raw_maps: Sequence[Tensor], objects: Targets, ignored: Targets) -> LossParts:
        """Compute the loss.

        Args:
            raw_maps: One (B, 4·N + K, H, W) of logits for each stride, any float type.
            objects: The objects to detect; there may be none.
            ignored: Boxes that are neither object nor background of their class, usually none.

        Returns:
            Finite for finite maps, with a gradient for every map even without boxes.
        """
        logits = flatten_maps(raw_maps, num_anchors=1)  # (B, P, 4·N + K)
        grid = build_grid(self.cells, self.strides, sizes_hw=tuple((one.shape[2], one.shape[3]) for one in raw_maps))
        box_logits, class_logits = logits[..., : -self.num_classes], logits[..., -self.num_classes :]
        boxes = decode_boxes(box_logits, grid, coding="distances")  # (B, P, 4)
        positives = assign_aligned(
            class_logits.sigmoid(),
            boxes,
            grid,
            objects,
            score_exponent=self.settings.score_exponent,
            iou_exponent=self.settings.iou_exponent,
            most=self.settings.most_positives,
        )
        chosen = positives.images, positives.predictions
        wanted, quality = objects.take(positives.targets), positives.quality
        goal = torch.zeros_like(class_logits)
        goal[(*chosen, wanted.labels)] = quality
        is_counted = ~inside_ignored_by_class(boxes.detach(), ignored, num_classes=self.num_classes)  # (B, P, K)
        is_counted[(*chosen, wanted.labels)] = True
        classes = F.binary_cross_entropy_with_logits(class_logits, goal, reduction="none") * is_counted
        distances = _distance_loss(box_logits[chosen], wanted.boxes, take_rows(grid, positives.predictions))
        overlap = complete_box_iou_loss(boxes[chosen], wanted.boxes)
        return self._sum_up(overlap * quality, distances * quality, classes=classes, quality=quality)

    def _sum_up(self, overlap: Tensor, distances: Tensor, *, classes: Tensor, quality: Tensor) -> LossParts:
        """Weight and add the terms: overlap and distances (F,), classes (B, P, K)."""
        scale = len(classes) / quality.sum().clamp(min=1.0)
        box = (self.settings.box_weight * overlap.sum() + self.settings.distance_weight * distances.sum()) * scale
        scores = classes.sum() * (self.settings.class_weight * scale)
        return LossParts(box + scores, box=box, objectness=torch.zeros_like(box), classes=scores)


def _distance_loss(logits: Tensor, boxes: Tensor, cells: PredictionGrid) -> Tensor:
    """Return the cross-entropy of the two bins around each side's distance, its mean over the sides, (F,).

    Args:
        logits: (F, 4·N).
        boxes: (F, 4) xyxy of the objects.
        cells: The positives' F rows of the grid.
    """
    logits = side_logits(logits)  # (F, 4, N)
    centres = cell_centres(cells)
    sides = torch.cat((centres - boxes[:, :2], boxes[:, 2:] - centres), dim=-1) / cells.strides  # (F, 4)
    sides = sides.clamp(0, logits.shape[-1] - 1 - _LAST_BIN_MARGIN)
    lower = sides.long()
    share = sides - lower  # of the upper bin
    losses = -logits.log_softmax(dim=-1)
    at_lower = losses.gather(-1, lower[..., None])[..., 0]
    at_upper = losses.gather(-1, lower[..., None] + 1)[..., 0]
    return (at_lower * (1 - share) + at_upper * share).mean(dim=-1)
