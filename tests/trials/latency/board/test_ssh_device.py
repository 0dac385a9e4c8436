"""The whole way of a measurement, over OpenSSH on loopback to a stand-in board, and every way it can go wrong."""

import base64
import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spaces import YoloRetError
from tests.conftest import PutUpBoard
from tests.trials.latency.board.loopback import LoopbackBoard
from tests.trials.latency.board.versions import FLAGS
from tests.trials.onnx.detector import write_folder
from trials.data.shapes import ShapesSettings, make_shapes
from trials.latency import DeviceAwayError, DeviceError, Latency, UnstableError, UnusableDeviceError
from trials.latency.board import SshDevice, SshSettings
from trials.latency.board.session import BoardSession
from trials.latency.board.trtexec_command import Timing
from trials.latency.cache import LatencyCache
from trials.onnx import UnsupportedNetworkError
from trials.onnx.export import read_opset
from trials.onnx.quantised import quantise

QUICK = SshSettings(patience_s=0, cooling_s=0, reference_every=100)


def _network(path: Path, *, width: int = 8, opset: int = 11, operator: str = "Relu") -> Path:
    weight = np.random.default_rng(width).standard_normal((width, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["a"], ["out"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, width, 32, 32])
    graph = helper.make_graph(nodes, "g", [images], [out], initializer=[numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def board(board: LoopbackBoard) -> LoopbackBoard:
    """One whose stand-in guesses, where a test does not say otherwise: most are about what goes wrong."""
    board.set(guess=True)
    return board


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return _network(tmp_path / "network.onnx")


@pytest.fixture
def device(board: LoopbackBoard) -> Iterator[SshDevice]:
    opened = SshDevice(name=board.spec, settings=QUICK)
    yield opened
    opened.close()


def _with(board: LoopbackBoard, **settings: object) -> SshDevice:
    return SshDevice(name=board.spec, settings=dataclasses.replace(QUICK, **settings))  # type: ignore[arg-type]


def _kinds(board: LoopbackBoard) -> list[str]:
    """Tell what the stand-in was asked to do: build or time."""
    return ["build" if call["words"][0].startswith("--onnx") else "time" for call in board.calls()]


def _is_clean(board: LoopbackBoard) -> bool:
    assert board.wait_until_quiet() == []
    names = {Path(name).name for name in board.files()}
    return all(name.endswith(".engine") or name in {"timing.cache", "reference", "timed"} for name in names)


def test_a_measurement_and_its_record(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.set(guess=False)
    latency = device.measure(network)
    assert len(latency.samples_ms) == 100  # as the stand-in has them after its warm-up
    assert latency.median_ms > 0
    assert latency.spread < 0.01
    assert latency.device == device.identity()
    assert latency.reference_ms is not None
    assert latency.build_s is not None
    assert latency.throughput_per_s == pytest.approx(1000 / latency.median_ms, rel=0.05)
    assert latency.before == {
        "gpu_mhz": 921.6,
        "temperature_c": 37.0,
        "free_memory_mib": pytest.approx(2792.4, abs=0.1),
    }
    assert latency.after["gpu_mhz"] == 921.6
    assert latency.notes == ()
    assert Latency.from_dict(latency.to_dict()) == latency
    device.close()
    assert _kinds(board) == ["build", "build", "time", "time"]  # the reference first
    assert _is_clean(board)


def test_an_engine_is_built_once(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    first, second = device.measure(network), device.measure(network)
    assert first.engine == second.engine
    assert (first.build_s is None, second.build_s is None) == (False, True)
    device.close()
    other = _with(board)  # another process, another day
    assert other.measure(network).engine == first.engine
    other.close()
    assert _kinds(board) == ["build", "build", "time", "time", "time", "time"]  # of the reference one each


def test_an_engine_is_fetched_whole_and_is_the_one_that_is_timed(
    board: LoopbackBoard, device: SshDevice, network: Path, tmp_path: Path
) -> None:
    device.build_engine(network, tmp_path / "model.engine")
    (kept,) = board.cache.glob("*/*.engine")
    assert (tmp_path / "model.engine").read_bytes() == kept.read_bytes()
    assert device.measure(network).engine == kept.stem
    assert _kinds(board)[0] == "build"
    assert _kinds(board).count("build") == 2  # the other is the reference's
    kept.write_bytes(bytes(range(256)) * 5000)
    device.build_engine(network, tmp_path / "model.engine")
    assert (tmp_path / "model.engine").read_bytes() == kept.read_bytes()
    board._program("base64", "echo Zm9v; exit 0")  # less than the file
    with pytest.raises(DeviceAwayError, match="fetching an engine from board was cut off"):
        device.build_engine(network, tmp_path / "gone.engine")
    board._program("base64", "echo base64: not found >&2; exit 127")
    with pytest.raises(DeviceError, match=r"board cannot send the engine it built: .*not found"):
        device.build_engine(network, tmp_path / "gone.engine")
    assert [path.name for path in tmp_path.glob("*.engine")] == ["model.engine"]


def test_the_program_of_an_export_runs_on_the_board(board: LoopbackBoard, device: SshDevice, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "seen.png").write_bytes(bytes(range(256)))
    script = "import sys, os; print(sorted(os.listdir(sys.argv[1])), sys.argv[2:]); print('careful', file=sys.stderr)\n"
    (folder / "run.py").write_text(script)
    said = device.run_export(folder, ["--out", "", "--score", "0.5"])
    assert "['run.py', 'seen.png'] ['--out', '', '--score', '0.5']" in said.splitlines()
    for last, reason in (
        ("import numpy", "the board's python3 has no numpy"),
        ("sys.exit('no GPU')", "run.py ended with status 1 on the board: no GPU"),
    ):
        (folder / "run.py").write_text(script + last)
        with pytest.raises(DeviceError, match=f"^{re.escape(reason)}$"):
            device.run_export(folder, [])
    (board.root / "bin/python3").write_text("#!/bin/sh\necho 'python3: not found' >&2; exit 127\n")
    with pytest.raises(DeviceError, match="status 127 on the board: python3: not found"):
        device.run_export(folder, [])
    device.close()
    assert _is_clean(board)


def test_a_quantised_file_is_built_in_int8(board: LoopbackBoard, device: SshDevice, tmp_path: Path) -> None:
    write_folder(tmp_path)
    samples = make_shapes(ShapesSettings(num_train=2, num_val=1, size=64)).splits["train"]
    quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", samples, input_hw=(64, 64))
    board.set(guess=False)
    for name in ("model.onnx", "int8.onnx"):
        device.build_engine(tmp_path / name, tmp_path / "an.engine")
    assert [("--fp16" in call["words"], "--int8" in call["words"]) for call in board.calls()] == [
        (True, False),
        (True, True),
    ]


def test_two_builds_are_told_apart_and_agree(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(build=["ms:1", "ms:5", "ms:1", "ms:9"])  # of the reference and the network, twice
    first = device.measure(network)
    for engine in board.cache.glob("*/*.engine"):
        engine.unlink()
    second = device.measure(network)
    assert first.engine != second.engine
    assert second.build_s is not None
    given = [word for call in board.calls() for word in call["words"] if word.startswith("--timingCacheFile=")]
    assert [Path(word).name for word in given] == ["timing.cache"] * 4
    assert [path.name for path in board.cache.glob("*/timing.cache")] == ["timing.cache"]
    assert first.median_ms == pytest.approx(5, rel=0.01)
    assert second.samples_ms == first.samples_ms  # the timing cache keeps the choices


def test_each_network_has_the_figure_of_its_own_engine(board: LoopbackBoard, device: SshDevice, tmp_path: Path) -> None:
    board.fail(build=["ms:1", "ms:6", "ms:2"])  # the reference first
    large, small = (_network(tmp_path / f"{width}.onnx", width=width) for width in (512, 4))
    found = [device.measure(network).median_ms for network in (large, small, large)]
    assert found == pytest.approx([6, 2, 6], rel=0.01)


@pytest.mark.parametrize(
    "version", [v if v in ("7.1.3", "11.2.1") else pytest.param(v, marks=pytest.mark.slow) for v in FLAGS]
)
def test_every_version(put_up_board: PutUpBoard, version: str, tmp_path: Path) -> None:
    board = put_up_board(version=version, guess=version != "11.2.1")
    device = SshDevice(name=board.spec, config=board.config, settings=QUICK)
    network = _network(tmp_path / "n.onnx", opset=device.opset)
    assert read_opset(network) == {"7.1.3": 11, "8.0.1": 13, "8.2.1": 13}.get(version, 17)
    latency = device.measure(network)
    assert latency.device.backend == f"TensorRT {version}"
    assert len(latency.samples_ms) == 100
    device.close()
    assert _is_clean(board)


def test_the_reference_is_timed_every_few_measurements(board: LoopbackBoard, network: Path) -> None:
    device = _with(board, reference_every=2)
    for _ in range(5):
        device.measure(network)
    device.close()
    assert _kinds(board)[2:] == ["time"] * 8  # the reference with the first, third and fifth


def test_without_a_times_file_the_summary_counts(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(time=["", "no_times"])
    latency = device.measure(network)
    assert len(latency.samples_ms) == 1
    assert latency.notes == ("no times file: only trtexec's own median is known",)


def test_the_cache_keeps_a_measurement(board: LoopbackBoard, device: SshDevice, network: Path, tmp_path: Path) -> None:
    cache = LatencyCache(tmp_path / "cache.sqlite")
    first, was_known = cache.measure(device, network)
    assert not was_known
    assert cache.measure(device, network) == (first, True)
    board.power("5W")
    other = _with(board)
    assert cache.get(network, other.identity()) is None
    assert other.identity().differences(device.identity()) == ["power mode: MAXN → 5W"]
    other.close()


# ---- what TensorRT refuses ----


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("operator", UnsupportedNetworkError, "this TensorRT has no operator Frobnicate"),
        ("killed!", DeviceError, "the kernel killed trtexec"),
        pytest.param("oom!", DeviceError, r"ran out of GPU memory \(3707 MiB requested\)", marks=pytest.mark.slow),
        pytest.param("garbage!", DeviceError, "the output is not trtexec", marks=pytest.mark.slow),
        pytest.param("disk_full!", UnusableDeviceError, "the disk of board is full", marks=pytest.mark.slow),
    ],
)
def test_builds_that_fail_for_good(
    board: LoopbackBoard, device: SshDevice, network: Path, fault: str, error: type[YoloRetError], words: str
) -> None:
    device.measure(network)
    other = _network(network.with_name("other.onnx"), width=9)
    board.fail(build=[fault])
    with pytest.raises(error, match=words) as caught:
        device.measure(other)
    assert not isinstance(caught.value, DeviceAwayError)
    board.fail()
    assert device.measure(other).median_ms > 0  # and the next one is none the worse
    device.close()
    assert _is_clean(board)


@pytest.mark.parametrize("fault", ["killed", pytest.param("oom", marks=pytest.mark.slow)])
def test_a_build_short_of_memory_is_tried_with_less(
    board: LoopbackBoard, device: SshDevice, network: Path, fault: str
) -> None:
    board.fail(build=["", fault])
    latency = device.measure(network)
    assert "built with 247 MiB of workspace after" in latency.notes[0]


def test_a_full_disk_is_emptied_of_engines(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    device.measure(network)
    board.fail(build=["disk_full"])
    device.measure(_network(network.with_name("other.onnx"), width=9))
    device.close()
    assert _is_clean(board)
    assert len(list(board.cache.glob("*/*.engine"))) == 2  # this one and the reference, built again


def test_an_engine_that_cannot_be_kept_for_another_reason_costs_no_other(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    device.measure(network)
    kept = {path.name for path in board.cache.glob("*/*.engine")}
    only_engines = 'case $1 in *.engine) echo "mv: {} $1" >&2; exit 1 ;; esac; exec /bin/mv "$@"'
    board._program("mv", only_engines.format("No such file or directory"))
    with pytest.raises(DeviceAwayError, match="keeping an engine on board failed: mv: No such file or directory"):
        device.measure(_network(network.with_name("other.onnx"), width=9))
    assert {path.name for path in board.cache.glob("*/*.engine")} == kept
    board._program("mv", only_engines.format("Disk quota exceeded"))
    with pytest.raises(UnusableDeviceError, match="the disk of board is full"):
        device.measure(_network(network.with_name("other.onnx"), width=9))


def test_a_cache_that_may_not_be_written_is_told_at_once(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    board._program("mv", 'case $1 in *.engine) echo "mv: Read-only file system" >&2; exit 1 ;; esac; exec /bin/mv "$@"')
    with pytest.raises(DeviceError, match="keeping an engine on board failed: mv: Read-only file system") as caught:
        device.measure(network)
    assert not isinstance(caught.value, DeviceAwayError)
    assert "yoloret-nas there is on a disk that your account may write to" in caught.value.hint
    assert _kinds(board) == ["build"]  # not built again and again


def test_a_network_whose_weights_lie_in_another_file_is_measured(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    """As PyTorch's exporter writes it by default."""
    board.set(holds_network=True)
    apart = network.with_name("apart.onnx")
    onnx.save(onnx.load(str(network)), str(apart), save_as_external_data=True, location="apart.data", size_threshold=0)
    (engine,) = board.cache.glob(f"*/{device.measure(apart).engine}.engine")
    built = onnx.load_from_string(base64.b64decode(json.loads(engine.read_text())["network"]))
    weights = [numpy_helper.to_array(model.graph.initializer[0]) for model in (built, onnx.load(str(network)))]
    np.testing.assert_array_equal(*weights)
    network.with_name("apart.data").unlink()
    with pytest.raises(UnsupportedNetworkError, match=r"apart\.onnx names weights in a file that cannot be read"):
        device.measure(apart)


def test_a_network_that_is_no_cuda_graph_is_noted(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(time=["", "no_graph"])
    (note,) = device.measure(network).notes
    assert note == "the network could not be recorded as a CUDA graph: launching its kernels is part of the figure"


def test_many_short_commands_keep_the_heart_beating(
    monkeypatch: pytest.MonkeyPatch, device: SshDevice, network: Path
) -> None:
    """Each ends before the next beat is due, and the board gives a session up after missing four."""
    beats: list[int] = []
    beat = device._host.beat

    def counted() -> None:
        beats.append(len(device._host._running))
        beat()

    monkeypatch.setattr(device._host, "beat", counted)
    device.measure(network)
    assert len(beats) >= 5
    assert max(beats) >= 2  # the session's, too


def test_skipped_tactics_are_noted(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(build=["", "low_memory"])
    assert device.measure(network).notes == (
        "1 tactics were skipped for lack of memory: the engine may be slower than necessary",
    )


def test_operators_are_checked_before_the_board_is_asked(
    board: LoopbackBoard, device: SshDevice, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"TensorRT 8.2.1 has no operator Shrink"):
        device.measure(_network(tmp_path / "n.onnx", operator="Shrink"))
    with pytest.raises(UnsupportedNetworkError, match=r"in opset 17, TensorRT 8.2.1 reads up to 13"):
        device.measure(_network(tmp_path / "n.onnx", opset=17))
    assert board.calls() == []


@pytest.mark.parametrize("fault", ["garbage", pytest.param("truncated", marks=pytest.mark.slow)])
def test_a_run_without_sense_is_repeated(board: LoopbackBoard, device: SshDevice, network: Path, fault: str) -> None:
    board.fail(time=["", fault])
    assert len(device.measure(network).samples_ms) == 100


@pytest.mark.slow
def test_a_run_cut_short_gives_no_number(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(time=["", "truncated!"])
    with pytest.raises(DeviceError, match="output is cut off after"):
        device.measure(network)


@pytest.mark.slow
def test_a_kept_engine_that_does_not_load_is_built_again(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    first = device.measure(network)
    (board.cache / device.identity().key / f"{first.engine}.engine").write_text('{"version": "8.0.1"}')
    second = device.measure(network)
    assert second.engine != first.engine
    assert second.build_s is not None
    assert not (board.cache / device.identity().key / f"{first.engine}.engine").exists()


def test_a_reference_that_does_not_load_is_built_again(board: LoopbackBoard, network: Path) -> None:
    """As a power cut may leave it."""
    device = _with(board, reference_every=1)
    device.measure(network)
    kept = board.cache / device.identity().key
    engine = (kept / "reference").read_text().split()[0]
    (kept / engine).write_text("")
    assert device.measure(network).median_ms > 0
    again = (kept / "reference").read_text().split()[0]
    assert again != engine
    assert not (kept / engine).exists()
    device.close()


def test_a_disk_without_room_for_a_session_is_emptied_of_engines(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    device.measure(network)
    (mktemp := board.root / "bin" / "mktemp").write_text(
        f'#!/bin/sh\nls {board.cache}/*/*.engine >/dev/null 2>&1 && exit 1\nexec /usr/bin/mktemp "$@"\n'
    )
    mktemp.chmod(0o755)
    latency = device.measure(network)
    assert latency.build_s is not None
    mktemp.unlink()


def test_the_caches_stay_within_their_bound(board: LoopbackBoard, network: Path) -> None:
    device = _with(board, cache_mib=1)
    device.measure(network)
    kept = board.cache / device.identity().key
    for number in range(4):
        (kept / f"{number:016d}-00000000.engine").write_bytes(bytes(400 * 1024))
        os.utime(kept / f"{number:016d}-00000000.engine", (1000 + number, 1000 + number))
    device.measure(_network(network.with_name("other.onnx"), width=9))
    device.close()
    assert board.wait_until_quiet() == []
    left = sorted(path.name for path in kept.glob("0*.engine"))
    assert left == ["0000000000000002-00000000.engine", "0000000000000003-00000000.engine"]


def test_an_engine_beyond_the_bound_is_timed_before_it_is_deleted(board: LoopbackBoard, network: Path) -> None:
    device = _with(board, cache_mib=0)
    assert device.measure(network).build_s is not None
    device.close()
    assert board.wait_until_quiet() == []
    assert not list(board.cache.glob("*/*.engine"))


def test_an_engine_that_does_not_fit_takes_no_other_s_place(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    board.fail()
    known = device.measure(network)
    large = board.cache / device.identity().key / "large.engine"
    large.write_bytes(bytes(2**20 + 1))
    os.utime(large, (2e9, 2e9))  # the newest
    device.close()
    again = _with(board, cache_mib=1)
    assert again.measure(network).engine == known.engine
    again.close()
    assert board.wait_until_quiet() == []
    assert not large.exists()
    assert len(list(large.parent.glob("*.engine"))) == 2  # the network's and the reference's


# ---- what is not steady ----


def test_drift_is_measured_again(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(time=["", "drift"])
    latency = device.measure(network)
    (note,) = latency.notes
    assert note.startswith("measured again, since it ran ")
    assert "slower at the end of the run" in note


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("drift!", "slower at the end of the run"),
        pytest.param("noise!", r"passes vary by \d+.\d% \(at most 5%\)", marks=pytest.mark.slow),
    ],
)
def test_what_stays_unsteady_is_refused(
    board: LoopbackBoard, device: SshDevice, network: Path, fault: str, words: str
) -> None:
    board.fail(time=["", fault, fault, fault, fault, fault])
    with pytest.raises(UnstableError, match=rf"gave no steady figure in 3 runs: .*{words}"):
        device.measure(network)
    device.close()
    assert _is_clean(board)


def test_throttling_is_refused(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(time=["", "throttle"])
    with pytest.raises(UnstableError, match="the GPU's clock fell from 922 to 307 MHz at 37 °C") as caught:
        device.measure(network)
    assert "cool the board" in caught.value.hint


def test_a_throttled_run_is_no_first_figure_of_the_reference(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    board.fail(time=["throttle"])
    once = _with(board, num_attempts=1)
    with (
        contextlib.closing(once),
        pytest.raises(UnstableError, match="of the reference network, the GPU's clock fell from 922 to 307 MHz"),
    ):
        once.measure(network)
    assert not list(board.cache.glob("*/reference"))
    board.clock(921.6)  # it has cooled
    assert device.measure(network).notes == ()


def test_a_noisy_run_of_the_reference_is_no_first_figure_and_no_reason_to_refuse(
    board: LoopbackBoard, device: SshDevice, network: Path
) -> None:
    board.fail(time=["noise"])
    assert device.measure(network).notes == ()  # timed once more, it was steady
    assert list(board.cache.glob("*/reference"))
    for kept in board.cache.glob("*/reference"):
        kept.unlink()
    board.fail(time=["noise", "noise"])
    latency = device.measure(network)
    assert latency.reference_ms is None
    (note,) = latency.notes
    assert note.startswith("no first figure of the reference: passes vary by")
    assert not list(board.cache.glob("*/reference"))


@pytest.mark.parametrize(("status", "seconds", "told"), [(143, 40, 124), (137, 40, 124), (124, 40, 124), (143, 3, 143)])
def test_a_limit_is_one_whatever_keeps_it(status: int, seconds: int, told: int) -> None:
    """GNU's timeout gives 124, busybox's the status of the signal, and so does the shell where there is none."""

    class Host:
        def run(self, script: str, nonce: str, *words: str, **_: object) -> SimpleNamespace:
            parts = {"before": "", "log": "out of memory", "after": "", "times": "", "end": f"{status} {seconds}"}
            return SimpleNamespace(stdout="".join(f"@{nonce} {name}\n{text}\n" for name, text in parts.items()))

    session = BoardSession(
        host=cast(Any, Host()), folder="f", work="/w", engines=[], reference=None, num_since_reference=0
    )
    assert session.run(["trtexec"], what="building", limit_s=40).exit_status == told


def test_a_board_that_became_slower_is_refused(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    device.measure(network)
    board.set(slowdown=1.2)
    other = _with(board, reference_every=1)
    with pytest.raises(UnstableError, match=r"the reference network takes \d.\d+ ms on this board, at first it took"):
        other.measure(network)
    with pytest.raises(UnstableError, match="the reference network takes"):
        device.measure(network)  # though it times the reference with every fifth measurement only
    other.close()
    board.set(slowdown=1.0)
    assert device.measure(network).median_ms > 0


def test_an_unlocked_clock_is_noted(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.clock(76.8, low=76.8, high=921.6)
    latency = device.measure(network)
    assert latency.notes == ("the GPU's clock was not locked",)
    assert latency.device.settings["GPU clock"] == "free up to 922 MHz"


def test_a_power_mode_that_changes_meanwhile(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    device.identity()
    board.power("5W")
    with pytest.raises(UnusableDeviceError, match="changed while it was in use: power mode: MAXN → 5W"):
        device.measure(network)


# ---- what breaks ----


def test_a_connection_cut_in_the_middle_of_a_build(board: LoopbackBoard, network: Path) -> None:
    board.fail(build=["", "cut"])
    device = _with(board, patience_s=60)
    assert device.measure(network).median_ms > 0
    device.close()
    assert _is_clean(board)


def test_a_board_that_is_away_for_a_while(board: LoopbackBoard, network: Path) -> None:
    device = _with(board, patience_s=60)
    device.identity()
    board.stop()
    threading.Timer(2.0, board.start).start()
    assert device.measure(network).median_ms > 0
    device.close()
    assert _is_clean(board)


def test_a_board_that_stays_away(board: LoopbackBoard, network: Path) -> None:
    device = _with(board, patience_s=2)
    device.identity()
    board.stop()
    with pytest.raises(DeviceAwayError, match=r"board cannot be reached.*attempts in"):
        device.measure(network)
    device.close()


@pytest.mark.parametrize("fault", ["hang", pytest.param("stubborn", marks=pytest.mark.slow)])
def test_a_build_that_exceeds_its_time(board: LoopbackBoard, network: Path, fault: str) -> None:
    device = _with(board, build_limit_s=2)
    device.measure(network)
    board.fail(build=[fault])
    with pytest.raises(DeviceError, match="building the engine: trtexec did not end within 2 s") as caught:
        device.measure(_network(network.with_name("other.onnx"), width=9))
    assert "ssh://nano?build_limit_s=4" in caught.value.hint
    device.close()
    assert _is_clean(board)


def test_a_killed_client_leaves_the_board_free(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    device.measure(network)
    device.close()
    board.fail(build=["hang"])
    other = _network(network.with_name("other.onnx"), width=9)
    program = (
        "import sys; from pathlib import Path; from trials.latency.open_device import open_device\n"
        f"open_device({board.spec!r}).measure(Path({str(other)!r}))"
    )
    client = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": _ROOT})
    _wait_for_process(board, "trtexec_stand_in.py --onnx")
    client.kill()
    client.wait()
    assert board.wait_until_quiet(10) == []
    assert _is_clean(board)
    board.fail()
    assert device.measure(other).median_ms > 0
    device.close()


@pytest.mark.slow
def test_a_client_that_falls_silent_is_given_up(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    board.fail(build=["hang"])
    program = (
        "from pathlib import Path; from trials.latency.open_device import open_device\n"
        f"open_device({board.spec!r}).measure(Path({str(network)!r}))"
    )
    client = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": _ROOT})
    _wait_for_process(board, "trtexec_stand_in.py --onnx")
    client.send_signal(signal.SIGSTOP)  # as a sleeping laptop, or a network that drops every packet
    until = time.monotonic() + 75
    while any("trtexec_stand_in" in line for line in board.processes()) and time.monotonic() < until:
        time.sleep(0.5)
    board.fail()
    assert device.measure(network).median_ms > 0
    client.kill()
    client.wait()
    device.close()
    assert _is_clean(board)


def test_one_board_is_one_queue(board: LoopbackBoard, tmp_path: Path) -> None:
    networks = [_network(tmp_path / f"{width}.onnx", width=width) for width in (8, 9, 10)]
    board.fail(build=["sleep:0.3"] * 4, time=["sleep:0.2"] * 4)
    found: list[Latency] = []

    def measure(path: Path) -> None:
        own = _with(board)
        found.append(own.measure(path))
        own.close()

    threads = [threading.Thread(target=measure, args=(path,)) for path in networks]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(
            most, len({line for line in board.processes() if "trtexec_stand_in" in line and "--help" not in line})
        )
        time.sleep(0.02)
    assert len(found) == 3
    assert most <= 3  # a shell, timeout and the stand-in: of one run
    spans = sorted((call["began"], call["ended"]) for call in board.calls())
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    assert _is_clean(board)


@pytest.mark.slow
def test_a_board_in_others_use_is_waited_for_only_so_long(board: LoopbackBoard, network: Path) -> None:
    board.fail(build=["sleep:3"])
    holder = _with(board)
    thread = threading.Thread(target=holder.measure, args=(network,))
    thread.start()
    _wait_for_process(board, "trtexec_stand_in.py --onnx")
    late = _with(board, queue_limit_s=1)
    with pytest.raises(
        DeviceAwayError, match=r"board has been in use by .*, process \d+ for longer than queue_limit_s"
    ):
        late.measure(network)
    late.close()
    thread.join()
    holder.close()


@pytest.mark.parametrize("breaks_after_s", [7200, 3000, 7000])  # the queue's own end, or a connection that breaks in it
def test_retries_do_not_multiply_the_wait_in_the_queue(
    board: LoopbackBoard, network: Path, monkeypatch: pytest.MonkeyPatch, breaks_after_s: float
) -> None:
    now_s, limits_s, began = [0.0], [], time.monotonic()

    @contextlib.contextmanager
    def wait_in_vain(host: object, folder: str, *, queue_limit_s: float, cache_mib: int) -> Iterator[None]:
        limits_s.append(queue_limit_s)
        now_s[0] += min(queue_limit_s, breaks_after_s)
        raise DeviceAwayError("in use")
        yield

    monkeypatch.setattr("trials.latency.board.ssh_device.open_session", wait_in_vain)
    monkeypatch.setattr("trials.latency.retry._FIRST_PAUSE_S", 1e-3)
    device = dataclasses.replace(
        _with(board, patience_s=1e-3), clock=lambda: now_s[0] + time.monotonic() - began
    )  # pauses pass, too
    with pytest.raises(DeviceAwayError, match=r"in use \(4 attempts in 7200 s\)"):
        device.measure(network)
    assert limits_s == pytest.approx([max(0.0, 7200 - breaks_after_s * attempt) for attempt in range(4)], abs=5.0)
    device.close()


def test_a_queue_without_a_wait_is_left_at_once(board: LoopbackBoard, network: Path) -> None:
    """For the board's `timeout`, 0 seconds would be no limit."""
    with (board.root / "tmp" / "yoloret-nas.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        device = _with(board, queue_limit_s=0)
        with pytest.raises(DeviceAwayError, match="board has been in use by someone else"):
            device.measure(network)
        device.close()


def test_a_board_without_flock_is_told(board: LoopbackBoard, network: Path) -> None:
    (board.folder / "session.sh").write_text(
        (board.folder / "session.sh")
        .read_text()
        .replace(f"PATH={board.root}/bin:$PATH", f"PATH={_path_without(board, 'flock')}")
    )
    device = _with(board)
    assert device.measure(network).notes == ("the board has no flock: others may measure at the same time",)
    device.close()
    assert _is_clean(board)


def test_a_home_that_cannot_be_written(board: LoopbackBoard, device: SshDevice, network: Path) -> None:
    (board.home / ".cache").write_text("a file in its place")
    with pytest.raises(DeviceError, match="cannot write to"):
        device.measure(network)


def test_names_with_anything_in_them(board: LoopbackBoard, device: SshDevice, tmp_path: Path) -> None:
    path = _network(tmp_path / "$(touch pwned) 'x'\n.onnx")
    assert device.measure(path).median_ms > 0
    device.close()
    assert not list(board.folder.rglob("pwned"))


@pytest.mark.slow
def test_twenty_measurements_with_a_fifth_of_all_calls_failing(board: LoopbackBoard, tmp_path: Path) -> None:
    board.fail(failing=0.2)
    for width in range(1, 21):
        device = _with(board, patience_s=300)
        assert device.measure(_network(tmp_path / f"{width}.onnx", width=width)).median_ms > 0
        device.close()
    assert (board.folder / "failures.txt").read_text().count("\n") > 10
    assert _is_clean(board)


@pytest.mark.slow
def test_a_board_that_is_away_for_a_minute(board: LoopbackBoard, network: Path) -> None:
    device = _with(board, patience_s=300)
    device.identity()
    board.stop()
    threading.Timer(60.0, board.start).start()
    assert device.measure(network).median_ms > 0
    device.close()


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="times and bounds are at least 0"):
        SshSettings(patience_s=-1)
    with pytest.raises(ValueError, match="at least 1"):
        SshSettings(num_attempts=0)
    assert SshSettings().timing == Timing(warm_up_ms=1000, duration_s=5, iterations=100)


@pytest.mark.jetson
def test_a_real_board(tmp_path: Path) -> None:
    spec = os.environ.get("YOLORET_NAS_JETSON")
    if not spec:
        pytest.skip("set YOLORET_NAS_JETSON=ssh://… to a board")
    device = SshDevice(name=spec)
    network = _network(tmp_path / "n.onnx", width=64, opset=device.opset)
    first, second = device.measure(network), device.measure(network)
    device.close()
    assert first.engine == second.engine
    assert abs(first.median_ms / second.median_ms - 1) < 0.01


_ROOT = str(Path(__file__).parents[4])


def _wait_for_process(board: LoopbackBoard, words: str) -> None:
    until = time.monotonic() + 20
    while not any(words in line for line in board.processes()):
        assert time.monotonic() < until, "it never ran"
        time.sleep(0.02)


def _path_without(board: LoopbackBoard, program: str) -> Path:
    """A folder of links to all programs but one."""
    folder = board.folder / "programs"
    folder.mkdir()
    for source in (Path("/usr/bin"), Path("/bin"), board.root / "bin"):
        for path in source.iterdir():
            link = folder / path.name
            if path.name != program and not link.is_symlink():
                link.symlink_to(path)
    return folder
