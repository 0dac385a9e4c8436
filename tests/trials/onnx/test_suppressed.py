"""The file with non-maximum suppression keeps what the runner keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.trials.onnx.detector import make_decoding, make_network, write_folder
from tests.trials.onnx.efficient_nms import efficient_nms, run_file, split_plugin
from trials.latency.cuda.engine import build_engine, find_tensorrt, parse_network
from trials.onnx import UnsupportedNetworkError, run
from trials.onnx.decoded import export_decoded
from trials.onnx.suppressed import MAX_DETECTIONS, Suppression, add_efficient_nms, add_suppression


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


# --- TensorRT's plugin, of which only a reference in numpy is here ------------------------------------------------------


@pytest.mark.parametrize("coding", ["bounded", "distances"])
@pytest.mark.parametrize("opset", [13, 17])
def test_the_plugin_is_told_to_keep_the_boxes_of_the_operator(tmp_path: Path, opset: int, coding: str) -> None:
    network = make_network(coding)
    for conv in network.prediction_convs:
        conv.weight.data.mul_(50)  # scores so far apart that their logits are too
    export_decoded(network, make_decoding(coding), tmp_path / "model.onnx", opset=opset)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    for score, iou in ((0.25, 0.5), (0.4, 0.2), (0.99999, 0.5), (0.1, 1.0), (0.0, 0.0), (1.0, 0.5)):
        suppression = Suppression(score_threshold=score, iou_threshold=iou)
        add_suppression(tmp_path / "model.onnx", tmp_path / "nms.onnx", suppression)
        add_efficient_nms(tmp_path / "model.onnx", tmp_path / "plugin.onnx", suppression)
        expected = [one[0] for one in _run(tmp_path / "nms.onnx", images)]
        number, *ours = run_file((tmp_path / "plugin.onnx").read_bytes(), images)
        count = int((expected[2] >= 0).sum())
        assert int(number[0, 0]) == count
        assert (count > 0) == (score < 0.99)
        assert [one.shape for one in ours] == [(1, 300, 4), (1, 300), (1, 300)]
        assert [one.dtype.name for one in ours] == ["float32", "float32", "int32"]
        if count == MAX_DETECTIONS:  # of equal scores either may be the last
            continue
        np.testing.assert_allclose(np.sort(ours[1][0, :count]), np.sort(expected[1][:count]), atol=7e-5)
        ours_kept, theirs = (
            {(*box.round(2).tolist(), int(label)) for box, label in zip(boxes[:count], labels[:count], strict=True)}
            for boxes, labels in ((ours[0][0], ours[2][0]), (expected[0], expected[2]))
        )
        assert ours_kept == theirs


@pytest.mark.parametrize(("iou_threshold", "num_kept"), [(0.5, 3), (float(np.nextafter(np.float32(0.5), 0)), 1)])
def test_a_box_that_overlaps_by_the_threshold_itself_is_kept_by_both(
    tmp_path: Path, iou_threshold: float, num_kept: int
) -> None:
    write_folder(tmp_path)
    suppression = Suppression(iou_threshold=iou_threshold)
    add_efficient_nms(tmp_path / "model.onnx", tmp_path / "plugin.onnx", suppression)
    attributes = split_plugin(onnx.load(str(tmp_path / "plugin.onnx")))
    boxes = np.array([[[0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 4, 1]]], np.float32)  # halves of each other
    logits = np.array([[[2.0], [1.0], [-1.0]]], np.float32)
    scores = 1 / (1 + np.exp(-logits))
    number, found, kept, _ = efficient_nms(boxes, logits, **attributes)
    expected = run.select(boxes[0], scores[0], suppression.score_threshold, iou_threshold, MAX_DETECTIONS, scores.size)
    assert int(number[0, 0]) == len(expected[1]) == num_kept
    np.testing.assert_array_equal(found[0, :num_kept], expected[0])
    np.testing.assert_allclose(kept[0, :num_kept], expected[1], rtol=1e-6)


def test_logits_of_any_score_are_finite_in_half_precision(tmp_path: Path) -> None:
    """An FP16 engine may compute them in FP16; the bounds are both numbers of FP16."""
    write_folder(tmp_path)
    add_efficient_nms(tmp_path / "model.onnx", tmp_path / "plugin.onnx", Suppression())
    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(str(tmp_path / "plugin.onnx")).graph.initializer
    }
    lowest, highest = (constants[f"nms/{name}"] for name in ("lowest", "highest"))
    scores = np.linspace(0, 1, 4097, dtype=np.float16).clip(lowest.astype(np.float16), highest.astype(np.float16))
    assert (np.float16(lowest), np.float16(highest)) == (lowest, highest)
    logits = np.log(scores / (np.float16(1) - scores))
    assert np.isfinite(logits).all()
    assert (np.diff(logits) >= 0).all()


def test_the_plugin_s_creator_is_given_its_attributes_by_tensorrt_s_parser(tmp_path: Path) -> None:
    """The parser is NVIDIA's, the creator a stand-in: TensorRT for RTX has no such plugin."""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    kinds, given = trt.PluginFieldType, dict[str, tuple[object, float]]()
    known = {name: kinds.FLOAT32 for name in ("score_threshold", "iou_threshold")}
    known |= {name: kinds.INT32 for name in ("max_output_boxes", "background_class", "score_activation", "box_coding")}

    class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_version, self.plugin_namespace = "EfficientNMS_TRT", "1", ""
            fields = [trt.PluginField(name, np.array([]), kind) for name, kind in known.items()]
            self.field_names = trt.PluginFieldCollection(fields)

        def create_plugin(self, name: str, fields: list[Any], phase: object) -> None:
            given.update({field.name: (field.type, field.data[0]) for field in fields})

    write_folder(tmp_path)
    add_efficient_nms(tmp_path / "model.onnx", tmp_path / "plugin.onnx", Suppression(score_threshold=0.3))
    registry, creator, tensorrt = trt.get_plugin_registry(), Creator(), find_tensorrt()
    registry.register_creator(creator, "")
    try:
        with pytest.raises(UnsupportedNetworkError, match="Could not create the plugin"):
            parse_network(tensorrt, (tmp_path / "plugin.onnx").read_bytes())
    finally:
        registry.deregister_creator(creator)
    assert {name: kind for name, (kind, _) in given.items()} == known
    assert {name: round(float(value), 6) for name, (_, value) in given.items()} == {
        "score_threshold": 0.3,
        "iou_threshold": 0.5,
        "max_output_boxes": 300,
        "background_class": -1,
        "score_activation": 1,
        "box_coding": 0,
    }


def test_what_feeds_the_plugin_is_built_by_tensorrt(tmp_path: Path) -> None:
    """TensorRT for RTX lacks the plugin itself."""
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    write_folder(tmp_path)
    add_efficient_nms(tmp_path / "model.onnx", tmp_path / "plugin.onnx", Suppression())
    data = (tmp_path / "plugin.onnx").read_bytes()
    with pytest.raises(UnsupportedNetworkError, match=r"EfficientNMS_TRT.*Plugin not found"):
        parse_network(find_tensorrt(), data)
    model = onnx.load_from_string(data)
    split_plugin(model)
    assert build_engine(find_tensorrt(), model.SerializeToString(), capability=(8, 6))
