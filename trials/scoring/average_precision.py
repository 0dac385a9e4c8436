"""Average precision as COCO defines it.

Legend: N boxes of one image, T IoU thresholds, R recall thresholds, K classes in use.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trials.data import Sample
from trials.detections import Detections

# torchmetrics' own are float32, where 0.1 is above 0.1: a recall equal to a threshold would miss it
_IOU_THRESHOLDS: list[float] = np.linspace(0.5, 0.95, 10).tolist()
_RECALL_THRESHOLDS: list[float] = np.linspace(0, 1, 101).tolist()

_AREAS = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, inf)}
"""COCO's sizes of objects: the least and the most area of their boxes, which both belong to it, in square pixels."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of detections on a split."""

    ap: float
    """AP@[.5:.95], the mean over IoU 0.5 to 0.95 by 0.05 and over classes, 0 to 1; NaN without objects."""
    ap50: float
    """AP at IoU 0.5, likewise."""
    per_class_ap: Mapping[str, float]
    """Class name to AP@[.5:.95]; without classes that have no objects."""
    per_size_ap: Mapping[str, float] = field(default_factory=dict)
    """``small``, ``medium`` and ``large`` to AP@[.5:.95]; without sizes of which there are no objects.

    The limits are COCO's: boxes of 32² and of 96² pixels of the original image, whatever the size of the network's input.
    """


def score_detections(found: Sequence[Detections], samples: Sequence[Sample], *, class_names: Sequence[str]) -> Scores:
    """Score detections against annotations; the result equals pycocotools'.

    Ignored objects count as COCO's crowd: they need not be found, and a detection with most of its area inside one is not a
    false positive. At most 100 detections of an image are used.

    Args:
        found: The detections in each sample, in original pixels.
        samples: The annotated images.
        class_names: Class names, by label.

    Returns:
        AP 0 where there are objects but no detections.
    """
    to_find = sorted({int(label) for sample in samples for label in sample.labels[~sample.ignored]})
    if not to_find:
        return Scores(ap=nan, ap50=nan, per_class_ap={})
    if not any(len(one.labels) for one in found):
        return Scores(
            ap=0.0,
            ap50=0.0,
            per_class_ap={class_names[label]: 0.0 for label in to_find},
            per_size_ap=dict.fromkeys(_sizes_of(samples), 0.0),
        )
    result = _compare(found, samples)
    precision = result["precision"][..., 0, -1]  # (T, R, K), all sizes, 100 detections
    by_label = dict(zip(result["classes"].reshape(-1).tolist(), precision.mean(dim=(0, 1)).tolist(), strict=True))
    return Scores(
        ap=float(result["map"]),
        ap50=float(result["map_50"]),
        per_class_ap={class_names[label]: by_label[label] for label in to_find},
        per_size_ap={size: ap for size in _AREAS if (ap := float(result[f"map_{size}"])) >= 0},
    )


def _sizes_of(samples: Sequence[Sample]) -> list[str]:
    """Return the sizes of which there are objects to find, small first."""
    boxes = np.concatenate([sample.boxes[~sample.ignored] for sample in samples])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return [size for size, (least, most) in _AREAS.items() if ((least <= areas) & (areas <= most)).any()]


def _compare(found: Sequence[Detections], samples: Sequence[Sample]) -> dict[str, Tensor]:
    # imported here, since it takes 4 s and prediction does not need it
    from torchmetrics.detection import MeanAveragePrecision

    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)  # it logs a table at each call
    # extended_summary holds the precision by class; class_metrics would evaluate again for each class
    metric = MeanAveragePrecision(
        iou_thresholds=_IOU_THRESHOLDS,
        rec_thresholds=_RECALL_THRESHOLDS,
        extended_summary=True,
        backend="faster_coco_eval",
    )
    metric.warn_on_many_detections = False
    metric.update(
        [{"boxes": one.boxes.cpu(), "scores": one.scores.cpu(), "labels": one.labels.cpu()} for one in found],
        [
            {
                "boxes": torch.from_numpy(one.boxes),
                "labels": torch.from_numpy(one.labels),
                "iscrowd": torch.from_numpy(one.ignored).long(),
            }
            for one in samples
        ],
    )
    result: dict[str, Any] = metric.compute()
    return result
