"""The annotated boxes of a batch, and the parts of a loss.

Legend: B batch, M boxes of the batch, M' most boxes of an image, P predictions of an image.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_area, box_iou

_IGNORED_SHARE = 0.5  # of a prediction's own area inside an ignored box, as in COCO's scoring at IoU 0.5


class Targets(NamedTuple):
    """The annotated boxes of a batch."""

    boxes: Tensor
    """(M, 4) float32 xyxy, pixels of the network's input; M may be 0."""
    labels: Tensor
    """(M,) int64 classes from 0."""
    images: Tensor
    """(M,) int64, index in the batch."""

    def take(self, rows: Tensor) -> "Targets":
        """Select boxes by mask or index."""
        return Targets(self.boxes[rows], self.labels[rows], self.images[rows])


class LossParts(NamedTuple):
    """The loss of a batch as weighted scalars; only `total` is for the backward pass."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


def overlapping(predicted: Tensor, objects: Targets, *, min_iou: float) -> Tensor:
    """Return which predictions overlap an object of their image.

    Args:
        predicted: (B, P, 4) xyxy.
        objects: M boxes; M may be 0.
        min_iou: 0 to 1.

    Returns:
        (B, P) bool.
    """
    iou: Tensor = box_iou(predicted, _by_image(objects, len(predicted)))  # (B, P, M')
    return (iou >= min_iou).any(dim=-1)


def inside_ignored(predicted: Tensor, ignored: Targets) -> Tensor:
    """Return which predictions lie with at least half of their area inside an ignored box of their image.

    Args:
        predicted: (B, P, 4) xyxy.
        ignored: M boxes; M may be 0.

    Returns:
        (B, P) bool.
    """
    found = predicted.new_zeros(predicted.shape[:2], dtype=torch.bool)
    for image, regions in _each_image(ignored):
        found[image] = _lie_inside(predicted[image], regions.boxes[:, None]).any(dim=0)
    return found


def inside_ignored_by_class(predicted: Tensor, ignored: Targets, *, num_classes: int) -> Tensor:
    """Return which predictions lie with at least half of their area inside an ignored box of their image, for each class.

    Args:
        predicted: (B, P, 4) xyxy.
        ignored: M boxes, each of which counts for its class; M may be 0.
        num_classes: K.

    Returns:
        (B, P, K) bool.
    """
    counts = predicted.new_zeros(len(predicted), num_classes, predicted.shape[1])
    for image, regions in _each_image(ignored):
        inside = _lie_inside(predicted[image], regions.boxes[:, None])  # (regions, P)
        counts[image].index_add_(0, regions.labels, inside.to(counts.dtype))
    return counts.transpose(1, 2) > 0


def _each_image(targets: Targets) -> Iterator[tuple[int, Targets]]:
    """Yield the boxes of each image that has some: hundreds in each of a batch would take gigabytes at once."""
    for image in torch.unique(targets.images).tolist():
        yield image, targets.take(targets.images == image)


def _lie_inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return which boxes (..., 4) lie with at least half of their area inside their region (..., 4)."""
    sides = torch.minimum(boxes[..., 2:], regions[..., 2:]) - torch.maximum(boxes[..., :2], regions[..., :2])
    overlap = sides.clamp(min=0).prod(dim=-1)
    area: Tensor = box_area(boxes)
    return overlap >= _IGNORED_SHARE * area


def _by_image(targets: Targets, num_images: int) -> Tensor:
    """Arrange boxes by image, (B, M', 4): M' is the maximum of an image, shorter rows are padded with empty boxes."""
    images, order = targets.images.sort(stable=True)
    counts = torch.bincount(images, minlength=num_images)
    place = torch.arange(len(images), device=images.device) - (counts.cumsum(dim=0) - counts)[images]
    laid = targets.boxes.new_zeros(num_images, int(counts.max()), 4)
    laid[images, place] = targets.boxes[order]
    return laid
