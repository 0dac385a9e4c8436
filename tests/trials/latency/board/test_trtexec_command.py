"""The two calls, against the flags of every version."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.trials.latency.board.versions import FLAGS, HIDDEN, banner
from trials.latency.board.trtexec_command import Timing, Trtexec, read_help, workspace_mib
from trials.latency.device import DeviceError
from trials.latency.reference_network import write_reference
from trials.onnx.half_precision import write_half
from trials.onnx.requirements import check_onnx
from trials.onnx.tensorrt_version import TensorRTVersion, find_version, version_of_banner


def _help(version: str) -> str:
    lines = "\n".join(f"  --{flag}=<x>   words --notAFlag" for flag in FLAGS[version])
    return f"&&&& RUNNING TensorRT.trtexec{banner(version)} # trtexec --help\n{lines}\n"


def _trtexec(version: str) -> Trtexec:
    found = read_help(_help(version), path="/usr/src/tensorrt/bin/trtexec", library=version)
    assert found is not None
    return found


def _flags(words: list[str]) -> list[str]:
    return [word.lstrip("-").partition("=")[0] for word in words[1:]]


@pytest.mark.parametrize("version", FLAGS)
def test_every_flag_is_one_this_version_knows(version: str) -> None:
    trtexec = _trtexec(version)
    assert str(trtexec.version) == version
    known = FLAGS[version] | HIDDEN.get(version, frozenset())
    build = trtexec.build_command(onnx="a.onnx", engine="a.engine", timing_cache="t", workspace_mib=512)
    timed = trtexec.time_command(engine="a.engine", times="t.json", timing=Timing())
    assert set(_flags(build)) <= known
    assert set(_flags(timed)) <= known
    assert len(_flags(build)) == len(set(_flags(build)))


@pytest.mark.parametrize(
    ("version", "expected", "absent"),
    [
        ("7.1.3", {"explicitBatch", "workspace", "fp16", "buildOnly"}, {"timingCacheFile", "memPoolSize"}),
        ("8.2.1", {"workspace", "fp16", "buildOnly", "timingCacheFile"}, {"explicitBatch", "memPoolSize"}),
        ("8.5.2", {"memPoolSize", "fp16", "buildOnly", "timingCacheFile"}, {"workspace", "explicitBatch"}),
        ("8.6.2", {"memPoolSize", "fp16", "skipInference"}, {"workspace", "buildOnly"}),
        ("10.3.0", {"memPoolSize", "fp16", "skipInference"}, {"workspace", "explicitBatch", "buildOnly"}),
        ("11.2.1", {"memPoolSize", "stronglyTyped", "skipInference"}, {"fp16", "workspace"}),
    ],
)
def test_the_build_of_each_version(version: str, expected: set[str], absent: set[str]) -> None:
    words = _trtexec(version).build_command(onnx="a.onnx", engine="a.engine", timing_cache="t", workspace_mib=512)
    assert expected <= set(_flags(words))
    assert not absent & set(_flags(words))


def test_the_workspace_is_spelled_as_each_version_reads_it() -> None:
    for version, word in (("8.2.1", "--workspace=495"), ("8.4.1", "--memPoolSize=workspace:495")):
        words = _trtexec(version).build_command(onnx="a", engine="b", timing_cache="t", workspace_mib=495)
        assert word in words


@pytest.mark.parametrize("version", FLAGS)
def test_the_timed_run_has_no_profiler(version: str) -> None:
    words = _trtexec(version).time_command(engine="a.engine", times="t.json", timing=Timing(warm_up_ms=1000))
    assert {
        "--loadEngine=a.engine",
        "--warmUp=1000",
        "--duration=5",
        "--iterations=100",
        "--exportTimes=t.json",
    } <= set(words)
    assert not {"dumpProfile", "exportProfile"} & set(_flags(words))


@pytest.mark.parametrize(("memory", "expected"), [(3964, 495), (1000, 256), (8000, 1000), (64000, 2048), (0, 256)])
def test_the_workspace_follows_the_memory(memory: float, expected: int) -> None:
    assert workspace_mib(memory) == expected


@pytest.mark.parametrize(
    ("code", "version"),
    [(8201, "8.2.1"), (8412, "8.4.12"), (8001, "8.0.1"), (100300, "10.3.0"), (100001, "10.0.1"), (110201, "11.2.1")],
)
def test_the_number_of_the_banner(code: int, version: str) -> None:
    assert str(version_of_banner(code)) == version


def test_a_version_without_a_banner() -> None:
    assert find_version("7.1.3-1+cuda10.2") == (7, 1, 3)
    text = _help("7.1.3")
    assert read_help(text, path="x", library="").version == (7, 1, 0)  # type: ignore[union-attr]
    assert read_help(_help("8.0.1").replace(banner("8.0.1"), ""), path="x", library="").version == (7, 2, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "command not found", "  --onnx only"])
def test_what_is_no_help(text: str) -> None:
    assert read_help(text, path="x", library="8.2.1") is None


@pytest.mark.parametrize(
    ("version", "opset"),
    [((7, 1, 3), 11), ((7, 2, 0), 13), ((8, 2, 1), 13), ((8, 4, 1), 17), ((10, 3, 0), 17), ((11, 2, 1), 17)],
)
def test_the_opset_of_a_version(version: tuple[int, int, int], opset: int) -> None:
    assert TensorRTVersion(*version).opset == opset


def test_the_timing_is_checked() -> None:
    with pytest.raises(ValueError, match="iterations at least 1"):
        Timing(iterations=0)


def _network(path: Path, *, operator: str = "Relu", opset: int = 13, side: object = 8, num_inputs: int = 1) -> Path:
    inputs = [helper.make_tensor_value_info(f"x{n}", TensorProto.FLOAT, [1, 3, side, 8]) for n in range(num_inputs)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(operator, ["x0"], ["y"])], "g", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), str(path))
    return path


def test_a_file_that_a_version_takes(tmp_path: Path) -> None:
    path = _network(tmp_path / "a.onnx", operator="HardSwish", opset=14)
    assert check_onnx(path, version=TensorRTVersion(8, 4, 1)) == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"operator": "Round"}, "TensorRT 8.0.1 has no operator Round"),
        ({"opset": 17}, "is in opset 17, TensorRT 8.0.1 reads up to 13"),
        ({"side": "height"}, "has a dynamic shape"),
        ({"num_inputs": 2}, "has 2 inputs"),
    ],
)
def test_files_that_a_version_does_not_take(tmp_path: Path, network: dict[str, object], words: str) -> None:
    path = _network(tmp_path / "a.onnx", **network)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=words):
        check_onnx(path, version=TensorRTVersion(8, 0, 1))


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("no")
    with pytest.raises(DeviceError, match="is no ONNX file"):
        check_onnx(tmp_path / "a.onnx", version=TensorRTVersion(8, 0, 1))


def test_half_precision_agrees(tmp_path: Path) -> None:
    import numpy as np
    import onnxruntime

    write_reference(tmp_path / "full.onnx")
    write_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
    image = np.random.default_rng(0).standard_normal((1, 3, 96, 96)).astype(np.float32)
    outputs = []
    for name, kind in (("full", np.float32), ("half", np.float16)):
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"images": image.astype(kind)})[0].astype(np.float32))
    assert np.abs(outputs[0] - outputs[1]).max() < 0.02 * np.abs(outputs[0]).max()


def test_half_precision_of_a_detector(tmp_path: Path) -> None:
    import numpy as np
    import onnxruntime

    from spaces import Architecture
    from trials.onnx.export import export_for_timing

    architecture = Architecture(backbone="mobilenetv2_075", truncation=16, shortcut="maxpool", input_size=64)
    export_for_timing(architecture, tmp_path / "full.onnx", num_classes=3, opset=17)
    write_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "half.onnx"), providers=["CPUExecutionProvider"])
    half = session.run(None, {"images": image.astype(np.float16)})
    full = onnxruntime.InferenceSession(str(tmp_path / "full.onnx"), providers=["CPUExecutionProvider"])
    for ours, theirs in zip(half, full.run(None, {"images": image}), strict=True):
        assert ours.dtype == np.float16
        assert np.abs(ours.astype(np.float32) - theirs).max() < 0.02 * max(1.0, float(np.abs(theirs).max()))


@pytest.mark.parametrize("version", FLAGS)
def test_the_stand_in_ends_at_an_unknown_flag_as_that_version_does(version: str, tmp_path: Path) -> None:
    import json
    import os

    from trials.latency.board.trtexec_failure import find_failure
    from trials.latency.board.trtexec_log import parse_log

    (tmp_path / "board.json").write_text(json.dumps({"version": version}))
    stand_in = Path(__file__).parent / "trtexec_stand_in.py"
    ended = subprocess.run(
        [sys.executable, str(stand_in), "--onnx=a.onnx", "--saveEngine=b", "--frobnicate=3"],
        env={**os.environ, "YOLORET_NAS_BOARD_ROOT": str(tmp_path / "root")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ("&&&& FAILED" in ended.stdout) == (not version.startswith("11"))
    failure = find_failure(parse_log(ended.stdout), exit_status=ended.returncode, is_timed=False)
    assert failure is not None
    assert (failure.kind, "--frobnicate" in failure.message) == ("unknown_flag", True)
