"""Whether a TensorRT takes our networks: NVIDIA's parser and builder for a CPU, and our tables of its versions."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import onnx
import pytest

from spaces import Architecture
from spaces.architecture import HeadName, NeckName, Shortcut
from spaces.cover import cover
from spaces.named_spaces import SPACES
from spaces.networks import BACKBONES, HEADS, block_shapes
from spaces.networks.necks import NECKS
from spaces.networks.shortcuts import SHORTCUTS
from spaces.presets import PRESETS
from spaces.space import BackboneChoice, Space
from tests.trials.latency.board.loopback import LoopbackBoard
from tests.trials.latency.cuda_stand_in import scripted_tensorrt
from tests.trials.onnx.detector import make_decoding, make_network
from trials.data.shapes import ShapesSettings, make_shapes
from trials.detections.decoding import BoxCoding
from trials.latency import UnknownDeviceError
from trials.latency.compatibility import Judge, judge_space, open_judge
from trials.latency.cuda.engine import build_engine, parse_network
from trials.onnx import TensorRTVersion, UnsupportedNetworkError, check_onnx
from trials.onnx.decoded import export_decoded
from trials.onnx.export import export_for_timing
from trials.onnx.quantised import quantise

_SIZES = (160, 416)
_VERSIONS = ("7.1", "8.2", "10.0")
"""One of each operator set; files for 8.5 are those for 10."""
_SCALE_SETS = {value for make in SPACES.values() for value in make().values("scale_set")}
_SCALE_SETS |= {str(preset.scale_set) for preset in PRESETS.values()}

ALL_ENTRIES = Space(
    name="all",
    description="Every entry of every table.",
    backbones={name: BackboneChoice(truncation=(len(block_shapes(name)),)) for name in BACKBONES},
    axes={
        "neck": tuple(NECKS),
        "scale_set": tuple(sorted(_SCALE_SETS)),
        "shortcut": tuple(SHORTCUTS),
        "head": tuple(HEADS),
        "rfcr_kernel": (3, 5),
        "prediction_bias": (True, False),
        "input_size": _SIZES,
    },
)


def test_no_table_has_an_entry_that_is_not_built() -> None:
    assert {*get_args(NeckName), *get_args(Shortcut), *get_args(HeadName)} == {*NECKS, *SHORTCUTS, *HEADS}
    chosen = cover(ALL_ENTRIES)
    assert {one.backbone for one in chosen} == set(BACKBONES)
    assert {one.head for one in chosen} == set(HEADS)
    assert {one.neck for one in chosen} == set(NECKS)
    assert {(one.neck_choice, one.shortcut) for one in chosen if one.scale_set} == {
        (scale_set, shortcut) for scale_set in _SCALE_SETS - {"none"} for shortcut in SHORTCUTS
    }


def _judge(version: str) -> Judge:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    judge = open_judge(version)
    assert judge is not None
    assert judge.installed is not None
    assert judge.is_built
    return judge


def _build_all(version: str, architectures: list[Architecture], folder: Path) -> None:
    """Build each in FP32 and FP16; a refusal is raised."""
    judge = _judge(version)
    for architecture in architectures:
        path = folder / f"{architecture.key}.onnx"
        export_for_timing(architecture, path, num_classes=20, opset=judge.version.opset)
        judge.check(path)


@pytest.mark.parametrize("version", _VERSIONS)
def test_every_entry_is_built_at_the_operator_set_of_each_tensorrt(version: str, tmp_path: Path) -> None:
    """With every second version each is built at the other size."""
    is_swapped = _VERSIONS.index(version) % 2 == 1
    sizes = dict(zip(_SIZES, _SIZES[::-1] if is_swapped else _SIZES, strict=True))
    _build_all(version, [one.replace(input_size=sizes[one.input_size]) for one in cover(ALL_ENTRIES)], tmp_path)


def test_a_file_that_only_the_builder_refuses_is_refused_with_its_reason(tmp_path: Path) -> None:
    """A quantised constant that no node gives back as a float: the trap of INT8 files."""
    judge = _judge("10.0")
    values = onnx.helper.make_tensor("values", onnx.TensorProto.INT8, [4], [1, 2, 3, 4])
    scale = onnx.helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.5])
    zero = onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [0])
    pick = onnx.helper.make_tensor("pick", onnx.TensorProto.INT64, [], [1])
    nodes = [
        onnx.helper.make_node("Gather", ["values", "pick"], ["picked"]),
        onnx.helper.make_node("DequantizeLinear", ["picked", "scale", "zero"], ["weight"]),
        onnx.helper.make_node("Mul", ["images", "weight"], ["s8"]),
    ]
    images, s8 = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("images", "s8")
    )
    graph = onnx.helper.make_graph(nodes, "trap", [images], [s8], [values, scale, zero, pick])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "trap.onnx"))
    assert judge.installed is not None
    parse_network(judge.installed, (tmp_path / "trap.onnx").read_bytes())
    with pytest.raises(UnsupportedNetworkError, match=r"^FP32: TensorRT for RTX 1\.\S+ built no engine: .*onstant"):
        judge.check(tmp_path / "trap.onnx")


@pytest.mark.parametrize("coding", get_args(BoxCoding))
@pytest.mark.parametrize("version", _VERSIONS)
def test_the_file_with_decoding_is_built_too(version: str, coding: str, tmp_path: Path) -> None:
    judge = _judge(version)
    for is_half in (False, True):
        path = tmp_path / f"{is_half}.onnx"
        export_decoded(make_network(coding), make_decoding(coding), path, opset=judge.version.opset, is_half=is_half)
        check_onnx(path, version=judge.version)
        assert judge.installed is not None
        build_engine(judge.installed, path.read_bytes(), capability=(8, 6))


@pytest.mark.parametrize("coding", ["bounded", "distances"])
def test_the_int8_file_is_built_too(coding: str, tmp_path: Path) -> None:
    judge = _judge("8.2")
    export_decoded(make_network(coding), make_decoding(coding), tmp_path / "model.onnx", opset=13)
    samples = make_shapes(ShapesSettings(num_train=4, num_val=1, size=64)).splits["train"]
    quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", samples, input_hw=(64, 64))
    assert judge.installed is not None
    build_engine(judge.installed, (tmp_path / "int8.onnx").read_bytes(), capability=(8, 6))


# --- whose word counts -----------------------------------------------------------------------------------------------


def test_a_version_is_judged_by_its_table_alone_where_no_tensorrt_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    judge = open_judge("8.2")
    assert judge == Judge(version=TensorRTVersion(8, 2))
    assert str(judge) == "our tables for TensorRT 8.2.0 (opset 13)"
    with pytest.raises(UnknownDeviceError, match="no TensorRT is installed"):
        open_judge("tensorrt")


def test_a_full_tensorrt_only_parses_for_its_builder_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    judge = open_judge("tensorrt")
    assert judge is not None
    assert str(judge) == (
        "our tables for TensorRT 10.13.2 (opset 17) and the parser of TensorRT 10.13.2 (FP32 and FP16)"
    )


def test_a_board_is_judged_by_the_table_of_its_tensorrt(board: LoopbackBoard) -> None:
    assert open_judge("ssh://board") == Judge(version=TensorRTVersion(8, 2, 1))


@pytest.mark.parametrize("spec", ["cpu", "cpu:threads=2"])
def test_onnx_runtime_needs_no_judge(spec: str) -> None:
    assert open_judge(spec) is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [("8", "'8' names no TensorRT"), ("nano", "names no TensorRT"), ("6.0", "older than our tables")],
)
def test_what_names_no_tensorrt(spec: str, message: str) -> None:
    with pytest.raises(UnknownDeviceError, match=message):
        open_judge(spec)


# --- what makes a space be refused -----------------------------------------------------------------------------------

SPACE = Space(
    name="some",
    description="For tests.",
    backbones={
        "mobilenetv2_035": BackboneChoice(truncation=(14, 16)),
        "mobilenetv3_small_050": BackboneChoice(truncation=(11,)),
    },
    axes={
        "scale_set": ("none", "8+16+32@16>8+16+32"),
        "shortcut": ("none", "avgpool", "conv"),
        "head": ("plain", "fpn"),
        "head_width": (32,),
        "input_size": (64, 96),
    },
)


@dataclass(frozen=True, kw_only=True)
class _Lacking(Judge):
    """Refuses files with an operator; sees nothing else."""

    operator: str

    def check(self, onnx_path: Path) -> None:
        if self.operator in {node.op_type for node in onnx.load(str(onnx_path)).graph.node}:
            raise UnsupportedNetworkError(f"no {self.operator}")


@pytest.mark.parametrize(
    ("operator", "culprits"),
    [
        ("AveragePool", ("shortcut avgpool",)),
        ("HardSigmoid", ("backbone mobilenetv3_small_050",)),
        ("Conv", ()),
        ("Loop", ()),
    ],
)
def test_the_choices_to_blame_are_found(operator: str, culprits: tuple[str, ...]) -> None:
    counts = []
    report = judge_space(
        SPACE,
        _Lacking(version=TensorRTVersion(8, 2), operator=operator),
        num_classes=3,
        on_judged=lambda done, whole: counts.append((done, whole)),
    )
    num_judged = len(report.taken) + len(report.refused)
    assert counts == [(done, num_judged) for done in range(1, num_judged + 1)]
    assert all(reason == f"no {operator}" for _, reason in report.refused)
    assert bool(report.refused) == (operator != "Loop")
    assert bool(report.taken) == (operator != "Conv")
    assert report.culprits == culprits
