"""What an export's files are proven by: on the CPU, to rounding."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.trials.onnx.detector import make_decoding, make_network, write_folder
from trials.data import Sample
from trials.onnx import run
from yoloret_nas.export.precisions import PRECISIONS
from yoloret_nas.export.proof import prove


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
