"""Adds non-maximum suppression to the file that an export is run from, by ONNX's own operator.

Legend: P predictions of an image, K classes, N boxes that are left, M most detections of the file.
"""

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
"""The first that has a layer for it. Before, its parser takes a plugin instead: users report negative scores of it on
8.2.1, and that it is missing on 8.0.1.

Source: github.com/Linaom1214/TensorRT-For-YOLO-Series, issue 73; github.com/NVIDIA/TensorRT, issue 1538.
"""

_OUTPUTS = (
    f"1×{MAX_DETECTIONS}×4 boxes x1 y1 x2 y2 in pixels of the square, 1×{MAX_DETECTIONS} float32 scores, best first, "
    f"1×{MAX_DETECTIONS} int64 labels; beyond the last detection a score is 0 and a label -1"
)


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
    """Write a copy of a file that keeps the best `MAX_DETECTIONS` boxes; its shapes are fixed all the same.

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
    nodes: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
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
    _rename(graph, {"boxes": "all_boxes", "scores": "all_scores"})
    graph.initializer.extend(numpy_helper.from_array(value, f"nms/{name}") for name, value in constants.items())
    for operator, inputs, outputs, attributes in nodes:
        taken = [f"nms/{name}" if name in constants else name for name in inputs.split()]
        graph.node.append(helper.make_node(operator, taken, outputs.split(), name=f"nms/{outputs}", **attributes))
    del graph.output[:]
    for name, kind, shape in (
        ("boxes", TensorProto.FLOAT, [1, most, 4]),
        ("scores", TensorProto.FLOAT, [1, most]),
        ("labels", TensorProto.INT64, [1, most]),
    ):
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    about = {entry.key: entry.value for entry in model.metadata_props if entry.key in ("input", "classes")}
    thresholds = {"score_threshold": suppression.score_threshold, "iou_threshold": suppression.iou_threshold}
    helper.set_model_props(
        model, {**about, "outputs": _OUTPUTS, **{name: f"{value:g}" for name, value in thresholds.items()}}
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
