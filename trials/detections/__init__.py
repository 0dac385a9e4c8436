"""From a network's raw maps to detections: anchors, box decoding, non-maximum suppression.

Training, scoring and exported networks share them; what it takes to read a network's maps is one value, `Decoding`.
"""

from trials.detections.anchors import Anchors, choose_anchors, fit_anchors
from trials.detections.decoding import Decoding
from trials.detections.nms import Detections, DetectionSettings, select_detections

__all__ = [
    "Anchors",
    "Decoding",
    "DetectionSettings",
    "Detections",
    "choose_anchors",
    "fit_anchors",
    "select_detections",
]
