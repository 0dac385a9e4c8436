"""What an export's files are proven by: on the CPU, to rounding."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.trials.onnx.detector import make_decoding, make_network, write_folder
from trials.data import Sample
from trials.onnx import run
from trials.onnx.export import ExportError
from trials.onnx.suppressed import Suppression
from yoloret_nas.export import proof
from yoloret_nas.export.precisions import PRECISIONS
from yoloret_nas.export.proof import prove, prove_suppression


def _samples(count: int) -> list[Sample]:
    box, one = np.array([[8, 8, 40, 40]], np.float32), np.zeros(1, np.int64)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return [
        Sample(name=str(n), size_hw=(64, 64), boxes=box, labels=one, ignored=np.zeros(1, np.bool_), load=lambda: image)
        for n in range(count)
    ]


def test_a_proof_runs_on_the_cpu_whatever_onnx_runtime_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU it rounds to TF32, which no exact file would pass."""
    write_folder(tmp_path)
    asked: list[list[str]] = []
    session = onnxruntime.InferenceSession

    def open_session(path: str, providers: list[str]) -> Any:
        asked.append(providers)
        return session(path, providers=["CPUExecutionProvider"])

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    tolerance, samples = PRECISIONS["fp32"].tolerance, _samples(2)
    prove(
        tmp_path / "model.onnx",
        make_network(),
        make_decoding(),
        samples,
        tolerance=tolerance,
        split="val",
        expected_ap=None,
    )
    assert asked == [["CPUExecutionProvider"]]
    run.Detector(str(tmp_path))
    assert asked[1] == both


@pytest.mark.parametrize(
    ("iou", "score", "theirs", "is_taken"),
    [
        (0.500005, 0.3, (0.25, 0.50001), True),
        (0.499995, 0.3, (0.25, 0.49999), True),
        (0.5005, 0.3, (0.25, 0.501), False),
        (0.6, 0.250005, (0.25001, 0.5), True),
        (0.6, 0.2505, (0.251, 0.5), False),
    ],
)
def test_suppression_may_differ_by_rounding_at_a_threshold(
    monkeypatch: pytest.MonkeyPatch, iou: float, score: float, theirs: tuple[float, float], is_taken: bool
) -> None:
    """Of three boxes in a row the second is dropped, or kept, and then it drops the third."""
    shift = 100 * (1 - iou) / (1 + iou)  # of two boxes 100 px wide that overlap by this IoU
    boxes = np.array([[left, 0, left + 100, 100] for left in (0, shift, shift + 10)])
    scores = np.array([[0.9], [0.8], [score]])

    class Detector:
        def __init__(self, folder: str, backend: str, file: str, *, providers: object) -> None:
            self.is_theirs = file == "model-nms.onnx"

        def detect(self, image: object, score: float, iou: float, most: int, max_candidates: int = 1000) -> Any:
            return run.select(boxes, scores, *(theirs if self.is_theirs else (score, iou)), most, max_candidates)

    monkeypatch.setattr(proof.run, "Detector", Detector)
    if is_taken:
        prove_suppression(Path("model-nms.onnx"), Suppression(), _samples(1), split="val")
    else:
        with pytest.raises(ExportError, match=r"model-nms\.onnx finds \d box\w* on image 0 of val, run\.py other ones"):
            prove_suppression(Path("model-nms.onnx"), Suppression(), _samples(1), split="val")
