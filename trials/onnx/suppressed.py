"""Adds non-maximum suppression to the file that an export is run from: by ONNX's own operator, or by TensorRT's plugin.

TensorRT has a layer for the operator from 8.5 on, whose number of outputs is not fixed, and up to 10 the plugin
EfficientNMS_TRT. Only TensorRT runs a file with it.

Legend: P predictions of an image, K classes, N boxes that are left, M most detections of the file.

Source: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin: README.md, efficientNMSPlugin.cpp, efficientNMSInference.cu.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from trials.onnx.tensorrt_version import TensorRTVersion
from trials.whole_file import whole_file

MAX_DETECTIONS = 300
MIN_TENSORRT = TensorRTVersion(8, 5)
"""The first that has a layer for the operator."""
MIN_EFFICIENT_NMS = TensorRTVersion(8, 2)
"""The first whose plugin takes the file. An earlier plugin had five outputs and ``score_sigmoid`` for ``score_activation``;
users miss it on 8.0.1 (github.com/NVIDIA/TensorRT, issue 1538)."""
BEYOND_EFFICIENT_NMS = TensorRTVersion(11, 0)
"""The first of which it is not known whether it still has the plugin; it is in the sources up to release/10.x."""

_OUTPUTS = (
    f"1×{MAX_DETECTIONS}×4 boxes x1 y1 x2 y2 in pixels of the input, 1×{MAX_DETECTIONS} float32 scores, best first, "
    f"1×{MAX_DETECTIONS} int64 labels; beyond the last detection a score is 0 and a label -1"
)
_EFFICIENT_OUTPUTS = (
    f"1×{MAX_DETECTIONS}×4 boxes x1 y1 x2 y2 in pixels of the input, 1×{MAX_DETECTIONS} float32 scores, best first, "
    f"1×{MAX_DETECTIONS} int32 labels, 1×1 int32 number of detections; beyond it boxes, scores and labels mean nothing"
)
_SCORE_BOUNDS = (2**-14, 1 - 2**-11)
"""Scores between which logits are finite in FP16 too: its smallest normal number, and its largest below 1."""

_Nodes = Iterable[tuple[str, str, str, dict[str, Any]]]
"""Operator, names of its inputs, names of its outputs, attributes."""


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """Which boxes a file keeps; the defaults are those of `trials.onnx.run.Detector.detect`."""

    score_threshold: float = 0.25
    """Boxes of at most this score are left out, 0 to 1."""
    iou_threshold: float = 0.5
    """A box is dropped if its IoU with a better one of its class is above this, 0 to 1."""

    def __post_init__(self) -> None:
        if not (0 <= self.score_threshold <= 1 and 0 <= self.iou_threshold <= 1):
            raise ValueError(f"{self}: both thresholds are from 0 to 1")


def add_suppression(source: Path, target: Path, suppression: Suppression) -> None:
    """Write a copy of a file that keeps the best `MAX_DETECTIONS` boxes by ONNX's NonMaxSuppression; its shapes are fixed.

    Args:
        source: A file of `export_decoded`.
        target: The file to write; its metadata say the thresholds.
        suppression: Which boxes it keeps.
    """
    model = onnx.load(str(source))
    graph = model.graph
    num_predictions = graph.output[1].type.tensor_type.shape.dim[1].dim_value
    most = MAX_DETECTIONS
    constants: dict[str, npt.NDArray[np.generic]] = {
        "most_of_a_class": np.array([most], np.int64),
        "iou_threshold": np.array([suppression.iou_threshold], np.float32),
        "score_threshold": np.array([suppression.score_threshold], np.float32),
        "class_column": np.array([1], np.int64),
        "box_column": np.array([2], np.int64),
        "num_predictions": np.array([num_predictions], np.int64),
        "flat": np.array([-1], np.int64),
        "rows_of_4": np.array([-1, 4], np.int64),
        "no_boxes": np.zeros((most, 4), np.float32),
        "no_scores": np.zeros(most, np.float32),
        "no_labels": np.full(most, -1, np.int64),
        "as_scores": np.array([1, most], np.int64),
        "as_boxes": np.array([1, most, 4], np.int64),
    }
    nodes: _Nodes = (
        ("Transpose", "all_scores", "class_scores", {"perm": [0, 2, 1]}),  # (1, K, P)
        ("NonMaxSuppression", "all_boxes class_scores most_of_a_class iou_threshold score_threshold", "kept", {}),
        ("Gather", "kept class_column", "class_rows", {"axis": 1}),
        ("Reshape", "class_rows flat", "kept_labels", {}),  # (N,)
        ("Gather", "kept box_column", "box_rows", {"axis": 1}),
        ("Reshape", "box_rows flat", "kept_rows", {}),  # (N,)
        ("Mul", "kept_labels num_predictions", "first_of_class", {}),
        ("Add", "first_of_class kept_rows", "places", {}),
        ("Reshape", "class_scores flat", "flat_scores", {}),  # (K·P,)
        ("Gather", "flat_scores places", "kept_scores", {}),
        ("Reshape", "all_boxes rows_of_4", "box_list", {}),  # (P, 4)
        ("Gather", "box_list kept_rows", "kept_boxes", {"axis": 0}),
        # With M empty ones behind them there are always M to take.
        *(
            ("Concat", f"kept_{name} no_{name}", f"padded_{name}", {"axis": 0})
            for name in ("boxes", "scores", "labels")
        ),
        ("TopK", "padded_scores most_of_a_class", "best_scores best", {"axis": 0}),
        ("Gather", "padded_boxes best", "best_boxes", {"axis": 0}),
        ("Gather", "padded_labels best", "best_labels", {"axis": 0}),
        ("Reshape", "best_boxes as_boxes", "boxes", {}),
        ("Reshape", "best_scores as_scores", "scores", {}),
        ("Reshape", "best_labels as_scores", "labels", {}),
    )
    _append(graph, constants, nodes, label_type=TensorProto.INT64)
    _save(model, target, suppression, outputs=_OUTPUTS)


def add_efficient_nms(source: Path, target: Path, suppression: Suppression) -> None:
    """Write a copy of a file that ends in TensorRT's plugin EfficientNMS_TRT, and keeps the boxes of `add_suppression`.

    The plugin compares the best 2,000 to 5,000 boxes, by its version. It drops a box whose overlap is the threshold itself,
    which the operator keeps, so it is given the next larger number.

    It gets the scores' logits, and applies the sigmoid to those it keeps. Given scores (``score_activation=0``), an FP16
    engine of TensorRT 8.2 is wrong: its kernel means to sort 1 + score by the mantissa, but does not add the 1 (the result
    of ``add_mp(score, 1)`` is unused) and takes it off at the end. Scores come out negative and in another order, and boxes
    stay that should be dropped (github.com/NVIDIA/TensorRT, issue 1758; github.com/triple-Mu/YOLOv8-TensorRT, issue 138).
    Given logits, it sorts by all bits.

    Args:
        source: A file of `export_decoded`.
        target: The file to write; ONNX Runtime cannot run it.
        suppression: Which boxes it keeps.
    """
    model = onnx.load(str(source))
    lowest, highest = _SCORE_BOUNDS
    attributes = {
        "plugin_version": "1",
        "score_threshold": suppression.score_threshold,
        "iou_threshold": float(np.nextafter(np.float32(suppression.iou_threshold), np.float32(2))),
        "max_output_boxes": MAX_DETECTIONS,
        "background_class": -1,
        "score_activation": 1,
        "box_coding": 0,  # corners
        "domain": "TRT",
    }
    nodes: _Nodes = (
        ("Clip", "all_scores lowest highest", "clipped", {}),
        ("Sub", "one clipped", "rest", {}),
        ("Div", "clipped rest", "odds", {}),
        ("Log", "odds", "logits", {}),  # (1, P, K)
        ("EfficientNMS_TRT", "all_boxes logits", "number boxes scores labels", attributes),
    )
    constants = {name: np.float32(value) for name, value in (("lowest", lowest), ("highest", highest), ("one", 1))}
    _append(model.graph, constants, nodes, label_type=TensorProto.INT32)
    model.graph.output.append(helper.make_tensor_value_info("number", TensorProto.INT32, [1, 1]))
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    _save(model, target, suppression, outputs=_EFFICIENT_OUTPUTS)


def _append(graph: onnx.GraphProto, constants: Mapping[str, Any], nodes: _Nodes, *, label_type: int) -> None:
    """Put nodes behind boxes and scores, and make theirs the outputs."""
    _rename(graph, {"boxes": "all_boxes", "scores": "all_scores"})
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"nms/{name}") for name, value in constants.items()
    )
    for operator, inputs, outputs, attributes in nodes:
        taken = [f"nms/{name}" if name in constants else name for name in inputs.split()]
        graph.node.append(helper.make_node(operator, taken, outputs.split(), name=f"nms/{outputs}", **attributes))
    del graph.output[:]
    for name, kind, shape in (
        ("boxes", TensorProto.FLOAT, [1, MAX_DETECTIONS, 4]),
        ("scores", TensorProto.FLOAT, [1, MAX_DETECTIONS]),
        ("labels", label_type, [1, MAX_DETECTIONS]),
    ):
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))


def _save(model: onnx.ModelProto, target: Path, suppression: Suppression, *, outputs: str) -> None:
    about = {entry.key: entry.value for entry in model.metadata_props if entry.key in ("input", "classes")}
    thresholds = {"score_threshold": suppression.score_threshold, "iou_threshold": suppression.iou_threshold}
    helper.set_model_props(
        model, {**about, "outputs": outputs, **{name: f"{value:g}" for name, value in thresholds.items()}}
    )
    onnx.checker.check_model(model, full_check=True)
    with whole_file(target) as partial:
        onnx.save(model, str(partial))


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Give values other names wherever they are made and used."""
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = names.get(name, name)
