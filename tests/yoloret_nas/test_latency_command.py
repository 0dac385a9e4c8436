"""`yoloret-nas latency`, on a stand-in board and on the CPU."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spaces import ArchitectureError
from tests.trials.latency.board.loopback import LoopbackBoard
from trials.latency.reference_network import write_reference
from yoloret_nas.commands.latency import latency
from yoloret_nas.sources import SourceError


def _run(*words: str) -> Result:
    return CliRunner().invoke(latency, words, catch_exceptions=False)


@pytest.fixture
def network(tmp_path: Path) -> str:
    write_reference(tmp_path / "n.onnx")
    return str(tmp_path / "n.onnx")


def test_one_network_on_one_board(board: LoopbackBoard, network: str) -> None:
    board.set(guess=True)
    result = _run("--device", board.spec, network)
    assert result.exit_code == 0
    assert (
        "ssh: GPU compute time in TensorRT (trtexec), batch 1, without transfers, pre-processing and NMS"
        in result.output
    )
    assert "on NVIDIA Jetson Nano Developer Kit · TensorRT 8.2.1 · fp16" in result.output
    assert board.wait_until_quiet() == []


def test_an_architecture_file(board: LoopbackBoard, tmp_path: Path) -> None:
    board.set(guess=True)
    (tmp_path / "a.yaml").write_text("backbone: mobilenetv2_075\ntruncation: 16\ninput_size: 64\n")
    result = _run("--device", board.spec, "--json", str(tmp_path / "a.yaml"))
    (row,) = json.loads(result.stdout)
    # The stand-in that guesses takes 32 px for any network: the binding's check finds out that this one is another.
    assert "trtexec measured input images at 1×3×32×32, not at 1×3×64×64" in row["reason"]
    assert result.exit_code == 1


def test_a_failure_does_not_keep_others_from_being_measured(board: LoopbackBoard, tmp_path: Path, network: str) -> None:
    board.set(guess=True)
    (tmp_path / "bad.onnx").write_text("no")
    (tmp_path / "[v2].onnx").write_text("no")
    assert "[v2].onnx" in _run("--device", board.spec, str(tmp_path / "[v2].onnx")).stdout
    result = _run("--device", board.spec, "--json", str(tmp_path / "bad.onnx"), network)
    assert result.exit_code == 1
    bad, good = json.loads(result.stdout)
    assert "bad.onnx is not an ONNX file" in bad["reason"]
    assert good["median_ms"] > 0
    assert good["latency"]["device"]["kind"] == "ssh"
    assert "bad.onnx is not an ONNX file" in result.stderr


@pytest.mark.slow
def test_a_preset_on_two_devices(board: LoopbackBoard) -> None:
    result = _run("--device", "cpu", "--device", board.spec, "--json", "yoloret-m0.75")
    assert [row["device"] for row in json.loads(result.stdout)] == ["cpu", "ssh://board"]


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'nothing' names no network"):
        _run("nothing")
    with pytest.raises(SourceError, match=r"there is no file .*absent\.onnx"):
        _run(str(tmp_path / "absent.onnx"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(SourceError, match="holds no architecture"):
        _run(str(tmp_path / "list.yaml"))
    (tmp_path / "a.yaml").write_text("backbone: nothing\n")
    with pytest.raises(ArchitectureError, match="truncation"):
        _run(str(tmp_path / "a.yaml"))
