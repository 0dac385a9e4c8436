"""`yoloret-nas device`, against a stand-in board."""

import json

import pytest
from click.testing import CliRunner

from spaces import YoloRetError
from tests.trials.latency.board.loopback import LoopbackBoard
from yoloret_nas.commands.device import device


@pytest.mark.parametrize(("gpus", "ends"), [(("0",), 2), ((), 3)])
def test_the_doctor_speaks(
    board: LoopbackBoard, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], ends: int
) -> None:
    monkeypatch.setattr("yoloret_nas.machine.visible_gpus", lambda: gpus)
    board.set(guess=True)
    result = CliRunner().invoke(device, [board.spec], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "ssh://board"
    assert "  power mode    MAXN" in lines
    assert "  networks      fp16, ONNX opset 13" in lines
    assert "ok: the GPU's clock is locked at 922 MHz" in lines
    space = "" if gpus else " --space lite"
    command = f"yoloret-nas search --data PATH --device ssh://board --budget 50 --max-latency 25ms{space}"
    assert lines[-ends] == f"next: {command}"
    assert "33 ms is a whole frame" in lines[1 - ends]


def test_the_facts_of_a_device_stand_in_one_column() -> None:
    result = CliRunner().invoke(device, ["cpu"], catch_exceptions=False)
    facts = [line for line in result.output.splitlines() if line.startswith(("  networks", "  reference"))]
    assert [len(line) - len(line[2:].split(maxsplit=1)[1]) for line in facts] == [13, 13]


def test_the_doctor_warns(board: LoopbackBoard) -> None:
    board.set(guess=True)
    board.clock(76.8, low=76.8, high=921.6)
    result = CliRunner().invoke(device, [board.spec, "--json"], catch_exceptions=False)
    assert result.exit_code == 1
    document = json.loads(result.output)
    assert document["is_steady"] is False
    assert document["identity"]["backend"] == "TensorRT 8.2.1"
    assert any("sudo jetson_clocks" in finding["advice"] for finding in document["findings"])


@pytest.mark.parametrize("spec", ["ssh://-oProxyCommand=x", "toaster"])
def test_what_is_no_device(spec: str) -> None:
    with pytest.raises(YoloRetError, match="device") as caught:
        CliRunner().invoke(device, [spec], catch_exceptions=False)
    assert isinstance(caught.value, ValueError)  # wrong usage
