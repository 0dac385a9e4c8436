"""The detection loss: boxes by an IoU loss, objectness and classes by binary cross-entropy.

Legend: B batch, S output strides, A anchors a cell, K classes, P predictions of an image, M boxes of the
batch, N positives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou, complete_box_iou_loss, generalized_box_iou_loss

from trials.detections import Anchors
from trials.detections.decoding import PredictionGrid, anchors_tensor, build_grid, decode_boxes, flatten_maps, take_rows
from trials.training.losses.anchor_assignment import ASSIGNMENTS, Assignment, Positives
from trials.training.losses.targets import LossParts, Targets, inside_ignored, overlapping

BoxLoss = Literal["giou", "ciou"]
"""The box term, 1 − GIoU or 1 − CIoU."""

ObjectnessTarget = Literal["one", "iou"]
"""The objectness target of a positive: 1, or its box's present IoU with the object (without a gradient)."""

Reduction = Literal["images", "positives"]
"""How the terms are reduced.

Each term is summed over its predictions (and the classes), then divided by a count: ``images`` is the images of the batch,
as in the paper; ``positives`` is its positives, so that the terms do not depend on input size and number of objects.
"""


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The terms of the loss and their weights."""

    assignment: Assignment = "neighbours"
    """The assignment of objects to predictions; it decides the box coding too."""
    box_loss: BoxLoss = "ciou"
    """The box term."""
    objectness_target: ObjectnessTarget = "iou"
    """The target of positives' objectness."""
    ignore_iou: float = 1.0
    """Other predictions with at least this IoU to an object do not count as background; above 0, 1 for none."""
    reduction: Reduction = "images"
    """By which count the terms are divided."""
    box_weight: float = 1.0
    """Factor of the box term, not negative."""
    objectness_weight: float = 1.0
    """Factor of the objectness term, not negative."""
    class_weight: float = 1.0
    """Factor of the class term, not negative."""

    def __post_init__(self) -> None:
        check_choice("assignment", self.assignment, get_args(Assignment))
        check_choice("box_loss", self.box_loss, get_args(BoxLoss))
        check_choice("objectness_target", self.objectness_target, get_args(ObjectnessTarget))
        check_choice("reduction", self.reduction, get_args(Reduction))
        if not 0 < self.ignore_iou <= 1:
            raise ValueError(f"ignore_iou {self.ignore_iou} is not above 0 and at most 1")
        if min(self.box_weight, self.objectness_weight, self.class_weight) < 0:
            raise ValueError("a weight of the loss is negative; weights start at 0")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError if the value of a setting is not one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(allowed)}")


def paper_loss() -> LossSettings:
    """Return the loss of the paper's code, with one difference.

    There a prediction does not count as background if it overlaps any object of the batch at its stride; here, as in YOLOv3,
    if it overlaps any object of its own image.

    Source: the authors' ``yolo3/model.py`` (YoloLoss).
    """
    return LossSettings(assignment="single", box_loss="giou", objectness_target="one", ignore_iou=0.5)


def modern_loss() -> LossSettings:
    """Return our loss: several anchors and cells for each object, CIoU, and objectness that predicts the IoU.

    Terms are divided by images: sums over dozens of positives, whose gradient the recipe clips. Divided by positives, as in
    YOLOX, 20 epochs on 205 images reached AP 0.265 instead of 0.346
    (`benchmarks/recipe_ablation.py`).

    Source: YOLOv5, ``utils/loss.py``, for assignment, coding and targets.
    """
    return LossSettings()


class DetectionLoss(nn.Module):
    """The loss of raw maps against boxes.

    Args:
        anchors: For each output stride, pixels.
        strides: Output strides in pixels, fine to coarse.
        settings: Terms and weights.
    """

    def __init__(self, anchors: Anchors, strides: Sequence[int], settings: LossSettings) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.settings = settings
        self.anchors: Tensor
        self.register_buffer("anchors", anchors_tensor(anchors), persistent=False)

    def forward(self, raw_maps: Sequence[Tensor], objects: Targets, ignored: Targets) -> LossParts:
        """Compute the loss.

        Args:
            raw_maps: One (B, A·(5 + K), H, W) of logits for each stride, any float type.
            objects: The objects to detect; M may be 0.
            ignored: Boxes that are neither object nor background, usually none.

        Returns:
            Finite for finite maps, with a gradient for every map even without boxes.
        """
        logits = flatten_maps(raw_maps, num_anchors=self.anchors.shape[1])  # (B, P, 5 + K)
        grid = build_grid(self.anchors, self.strides, sizes_hw=tuple((one.shape[2], one.shape[3]) for one in raw_maps))
        rule = ASSIGNMENTS[self.settings.assignment]
        positives = rule.assign(objects, self.anchors, grid)
        chosen = logits[positives.images, positives.predictions]  # (N, 5 + K)
        predicted = decode_boxes(chosen[:, :4], take_rows(grid, positives.predictions), coding=rule.coding)
        wanted = objects.take(positives.targets)
        with torch.no_grad():
            iou = box_iou(predicted[:, None], wanted.boxes[:, None])[:, 0, 0]  # (N,), row by row
            target = self._objectness_target(logits.shape[:2], positives, iou=iou)
            is_counted = (target > 0) | ~self._forgiven(logits, grid, objects, ignored)
        classes = F.one_hot(wanted.labels, logits.shape[-1] - 5).float()
        return self._sum_up(
            box=_BOX_LOSSES[self.settings.box_loss](predicted, wanted.boxes),
            objectness=F.binary_cross_entropy_with_logits(logits[..., 4], target, reduction="none") * is_counted,
            classes=F.binary_cross_entropy_with_logits(chosen[:, 5:], classes, reduction="none"),
        )

    def _objectness_target(self, shape: Sequence[int], positives: Positives, *, iou: Tensor) -> Tensor:
        """Return every prediction's objectness target, (B, P): 0 for background."""
        # above 0 for every positive, which distinguishes it from background
        value = torch.ones_like(iou) if self.settings.objectness_target == "one" else iou.clamp(min=1e-6)
        target = value.new_zeros(int(shape[0] * shape[1]))
        flat = positives.images * shape[1] + positives.predictions
        return target.scatter_reduce(0, flat, value, "amax").view(shape[0], shape[1])

    def _forgiven(self, logits: Tensor, grid: PredictionGrid, objects: Targets, ignored: Targets) -> Tensor:
        """Return which predictions, unless positive, are excluded from the objectness term, (B, P) bool."""
        needs_objects = self.settings.ignore_iou < 1 and len(objects.boxes) > 0
        forgiven = torch.zeros_like(logits[..., 4], dtype=torch.bool)
        if not needs_objects and len(ignored.boxes) == 0:
            return forgiven  # avoids decoding all predictions
        predicted = decode_boxes(logits[..., :4], grid, coding=ASSIGNMENTS[self.settings.assignment].coding)
        if needs_objects:
            forgiven |= overlapping(predicted, objects, min_iou=self.settings.ignore_iou)
        if len(ignored.boxes) > 0:
            forgiven |= inside_ignored(predicted, ignored)
        return forgiven

    def _sum_up(self, box: Tensor, objectness: Tensor, *, classes: Tensor) -> LossParts:
        """Weight and add the terms: box (N,), objectness (B, P), classes (N, K)."""
        settings = self.settings
        # a batch without positives is divided by its images
        count = len(objectness) if settings.reduction == "images" or len(box) == 0 else len(box)
        parts = (
            box.sum() * (settings.box_weight / count),
            objectness.sum() * (settings.objectness_weight / count),
            classes.sum() * (settings.class_weight / count),
        )
        return LossParts(parts[0] + parts[1] + parts[2], *parts)


_BOX_LOSSES: dict[BoxLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "giou": generalized_box_iou_loss,
    "ciou": complete_box_iou_loss,
}
