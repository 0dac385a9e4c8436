"""A reference of TensorRT's plugin EfficientNMS_TRT in numpy, and a runner of files that end in it.

It shows what a file means by NVIDIA's documentation; it proves nothing about TensorRT. It runs without the project, for the
stand-in board.

Source: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin: README.md, "Process Description", and
efficientNMSInference.cu for `>=` in both comparisons. Standard mode, corners, per class.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

_NUM_SELECTED = 4096


def split_plugin(model: onnx.ModelProto) -> dict[str, Any]:
    """Cut the plugin's node off a model, whose outputs become the node's two inputs; return the node's attributes."""
    node = model.graph.node.pop()
    assert (node.op_type, list(node.output)) == ("EfficientNMS_TRT", ["number", "boxes", "scores", "labels"])
    del model.graph.output[:]
    for name in node.input:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def run_file(data: bytes, images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[Any], ...]:
    """Return the outputs number, boxes, scores and labels of a file that ends in the plugin."""
    model = onnx.load_from_string(data)
    attributes = split_plugin(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {"images": images})
    return efficient_nms(boxes, scores, **attributes)


def efficient_nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    *,
    score_threshold: float,
    iou_threshold: float,
    max_output_boxes: int,
    background_class: int,
    score_activation: int,
    box_coding: int,
    plugin_version: bytes,
) -> tuple[npt.NDArray[Any], ...]:
    """Return what the plugin gives for boxes (1, P, 4) and scores (1, P, K): number, boxes, scores, labels."""
    assert (background_class, box_coding, plugin_version) == (-1, 0, b"1")
    assert boxes.shape == (1, scores.shape[1], 4)
    if score_activation:
        with np.errstate(divide="ignore"):
            score_threshold = float(np.log(np.float64(score_threshold) / (1 - np.float64(score_threshold))))
    rows, labels = np.nonzero(scores[0] >= score_threshold)
    order = np.argsort(-scores[0, rows, labels], kind="stable")[:_NUM_SELECTED]
    rows, labels = rows[order], labels[order]
    kept: list[int] = []
    for index in range(len(rows)):
        better = [other for other in kept if labels[other] == labels[index]]
        if all(_iou(boxes[0, rows[index]], boxes[0, rows[other]]) < iou_threshold for other in better):
            kept.append(index)
        if len(kept) == max_output_boxes:
            break
    found = scores[0, rows[kept], labels[kept]]
    padded = [np.zeros((1, max_output_boxes, *tail), kind) for tail, kind in (((4,), "f4"), ((), "f4"), ((), "i4"))]
    padded[0][0, : len(kept)] = boxes[0, rows[kept]]
    padded[1][0, : len(kept)] = 1 / (1 + np.exp(-found)) if score_activation else found
    padded[2][0, : len(kept)] = labels[kept]
    return np.array([[len(kept)]], np.int32), *padded


def _iou(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> np.float32:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    shared = np.float32(sides.prod())
    union = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared
    return np.float32(shared / union) if shared > 0 and union > 0 else np.float32(0)
