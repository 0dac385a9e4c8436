"""Proves an exported file on real images: it computes what the network computes, and finds as much as the trial did."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from spaces.counted import counted
from spaces.networks import YoloReT
from trials.data import Sample
from trials.data.dataset import spread
from trials.data.images.letterbox import letterbox
from trials.detections import Decoding, Detections, DetectionSettings
from trials.onnx import run
from trials.onnx.decoded import Decoded
from trials.onnx.export import ExportError
from trials.onnx.suppressed import MAX_DETECTIONS, Suppression
from trials.scoring import score_detections
from trials.trial_result import ONNX_FILE
from yoloret_nas.export.bundle import RUN_FILE, naming_file
from yoloret_nas.options.data import ReportImages, showing_images
from yoloret_nas.terminal.console import progress_console

_Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Boxes, scores and labels, as `run.Detector.detect` returns them."""
_SAME_PX, _SAME_SCORE = 0.1, 1e-3
"""As far apart a box of two files may be, as between PyTorch and the FP32 file."""
_ROUNDING = (0.0, *(sign * size for size in (1e-6, 1e-5, 1e-4) for sign in (1, -1)))
"""Changes of a threshold that count as none. ONNX Runtime computes IoU in float32, `run.overlaps` in float64, and decide
otherwise on about one pair in a million. By small changes few other pairs change sides."""
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
    """Run an exported file on a split with the program that the export contains, on the CPU.

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
    backend = "openvino" if path.suffix == ".xml" else "onnxruntime"
    detector = run.Detector(str(path.parent), backend, path.name, providers=run.CPU)
    box_px, score = _compare(detector, network, decoding, spread(samples, _NUM_COMPARED))
    if not np.isfinite([box_px, score]).all():
        raise ExportError(f"{path.name} gives boxes or scores that are NaN or infinite on images of {split}")
    if _is_above(box_px, tolerance.box_px) or _is_above(score, tolerance.score):
        raise ExportError(
            f"{path.name} and PyTorch differ by {box_px:.2g} px and {score:.2g} of score on images of {split} "
            f"(allowed {tolerance.box_px} px and {tolerance.score})"
        )
    with showing_images(progress_console(), f"trying {path.name} on") as report:
        found = detect_all(detector, samples, report)
    scores = score_detections(found, samples, class_names=decoding.class_names)
    if expected_ap is not None and _is_above(abs(scores.ap - expected_ap), tolerance.ap):
        raise ExportError(
            f"{path.name} has AP {scores.ap:.4f} on {counted(len(samples), 'image(s)')} of {split}, the trial "
            f"had {expected_ap:.4f} (allowed difference {tolerance.ap})",
            hint="has the dataset changed since? --data names another, on which it is scored and not compared; --no-check "
            "compares nothing",
        )
    return Proof(
        split=split,
        num_images=len(samples),
        ap=scores.ap,
        ap50=scores.ap50,
        box_difference_px=box_px,
        score_difference=score,
    )


def detect_all(detector: run.Detector, samples: Sequence[Sample], report: ReportImages) -> list[Detections]:
    """Run a detector on images as they are scored, in pixels of each image; report how many are done, and of how many."""
    settings = DetectionSettings()
    found = []
    for done, sample in enumerate(samples):
        report(done, len(samples))
        image = sample.load()
        with naming_file(detector.path):
            kept = detector.detect(
                image, settings.score_threshold, settings.nms_iou, settings.max_detections, settings.max_candidates
            )
        found.append(Detections(**dict(zip(("boxes", "scores", "labels"), map(torch.from_numpy, kept), strict=True))))
    return found


def prove_suppression(path: Path, suppression: Suppression, samples: Sequence[Sample], *, split: str) -> None:
    """Compare a file with non-maximum suppression with the suppression of the program that the export contains.

    They may differ as far as the program itself does by thresholds that differ by rounding.

    Args:
        path: The file, in its export.
        suppression: Its thresholds.
        samples: Images of the split.
        split: The split's name.

    Raises:
        ExportError: on an image one of them finds a box that the other does not.
    """
    ours, theirs = (
        run.Detector(str(path.parent), "onnxruntime", name, providers=run.CPU) for name in (ONNX_FILE, path.name)
    )
    score, iou = suppression.score_threshold, suppression.iou_threshold
    with showing_images(progress_console(), f"trying {path.name} on") as report:
        for number, sample in enumerate(samples):
            report(number, len(samples))
            image = sample.load()
            found = theirs.detect(image, 0.0, iou, MAX_DETECTIONS)
            expected = (
                ours.detect(image, score + more, iou + larger, MAX_DETECTIONS, max_candidates=sys.maxsize)
                for larger, more in product(_ROUNDING, repeat=2)
            )
            if not any(_are_same(one, found) for one in expected):
                raise ExportError(
                    f"{path.name} finds {counted(len(found[0]), 'box(es)')} on image {number} of {split}, {RUN_FILE} other "
                    "ones by the same thresholds"
                )


def _are_same(first: _Found, second: _Found) -> bool:
    """Return whether two detectors found the same boxes with the same scores and labels, in any order."""
    if len(first[0]) != len(second[0]):
        return False
    if len(first[0]) == 0:
        return True
    (a, a_scores, a_labels), (b, b_scores, b_labels) = first, second
    apart = np.abs(a[:, None] - b[None]).max(axis=2) > _SAME_PX  # (N, N)
    apart |= np.abs(a_scores[:, None] - b_scores[None]) > _SAME_SCORE
    apart |= a_labels[:, None] != b_labels[None]
    return bool((~apart).any(axis=0).all() and (~apart).any(axis=1).all())


def _is_above(difference: float, allowed: float | None) -> bool:
    return allowed is not None and not difference <= allowed  # NaN is above too


def _compare(
    detector: run.Detector, network: YoloReT, decoding: Decoding, samples: Sequence[Sample]
) -> tuple[float, float]:
    """Return the largest differences of visible boxes and of scores between PyTorch and the exported file."""
    decoded = Decoded(network, decoding).eval()
    box_px, score = 0.0, 0.0
    for sample in samples:
        boxed, _ = letterbox(sample.load(), decoding.input_hw)
        images = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], dtype=np.float32)
        with torch.no_grad():
            boxes, scores = (values.numpy() for values in decoded(torch.from_numpy(images)))
        their_boxes, their_scores = detector.network(images)
        is_seen = scores.max(axis=2) > _SEEN
        box_px = float(np.max([box_px, np.abs(boxes - their_boxes)[is_seen].max(initial=0.0)]))  # NaN stays NaN
        score = float(np.max([score, np.abs(scores - their_scores).max()]))
    return box_px, score
