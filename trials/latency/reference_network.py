"""A fixed small network whose latency tells the machine's drift from a difference between candidates.

It must never change: its latency on a device is compared over weeks.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CHANNELS = (3, 16, 24, 32, 48, 64)
_SIZE = 96


def write_reference(path: Path, *, opset: int = 13) -> None:
    """Write the reference network: five strided 3×3 convolutions, each followed by a depthwise one, with ReLUs.

    Args:
        path: The ONNX file to write.
        opset: Operator set; the operators are the same in 11 to 20.
    """
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "images"
    for layer, (inner, outer) in enumerate(itertools.pairwise(_CHANNELS)):
        for kind, groups, stride in (("dense", 1, 2), ("depthwise", outer, 1)):
            channels = inner if kind == "dense" else 1
            kernel = rng.standard_normal((outer, channels, 3, 3)).astype(np.float32) / np.sqrt(9 * channels)
            name = f"{kind}{layer}"
            weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"{name}.weight"))
            shape: dict[str, Any] = {"strides": [stride] * 2, "pads": [1] * 4, "group": groups, "kernel_shape": [3, 3]}
            nodes.append(helper.make_node("Conv", [value, f"{name}.weight"], [f"{name}.conv"], name=name, **shape))
            nodes.append(helper.make_node("Relu", [f"{name}.conv"], [f"{name}.relu"], name=f"{name}.activation"))
            value = f"{name}.relu"
    cells = _SIZE // 2 ** (len(_CHANNELS) - 1)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])
    features = helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, _CHANNELS[-1], cells, cells])
    graph = helper.make_graph(nodes, "yoloret-nas reference", [images], [features], initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
