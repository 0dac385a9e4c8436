"""Proves an exported file on real images: it computes what the network computes, and finds as much as the trial did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spaces.networks import YoloReT
from trials.data import Sample
from trials.data.letterbox import letterbox
from trials.detections import Decoding, Detections, DetectionSettings
from trials.onnx import run
from trials.onnx.decoded import Decoded
from trials.onnx.export import ExportError
from trials.scoring import score_detections

_NUM_COMPARED = 8
_SEEN = 0.01
"""Boxes of smaller scores are not compared: nobody sees them."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a file may differ; None where any difference is only stated."""

    box_px: float | None
    """A corner of a box, pixels of the network's input."""
    score: float | None
    """A score, 0 to 1."""
    ap: float | None
    """AP@[.5:.95], from the trial's."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was compared, and how well it agreed."""

    split: str
    """The split of the dataset."""
    num_images: int
    """Images scored."""
    ap: float
    """AP@[.5:.95] of the exported file by the runner's own code, 0 to 1."""
    ap50: float
    """AP at IoU 0.5, likewise."""
    box_difference_px: float
    """Largest difference of a box's corner between PyTorch and ONNX Runtime, pixels of the network's input."""
    score_difference: float
    """Largest difference of a score."""


def prove(
    path: Path,
    network: YoloReT,
    decoding: Decoding,
    samples: Sequence[Sample],
    *,
    tolerance: Tolerance,
    split: str,
    expected_ap: float | None,
) -> Proof:
    """Run an exported file on a split with the program that the export contains.

    Args:
        path: The file, in its export.
        network: The network it was written from, with its weights in float32, on the CPU.
        decoding: How the network's maps are decoded.
        samples: The split's images.
        tolerance: How far it may differ.
        split: The split's name.
        expected_ap: The trial's AP on them; None where these are other images.

    Raises:
        ExportError: boxes or scores differ from the network's, or AP from the trial's.
    """
    detector = run.Detector(str(path.parent), "onnxruntime", path.name)
    box_px, score = _compare(detector, network, decoding, samples[:_NUM_COMPARED])
    if not np.isfinite([box_px, score]).all():
        raise ExportError(f"{path.name} gives boxes or scores that are NaN or infinite on images of {split}")
    if _is_above(box_px, tolerance.box_px) or _is_above(score, tolerance.score):
        raise ExportError(
            f"{path.name} and PyTorch differ by {box_px:.2g} px and {score:.2g} of score on images of {split} "
            f"(allowed {tolerance.box_px} px and {tolerance.score})"
        )
    settings = DetectionSettings()
    found = []
    for sample in samples:
        kept = detector.detect(
            sample.load(), settings.score_threshold, settings.nms_iou, settings.max_detections, settings.max_candidates
        )
        found.append(Detections(**dict(zip(("boxes", "scores", "labels"), map(torch.from_numpy, kept), strict=True))))
    scores = score_detections(found, samples, class_names=decoding.class_names)
    if expected_ap is not None and _is_above(abs(scores.ap - expected_ap), tolerance.ap):
        raise ExportError(
            f"{path.name} has AP {scores.ap:.4f} on {len(samples)} images of {split}, the trial had {expected_ap:.4f} "
            f"(allowed difference {tolerance.ap})",
            hint="has the dataset changed since? --data names another, on which it is scored and not compared",
        )
    return Proof(
        split=split,
        num_images=len(samples),
        ap=scores.ap,
        ap50=scores.ap50,
        box_difference_px=box_px,
        score_difference=score,
    )


def _is_above(difference: float, allowed: float | None) -> bool:
    return allowed is not None and not difference <= allowed  # NaN is above too


def _compare(
    detector: run.Detector, network: YoloReT, decoding: Decoding, samples: Sequence[Sample]
) -> tuple[float, float]:
    """Return the largest differences of visible boxes and of scores between PyTorch and the exported file."""
    decoded = Decoded(network, decoding).eval()
    box_px, score = 0.0, 0.0
    for sample in samples:
        square, _ = letterbox(sample.load(), decoding.input_size)
        images = np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32)
        with torch.no_grad():
            boxes, scores = (values.numpy() for values in decoded(torch.from_numpy(images)))
        their_boxes, their_scores = detector.network(images)
        is_seen = scores.max(axis=2) > _SEEN
        box_px = float(np.max([box_px, np.abs(boxes - their_boxes)[is_seen].max(initial=0.0)]))  # NaN stays NaN
        score = float(np.max([score, np.abs(scores - their_scores).max()]))
    return box_px, score
