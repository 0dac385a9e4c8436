"""Average precision of detections, as COCO defines it.

`score_detections` is the pure function, `DetectionScorer` collects batches for it, `score_network` scores a whole network.
"""

from trials.scoring.average_precision import Scores, score_detections
from trials.scoring.class_labels import label_as_network
from trials.scoring.detection_scorer import DetectionScorer, score_network
from trials.scoring.without_tf32 import without_tf32

__all__ = ["DetectionScorer", "Scores", "label_as_network", "score_detections", "score_network", "without_tf32"]
