"""Engines are compared with ONNX Runtime by the program of the export; the device that runs it is scripted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trials.latency.locked import is_measuring
from tests.trials.onnx.detector import write_folder
from trials.data import open_dataset
from trials.latency import DeviceError, DeviceIdentity
from trials.onnx import run
from trials.onnx.export import ExportError
from trials.onnx.suppressed import Suppression
from yoloret_nas.export import engine_proof
from yoloret_nas.export.engine_proof import EngineProof, prove_engines

LOOSE = Suppression(score_threshold=0.1)


class ScriptedBuilder:
    """A device that runs an export's program in ONNX Runtime, and changes what it finds."""

    name, opset, converts_to_fp16 = "ssh://board", 13, True

    kind = "ssh"

    def __init__(self, change: Callable[[list[dict[str, Any]]], object]) -> None:
        self.change, self.files = change, set[str]()

    def identity(self) -> DeviceIdentity:
        return DeviceIdentity(kind=self.kind, board="b", backend="TensorRT", precision="fp16")

    def measure(self, onnx_path: Path) -> Any: ...
    def build_engine(self, onnx_path: Path, target: Path) -> None: ...
    def close(self) -> None: ...

    def run_export(self, folder: Path, options: Sequence[str]) -> str:
        self.files = {path.name for path in folder.iterdir()}
        given = dict(zip(options[::2], options[1::2], strict=True))
        detector = run.Detector(str(folder), "onnxruntime", given["--file"])
        lines = ["a warning"]
        for path in sorted(folder.glob("*.png")):
            found = detector.detect(run.read_image(str(path)), float(given["--score"]), float(given["--iou"]))
            rows = run.rows_of(found, detector.class_names)
            self.change(rows)
            lines.append(json.dumps({"image": str(path), "detections": rows}))
        return "\n".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path)
    (tmp_path / "run.py").write_bytes(Path(run.__file__).read_bytes())
    (tmp_path / "model.engine").write_bytes(b"plan")
    return tmp_path


def prove(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[list[dict[str, Any]]], object],
    suppression: Suppression = LOOSE,
) -> tuple[dict[str, EngineProof | str], ScriptedBuilder]:
    device = ScriptedBuilder(change)
    monkeypatch.setattr(engine_proof, "open_device", lambda name, patience_s: device)
    samples = open_dataset("shapes:train=4,val=3,size=64").splits["val"]
    return prove_engines(folder, "ssh://board", samples, suppression), device


@pytest.mark.usefixtures("own_locks")
@pytest.mark.parametrize(("kind", "waits"), [("cuda", True), ("ssh", False)])
def test_trainings_wait_while_this_machine_s_gpu_runs_an_engine(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, waits: bool
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(ScriptedBuilder, "kind", kind)
    prove(folder, monkeypatch, lambda rows: seen.append(is_measuring()))
    assert set(seen) == {waits}


def test_an_engine_is_run_under_the_name_that_the_program_looks_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs, device = prove(folder, monkeypatch, lambda rows: None)
    engine = Path(run.engine_path(str(folder / "model.onnx"))).name
    assert device.files == {"run.py", "detector.json", "model.onnx", engine, "0.png", "1.png", "2.png"}
    proof = proofs["model.engine"]
    assert isinstance(proof, EngineProof)
    assert (proof.num_images, proof.num_same) == (3, proof.num_boxes)
    assert proof.num_boxes > 3
    assert (proof.box_difference_px, proof.score_difference) == (0.0, 0.0)


def test_small_differences_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["box_xyxy"][2] += 0.7
        rows[0]["score"] -= 0.03

    proof = prove(folder, monkeypatch, change)[0]["model.engine"]
    assert isinstance(proof, EngineProof)
    assert proof.num_same == proof.num_boxes
    assert proof.box_difference_px == pytest.approx(0.7, abs=1e-4)
    assert proof.score_difference == pytest.approx(0.03)


@pytest.mark.parametrize(
    "fault",
    [
        lambda rows: rows.clear(),
        lambda rows: rows.extend(list(rows)),  # boxes that suppression should have dropped
        lambda rows: [row.update(box_xyxy=[0.0, 0.0, 1.0, 1.0]) for row in rows],
    ],
)
def test_an_engine_that_finds_other_boxes_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[list[dict[str, Any]]], object]
) -> None:
    with pytest.raises(ExportError, match=r"model\.engine on ssh://board has \d+ of \d+ boxes in common"):
        prove(folder, monkeypatch, fault)
    (folder / "model.engine").rename(folder / "model-int8.engine")
    (folder / "model.onnx").rename(folder / "model-int8.onnx")
    proof = prove(folder, monkeypatch, fault)[0]["model-int8.engine"]  # of INT8 it is only stated
    assert isinstance(proof, EngineProof)
    assert proof.num_same < 0.9 * proof.num_boxes


@pytest.mark.parametrize("threshold", [0.25, 0.75, 1.0])
def test_an_engine_that_finds_nothing_is_an_error_though_the_detector_is_weak(
    folder: Path, monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    suppression = Suppression(score_threshold=threshold)
    with pytest.raises(ExportError, match=r"has 0 of [1-9]\d* boxes in common"):
        prove(folder, monkeypatch, lambda rows: rows.clear(), suppression)
    proof = prove(folder, monkeypatch, lambda rows: None, suppression)[0]["model.engine"]
    assert isinstance(proof, EngineProof)
    assert proof.num_same == proof.num_boxes > 0


def test_nothing_found_is_no_agreement(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_proof, "_SURE", 1e9)
    monkeypatch.setattr(run.Detector, "detect", lambda *_: (np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)))
    assert prove(folder, monkeypatch, lambda rows: None)[0] == {
        "model.engine": "neither found a box, so none was compared"
    }


def test_a_device_that_cannot_run_it_is_the_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rows: object) -> None:
        raise DeviceError("the board's python3 has no numpy")

    assert prove(folder, monkeypatch, fail)[0] == {"model.engine": "the board's python3 has no numpy"}


def test_boxes_are_paired_one_to_one_and_by_class() -> None:
    def row(x: float, score: float, name: str = "a") -> dict[str, object]:
        return {"class": name, "score": score, "box_xyxy": [x, 0.0, x + 10, 10.0]}

    pair = engine_proof._pair
    assert pair([row(0, 0.9), row(50, 0.5)], [row(51, 0.5), row(1, 0.8)], sure=0.3) == (
        [(row(0, 0.9), row(1, 0.8)), (row(50, 0.5), row(51, 0.5))],
        0,
    )
    assert pair([row(0, 0.9)], [row(0, 0.9), row(1, 0.8)], sure=0.3)[1] == 1  # a duplicate
    assert pair([row(0, 0.9)], [row(0, 0.9, "b")], sure=0.3) == ([], 2)
    assert pair([row(0, 0.2)], [row(40, 0.29)], sure=0.3) == ([], 0)  # near the threshold either may drop it
