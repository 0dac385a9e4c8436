"""The file with non-maximum suppression keeps what the runner keeps."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.trials.onnx.detector import make_decoding, make_network, write_folder
from trials.latency.cuda.engine import find_tensorrt, parse_network
from trials.onnx import run
from trials.onnx.decoded import export_decoded
from trials.onnx.suppressed import MAX_DETECTIONS, Suppression, add_suppression


@pytest.mark.parametrize("coding", ["bounded", "distances"])
@pytest.mark.parametrize("opset", [11, 13, 17])
def test_it_keeps_the_boxes_of_the_runner(tmp_path: Path, opset: int, coding: str) -> None:
    export_decoded(make_network(coding), make_decoding(coding), tmp_path / "model.onnx", opset=opset)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    boxes, scores = _run(tmp_path / "model.onnx", images)
    for score, iou in ((0.25, 0.5), (0.4, 0.2), (0.99, 0.5)):
        add_suppression(
            tmp_path / "model.onnx", tmp_path / "nms.onnx", Suppression(score_threshold=score, iou_threshold=iou)
        )
        expected = run.select(boxes[0], scores[0], score, iou, MAX_DETECTIONS, scores.size)
        ours = _run(tmp_path / "nms.onnx", images)
        assert [one.shape for one in ours] == [(1, 300, 4), (1, 300), (1, 300)]
        count = int((ours[1] > 0).sum())
        assert count == len(expected[1])
        assert (count > 0) == (score < 0.9)
        assert ours[1][0].tolist() == [*expected[1].tolist(), *[0.0] * (300 - count)]
        for one, other in zip(ours[0::2], (expected[0], expected[2]), strict=True):
            np.testing.assert_array_equal(_in_order(one[0, :count], ours[1][0, :count]), _in_order(other, expected[1]))
        assert set(ours[2][0, count:].tolist()) <= {-1}


def _run(path: Path, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": images}))


def _in_order(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sort what has equal scores, which may come in any order."""
    rows = np.column_stack((-scores, values))
    return rows[np.lexsort(rows.T[::-1])]


def test_more_than_it_holds_are_cut_off_at_the_worst(tmp_path: Path) -> None:
    write_folder(tmp_path)
    add_suppression(tmp_path / "model.onnx", tmp_path / "nms.onnx", Suppression(score_threshold=0.0, iou_threshold=1.0))
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    _, scores = _run(tmp_path / "model.onnx", images)
    assert scores.size > 300
    kept = _run(tmp_path / "nms.onnx", images)[1][0]
    assert kept.tolist() == np.sort(scores.ravel())[::-1][:300].tolist()


def test_the_file_says_its_thresholds(tmp_path: Path) -> None:
    write_folder(tmp_path)
    add_suppression(tmp_path / "model.onnx", tmp_path / "nms.onnx", Suppression(score_threshold=0.3))
    about = {entry.key: entry.value for entry in onnx.load(str(tmp_path / "nms.onnx")).metadata_props}
    assert set(about) == {"input", "outputs", "classes", "score_threshold", "iou_threshold"}
    assert (about["score_threshold"], about["iou_threshold"]) == ("0.3", "0.5")
    with pytest.raises(ValueError, match=r"iou_threshold=1\.5.*from 0 to 1"):
        Suppression(iou_threshold=1.5)


def test_tensorrt_s_parser_takes_it(tmp_path: Path) -> None:
    """Its builder is asked in vain: TensorRT for RTX has no layer for suppression."""
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    write_folder(tmp_path)
    add_suppression(tmp_path / "model.onnx", tmp_path / "nms.onnx", Suppression())
    parse_network(find_tensorrt(), (tmp_path / "nms.onnx").read_bytes())
