"""Networks as files: ONNX files and exports, checkpoints, pretrained weights."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import onnx
import torch

from benchmarks.stress.fuzzing.mutations import VALUES, mutate_bytes, mutate_json, mutate_tree
from benchmarks.stress.fuzzing.target import Attempt
from spaces import Architecture
from spaces.networks import build_network
from trials.data.images.letterbox import PAD_RGB
from trials.detections import Decoding
from trials.onnx.decoded import export_decoded
from trials.onnx.tensorrt_version import TensorRTVersion

_ARCHITECTURE = Architecture(
    backbone="mobilenetv3_small_050",
    truncation=11,
    scale_set=None,
    neck="none",
    rfcr_width=0,
    rfcr_channels=0,
    rfcr_kernel=0,
    head="plain",
    head_width=16,
    input_size=32,
)
_CLASSES = ("circle", "square")
_ANCHORS = tuple(((6.0 * k, 8.0 * k), (10.0 * k, 10.0 * k), (14.0 * k, 12.0 * k)) for k in (1, 2, 3))
_IMAGE = np.zeros((24, 32, 3), np.uint8)
CANARY = "YOLORET_NAS_FUZZED"
"""An environment variable that a pickle of ours sets if its code runs."""


def exports(folder: Path) -> Attempt:
    """An export's ``model.onnx`` and ``detector.json``, as `predict`, `eval`, `compare` and `latency` read them."""
    from trials.latency.cpu import load_in_onnxruntime
    from trials.onnx import check_onnx
    from trials.onnx.number_format import find_number_format
    from yoloret_nas.export.bundle import naming_file, open_bundle

    model, settings = folder / "model.onnx", folder / "detector.json"
    network, decoding = _make()
    export_decoded(network, decoding, model, opset=13)
    whole = model.read_bytes()
    small = _small_onnx()
    described: dict[str, Any] = {"class_names": _CLASSES, "input_hw": [32, 32], "letterbox_rgb": PAD_RGB}
    described |= {"model.onnx": {"input": "images", "boxes": "boxes", "scores": "scores", "opset": 13}}

    def attempt(rng: Random) -> None:
        kind = rng.randrange(4)
        data = small if kind else whole
        if kind != 1:
            data = _break_onnx(data, rng) if rng.random() < 0.5 else mutate_bytes(data, rng)
        model.write_bytes(data)
        settings.write_bytes(mutate_json(described, rng) if kind == 1 else json.dumps(described).encode())
        if kind == 2:
            load_in_onnxruntime(model, 1)()
        elif kind == 3:
            check_onnx(model, version=TensorRTVersion(8, 2))
            find_number_format(model)
        else:
            detector = open_bundle(folder)
            with naming_file(model):
                boxes, scores, labels = detector.detect(_IMAGE)
            assert len(boxes) == len(scores) == len(labels)
            [detector.class_names[label] for label in labels]

    return attempt


def checkpoints(folder: Path) -> Attempt:
    """A trial's ``checkpoint.pt`` and ``last.ckpt``: truncated, of other types, and pickles that would run code."""
    from spaces.weights.tensor_file import read_tensors
    from trials.training import load_trained, read_checkpoint
    from trials.training.checkpoint import write_checkpoint
    from trials.training.last_checkpoint import LastCheckpoint, find_last
    from trials.training.settings import LAST_FILE

    path = folder / "checkpoint.pt"
    write_checkpoint(path, *_make())
    whole, values = path.read_bytes(), read_tensors(path)
    small = _save({**values, "state_dict": {"a": torch.zeros(2)}})
    saved = {"LastCheckpoint": LastCheckpoint(folder, data="").state_dict()}
    last = _save({"callbacks": saved, "state_dict": {"a": torch.zeros(2)}})

    def attempt(rng: Random) -> None:
        kind = rng.randrange(8)
        if kind == 0:
            data = _hostile(rng)
        elif kind == 1:
            data = mutate_bytes(whole, rng)
        elif kind in (2, 3):
            data = _save(_break_values(values, rng))
        elif kind == 7:
            data = whole  # what comes behind the checks is tried too
        else:
            data = mutate_bytes(last if kind == 4 else small, rng)
        try:
            if kind == 4 or (kind == 0 and rng.random() < 0.3):
                (folder / LAST_FILE).write_bytes(data)
                find_last(folder, data="")
            else:
                path.write_bytes(data)
                load_trained(_ARCHITECTURE, read_checkpoint(path))
        finally:
            assert CANARY not in os.environ, "code from a checkpoint ran"

    return attempt


def weights(folder: Path) -> Attempt:
    """Files of ImageNet weights in ``--weights-dir``."""
    import timm
    from safetensors.torch import save

    from spaces.weights import fetch_pretrained

    state = timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict()
    seeds = {
        "pth": _save(dict(state)),
        "safetensors": save({name: value.contiguous() for name, value in state.items()}),
    }

    def attempt(rng: Random) -> None:
        suffix = rng.choice(tuple(seeds))
        for other in seeds:
            (folder / f"mobilenetv3_small_050.{other}").unlink(missing_ok=True)
        data = _hostile(rng) if rng.random() < 0.1 else mutate_bytes(seeds[suffix], rng)
        (folder / f"mobilenetv3_small_050.{suffix}").write_bytes(data)
        with mock.patch.dict("os.environ", {"YOLORET_NAS_WEIGHTS_DIR": str(folder)}):
            fetch_pretrained("mobilenetv3_small_050")
        assert CANARY not in os.environ, "code from a file of weights ran"

    return attempt


class _Exploit:
    """Sets an environment variable when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, (f"import os; os.environ[{CANARY!r}] = '1'",)


def _hostile(rng: Random) -> bytes:
    """Return a pickle with code: bare, in torch's zip, or in its old form; now and then cut."""
    kind = rng.randrange(4)
    if kind == 0:
        data = pickle.dumps(_Exploit(), protocol=rng.randrange(5))
    elif kind == 1:
        buffer = io.BytesIO()
        torch.save({"format": 1, "state_dict": _Exploit()}, buffer)
        data = buffer.getvalue()
    elif kind == 2:
        buffer = io.BytesIO()
        torch.save(_Exploit(), buffer, _use_new_zipfile_serialization=False)
        data = buffer.getvalue()
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:  # a bomb: 64 MiB of zeros in 64 kB
            archive.writestr("archive/data.pkl", pickle.dumps({"format": 1}, protocol=2))
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/data/0", b"\0" * 2**26)
        data = buffer.getvalue()
    return data if rng.random() < 0.8 else mutate_bytes(data, rng)


def _break_values(values: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Return a checkpoint's values with one missing, of another type, or with weights that do not fit."""
    broken = dict(values)
    name = rng.choice([*broken, "state_dict"])
    kind = rng.randrange(4)
    if name == "state_dict" and kind < 3:
        state = dict(broken[name])
        weight = rng.choice(list(state))
        if kind == 0:
            del state[weight]
        elif kind == 1:
            state[weight] = torch.zeros(rng.randrange(4), rng.randrange(3))
        else:
            state[weight] = rng.choice((None, 3, torch.zeros(2, dtype=torch.int64), torch.full((1,), float("nan"))))
        broken[name] = state
    elif kind == 0:
        del broken[name]
    elif kind == 1 and name not in ("state_dict", "format"):
        broken[name] = mutate_tree({"v": broken[name]}, rng)
    else:
        broken[name] = rng.choice(VALUES)
    return broken


def _make() -> tuple[Any, Decoding]:
    torch.manual_seed(0)
    decoding = Decoding(anchors=_ANCHORS, coding="bounded", class_names=_CLASSES, input_hw=(32, 32))
    return build_network(_ARCHITECTURE, num_classes=len(_CLASSES)).eval(), decoding


def _save(values: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


def _small_onnx() -> bytes:
    """Return a network that maps an image to boxes and scores in a few nodes."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.ones((6, 3, 8, 8), np.float32) * 0.001
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["maps"], strides=[8, 8]),
        helper.make_node("Reshape", ["maps", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["rows", "zero", "four", "two"], ["boxes"]),
        helper.make_node("Slice", ["rows", "four", "six", "two"], ["scores"]),
    ]
    constants = {"shape": [1, 6, 16], "zero": [0], "four": [4], "six": [6], "two": [2]}
    initial = [numpy_helper.from_array(weight, "w")]
    initial += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16, n])
            for name, n in (("boxes", 4), ("scores", 2))
        ],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def _break_onnx(data: bytes, rng: Random) -> bytes:  # noqa: C901 (a list of ways)
    """Return an ONNX file that protobuf reads, and whose graph is another: shapes, names, operators, outside data."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for _ in range(rng.randint(1, 3)):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        entry = rng.choice([*graph.input, *graph.output])
        dims = entry.type.tensor_type.shape.dim
        kind = rng.randrange(12)
        if kind == 0:
            node.op_type = rng.choice(("NoSuch", "Loop", "Conv", "Softmax", "ConstantOfShape", "Exp", ""))
        elif kind == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(("", "images", "gone", node.output[0]))
        elif kind == 2 and dims:
            rng.choice(dims).dim_value = rng.choice((-1, 0, 1, 7, 2**31, 2**62))
        elif kind == 3 and dims:
            rng.choice(dims).dim_param = "batch"
        elif kind == 4:
            entry.type.tensor_type.elem_type = rng.choice((0, 7, 8, 10, 11, 99))
        elif kind == 5:
            entry.name = rng.choice(("", "images", "other", "boxes"))
        elif kind == 6:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        elif kind == 7:
            tensor.dims[:] = [rng.choice((0, 1, 3, -1, 2**31, 2**40)) for _ in range(rng.randrange(5))]
        elif kind == 8:
            tensor.data_type = rng.choice((0, 1, 7, 8, 10, 99))
        elif kind == 9:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(
                key="location", value=rng.choice(("../../../../etc/passwd", "/dev/zero", "gone", "model.onnx"))
            )
            tensor.ClearField("raw_data")
        elif kind == 10:
            model.opset_import[0].version = rng.choice((0, 1, 7, 22, 99, -1))
        elif node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.ints[:] = [rng.choice((0, -1, 1, 3, 2**40)) for _ in range(rng.randrange(5))]
    return bytes(model.SerializeToString())
