"""What the doctor finds, and what it says to do."""

import dataclasses
from pathlib import Path

import pytest

from tests.trials.latency.board.loopback import LoopbackBoard
from trials.latency import Device, DeviceError, DeviceIdentity, Latency, UnstableError
from trials.latency.board import Board, SshDevice, SshSettings
from trials.latency.board.probe import BoardState
from trials.latency.board.trtexec_command import Trtexec
from trials.latency.doctor import DeviceReport, _facts, _find, examine_device
from trials.onnx import TensorRTVersion

NANO = Board(
    model="NVIDIA Jetson Nano Developer Kit",
    l4t="32.7.4",
    trtexec=Trtexec(path="/usr/src/tensorrt/bin/trtexec", version=TensorRTVersion(8, 2, 1), flags=frozenset({"fp16"})),
    has_flock=True,
    has_timeout=True,
    desktop=(),
    load=0.1,
    state=BoardState(
        gpu_mhz=921.6,
        gpu_min_mhz=921.6,
        gpu_max_mhz=921.6,
        temperatures_c={"GPU-therm": 37.0},
        memory_mib=3964,
        free_memory_mib=2792,
        free_disk_mib=20_000,
        power_mode="MAXN",
    ),
)


def _examine(board: LoopbackBoard) -> DeviceReport:
    device = SshDevice(name=board.spec, settings=SshSettings(patience_s=0))
    try:
        return examine_device(device)
    finally:
        device.close()


def test_a_good_board(board: LoopbackBoard) -> None:
    board.set(guess=True)
    report = _examine(board)
    assert report.is_steady
    assert report.facts == {
        "model": "NVIDIA Jetson Nano Developer Kit",
        "L4T": "32.7.4",
        "TensorRT": f"8.2.1 ({board.root}/usr/src/tensorrt/bin/trtexec)",
        "power mode": "MAXN",
        "GPU clock": "922 of 922 MHz, locked",
        "temperatures": "AO-therm 45 °C, CPU-therm 38 °C, GPU-therm 37 °C",
        "memory": "2792 of 3964 MiB free",
        "disk": report.facts["disk"],
        "networks": "fp16, ONNX opset 13",
    }
    assert len(report.reference_ms) == 3
    assert {finding.level for finding in report.findings} <= {"good", "note"}
    assert "steady: 3 runs of the reference network agree within" in report.findings[-1].text
    assert board.wait_until_quiet() == []


def test_a_board_that_swings(board: LoopbackBoard) -> None:
    board.set(guess=True)
    (board.root / "usr/src/tensorrt/bin/trtexec").write_text(
        f"""#!/bin/sh
n=$(cat {board.folder}/n 2>/dev/null || echo 0); echo $((n + 1)) >{board.folder}/n
echo '{{"version": "8.2.1", "guess": true, "slowdown": '$((1 + n))'}}' >{board.folder}/board.json
exec {_stand_in(board)} "$@"
"""
    )
    report = _examine(board)
    assert not report.is_steady
    assert report.findings[-1].text.startswith("not steady: 3 runs of the reference network agree within")


def _stand_in(board: LoopbackBoard) -> str:
    import sys

    from tests.trials.latency.board import loopback

    return f"{sys.executable} {loopback.HERE / 'trtexec_stand_in.py'}"


@pytest.mark.parametrize(
    ("state", "level", "text", "advice"),
    [
        ({"gpu_min_mhz": 76.8}, "problem", "the clocks are not locked", "sudo jetson_clocks"),
        ({"gpu_mhz": 307.2}, "problem", "runs at 307 MHz although locked at 922: it throttles", "cool the board"),
        ({"gpu_mhz": None, "gpu_min_mhz": None}, "note", "does not report its GPU clock", ""),
        (
            {"power_mode": "5W"},
            "note",
            "power mode 5W: latencies are valid for this mode only",
            "sudo nvpmodel -p --verbose",
        ),
        ({"temperatures_c": {"GPU-therm": 82.0}}, "problem", "the board is at 82 °C", "cool it"),
        ({"free_memory_mib": 400.0}, "problem", "only 400 MiB of memory are free", "close the desktop"),
        ({"free_disk_mib": 100.0}, "problem", "only 100 MiB of disk are free", "free some"),
    ],
)
def test_findings_on_a_state(state: dict[str, object], level: str, text: str, advice: str) -> None:
    changed = dataclasses.replace(NANO, state=dataclasses.replace(NANO.state, **state))  # type: ignore[arg-type]
    (finding,) = [finding for finding in _find(changed) if text in finding.text]
    assert finding.level == level
    assert advice in finding.advice


def test_findings_on_the_rest() -> None:
    odd = dataclasses.replace(NANO, has_flock=False, has_timeout=False, desktop=("gnome-shell", "Xorg"), load=3.0)
    texts = [finding.text for finding in _find(odd) if finding.level == "note"]
    assert texts == [
        "a desktop is running (gnome-shell, Xorg): it takes memory and GPU time",
        "the board's CPU is busy (load 3.0)",
        "the board has no flock and no timeout: two measurements may run at once",
    ]


class _Fake:
    """A device that gives what it is told to."""

    name, opset = "fake", 13

    def __init__(self, medians: list[float]) -> None:
        self._medians = iter(medians)

    def identity(self) -> DeviceIdentity:
        return DeviceIdentity(
            kind="cpu", board="chip", backend="runtime 1", precision="fp32", settings={"threads": "1"}
        )

    def measure(self, onnx_path: Path) -> Latency:
        median = next(self._medians)
        if median < 0:
            raise UnstableError("fake swings", hint="hold it")
        return Latency(samples_ms=(median,), device=self.identity())

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("medians", "level", "text"),
    [
        ([1.0, 1.005, 1.0], "good", "steady: 3 runs of the reference network agree within 0.50%"),
        ([1.0, 1.02, 1.0], "note", "fairly steady"),
        ([1.0, 1.2, 1.0], "problem", "not steady"),
        ([1.0, -1.0], "problem", "fake swings"),
    ],
)
def test_other_devices(medians: list[float], level: str, text: str) -> None:
    device: Device = _Fake(medians)
    report = examine_device(device)
    (finding,) = report.findings
    assert finding.level == level
    assert finding.text.startswith(text)
    assert report.facts == {"model": "chip", "runtime": "runtime 1", "threads": "1", "networks": "fp32, ONNX opset 13"}
    assert report.to_dict()["key"] == device.identity().key


def test_a_state_without_anything() -> None:
    assert BoardState(temperatures_c={}).figures() == {}


def test_a_board_that_is_not_there(board: LoopbackBoard) -> None:
    board.stop()
    with pytest.raises(DeviceError, match="board cannot be reached"):
        _examine(board)


def test_a_clock_that_falls_under_load_is_a_problem_and_no_new_reference(board: LoopbackBoard) -> None:
    """Before the load it is locked, and throttled runs agree."""
    board.set(guess=True)
    board.fail(time=["", "throttle", "throttle"])
    report = _examine(board)
    assert not report.is_steady
    texts = [(finding.level, finding.text) for finding in report.findings]
    assert texts[-3][0] == "problem"
    assert texts[-3][1].startswith("under load: the GPU's clock fell from 922 to 307 MHz")
    assert texts[-2] == (
        "note", "no first figure of the reference network was stored: it needs two runs without a fault that agree",
    )  # fmt: skip
    assert not list(board.cache.glob("*/reference"))


def test_one_noisy_run_of_three_is_told_and_the_others_are_the_reference(board: LoopbackBoard) -> None:
    board.set(guess=True)
    board.fail(time=["", "noise", ""])
    report = _examine(board)
    problems = [finding.text for finding in report.findings if finding.level == "problem"]
    assert problems
    assert all(text.startswith("under load: ") for text in problems)
    assert "no first figure" not in "".join(finding.text for finding in report.findings)
    (kept,) = board.cache.glob("*/reference")
    first_ms = float(kept.read_text().split()[1])
    assert first_ms == pytest.approx(report.reference_ms[0], rel=0.01)


def test_a_highest_clock_that_is_not_known() -> None:
    board = dataclasses.replace(NANO, state=dataclasses.replace(NANO.state, gpu_max_mhz=None, gpu_min_mhz=None))
    assert _facts(board)["GPU clock"] == "unknown"
