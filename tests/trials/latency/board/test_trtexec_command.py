"""The two calls, against the flags of every version."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.trials.latency.board.versions import FLAGS, HIDDEN, banner
from trials.latency.board.trtexec_command import Timing, Trtexec, read_help, workspace_mib
from trials.onnx import find_version


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


def test_a_version_without_a_banner() -> None:
    assert find_version("7.1.3-1+cuda10.2") == (7, 1, 3)
    text = _help("7.1.3")
    assert read_help(text, path="x", library="").version == (7, 1, 0)  # type: ignore[union-attr]
    assert read_help(_help("8.0.1").replace(banner("8.0.1"), ""), path="x", library="").version == (7, 2, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "command not found", "  --onnx only"])
def test_what_is_no_help(text: str) -> None:
    assert read_help(text, path="x", library="8.2.1") is None


def test_the_timing_is_checked() -> None:
    with pytest.raises(ValueError, match="iterations at least 1"):
        Timing(iterations=0)


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
