"""Detections from decoded predictions: score threshold, then non-maximum suppression (NMS) per class.

Legend: B batch, P predictions of an image, K classes, N detections of one image.
"""

from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import batched_nms

from trials.data.images.letterbox import Letterbox, unletterbox_boxes
from trials.detections.decoding import Predictions


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """Which predictions of an image are kept; the defaults suit scoring, a threshold near 0.25 suits users."""

    score_threshold: float = 0.001
    """Predictions with a score above this are kept; 0 to 1."""
    nms_iou: float = 0.6
    """A box is dropped if its IoU with a better one of its class is above this; above 0 and at most 1."""
    max_detections: int = 100
    """Most detections of an image, of all classes together, at least 1. COCO's scoring uses 100 of each class."""
    max_candidates: int = 1000
    """Most pairs of prediction and class that enter NMS, at least 1. It bounds the time."""

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold {self.score_threshold} is not from 0 to 1")
        if not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou {self.nms_iou} is not above 0 and at most 1")
        if self.max_detections < 1 or self.max_candidates < 1:
            raise ValueError("max_detections and max_candidates are at least 1")


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The detections in one image, best first."""

    boxes: Tensor
    """(N, 4) float32 xyxy in pixels; N may be 0."""
    scores: Tensor
    """(N,) float32, 0 to 1, descending."""
    labels: Tensor
    """(N,) int64 classes from 0."""


def select_detections(predictions: Predictions, settings: DetectionSettings) -> list[Detections]:
    """Select each image's detections; one box may be kept for several classes.

    Args:
        predictions: Of B images.
        settings: Which are kept.

    Returns:
        The detections of each image, in pixels of the network's input.
    """
    num_classes = predictions.scores.shape[-1]
    scores = predictions.scores.flatten(1)  # (B, P·K)
    best, places = scores.topk(min(settings.max_candidates, scores.shape[1]), dim=1)
    counts = (best > settings.score_threshold).sum(dim=1).tolist()  # best are sorted, so the first ones pass
    found = []
    for boxes, image_scores, image_places, count in zip(predictions.boxes, best, places, counts, strict=True):
        rows, labels = image_places[:count] // num_classes, image_places[:count] % num_classes
        candidates = boxes[rows]  # (count, 4)
        # in float64: batched_nms moves each class by the largest coordinate, which beside one box of 150 000 px would round
        # the others' float32 coordinates to whole pixels
        order = batched_nms(candidates.double(), image_scores[:count].double(), labels, settings.nms_iou)
        kept = order[: settings.max_detections]
        found.append(Detections(boxes=candidates[kept], scores=image_scores[kept], labels=labels[kept]))
    return found


def unletterbox_detections(detections: Detections, place: Letterbox, *, size_hw: tuple[int, int]) -> Detections:
    """Map detections back to the original image.

    Args:
        detections: In pixels of the letterboxed image.
        place: Position of the original in it.
        size_hw: Height and width of the original in pixels; boxes are clipped to it.
    """
    boxes = unletterbox_boxes(detections.boxes, place, size_hw=size_hw)
    return Detections(boxes=boxes, scores=detections.scores, labels=detections.labels)
