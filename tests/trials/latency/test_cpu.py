"""The CPU as a device, with a clock of the test's own: what it reports, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from trials.latency import DeviceError, DeviceIdentity, UnknownDeviceError, UnstableError
from trials.latency.cpu import CpuDevice, load_in_onnxruntime
from trials.latency.open_device import open_device
from trials.latency.reference_network import write_reference


class Clock:
    """Advances by a millisecond times a factor each time it is read; a timed pass reads it at both ends."""

    def __init__(self, factors: "list[float]", *, reads_each: int) -> None:
        self._factors, self._reads_each = factors, reads_each
        self._now_s, self._num_read = 0.0, 0

    def __call__(self) -> float:
        factor = self._factors[min(self._num_read // self._reads_each, len(self._factors) - 1)]
        self._num_read += 1
        self._now_s += 1e-3 * factor
        return self._now_s


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write_reference(path)
    return path


def write_relu(path: Path, shape: list[int | str], *, opset: int = 13, name: str = "Relu") -> Path:
    value = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node(name, ["images"], ["out"])], "one", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, str(path))
    return path


def test_a_steady_machine_gives_its_median_without_a_note(model: Path) -> None:
    latency = CpuDevice(clock=Clock([1.0], reads_each=1)).measure(model)
    assert latency.median_ms == pytest.approx(1.0)
    assert latency.spread == pytest.approx(0.0, abs=1e-6)
    assert latency.reference_ms == pytest.approx(1.0)
    assert latency.notes == ()
    assert latency.device.kind == "cpu"
    assert latency.device.settings == {"threads": "1"}
    assert latency.device.backend.startswith("ONNX Runtime ")
    assert latency.device.board
    assert latency.seconds > 0


@pytest.mark.parametrize("reads_each", [50, 60, 70])
def test_slow_moments_within_rounds_do_not_count(model: Path, reads_each: int) -> None:
    """A third of the time, for longer than a turn and less than a round, as a busy neighbour does."""
    latency = CpuDevice(clock=Clock([1.0, 1.0, 1.3] * 100, reads_each=reads_each)).measure(model)
    (note,) = latency.notes
    assert note.startswith("reference moved by ")
    assert latency.reference_ms == pytest.approx(1.0)
    assert latency.percentile_ms(99) == pytest.approx(1.0)
    assert len(latency.samples_ms) >= 20


@pytest.mark.parametrize(("warm_ms", "cold_ms", "kept"), [(1.0, 3.0, 1.0), (20.0, 23.0, 23.0)])
def test_what_the_networks_do_to_each_other_in_the_caches_does_not_count(
    warm_ms: float, cold_ms: float, kept: float
) -> None:
    """Each takes longer right after the other; a large network has no other passes."""
    now_s, last = 0.0, ""

    def run(name: str, warm: float, cold: float) -> None:
        nonlocal now_s, last
        now_s, last = now_s + (warm if last == name else cold) / 1e3, name

    turns = CpuDevice(clock=lambda: now_s)._time_round(
        lambda: run("candidate", warm_ms, cold_ms), lambda: run("reference", 0.1, 0.2)
    )
    assert len(turns) >= 3
    assert {round(sample, 6) for turn in turns for sample in turn.samples_ms} == {kept}
    assert {round(turn.reference_ms, 6) for turn in turns} == {0.1}


def test_a_restless_machine_is_refused_with_what_moved(model: Path) -> None:
    factors = np.random.default_rng(0).lognormal(0, 1, 400).tolist()
    with pytest.raises(
        UnstableError, match=r"no steady figure for model.onnx in 120 rounds: its median is known to \d+% only"
    ) as caught:
        CpuDevice(clock=Clock(factors, reads_each=60)).measure(model)
    assert "the reference moved by" in caught.value.message
    assert "stop other work" in caught.value.hint


def test_a_machine_that_calms_down_is_measured_once_it_has(model: Path) -> None:
    """Busy for a few passes at a time, so that those of the reference say nothing of those between them."""
    busy = (1 + np.random.default_rng(0).lognormal(0, 2, 400)).tolist()  # no pass is faster than on the quiet machine
    latency = CpuDevice(clock=Clock([*busy, 1.0], reads_each=3)).measure(model)
    assert latency.median_ms == pytest.approx(1.0, rel=0.05)


def test_the_same_machine_is_the_same_device_to_another_process() -> None:
    program = "from trials.latency.cpu import CpuDevice; print(CpuDevice().identity().key)"
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONHASHSEED": "12"},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == CpuDevice().identity().key
    assert CpuDevice().opset == 13


def test_an_identity_keeps_its_key() -> None:
    """Latency caches and studies hold it: with another one each would be of a device that has changed."""
    identity = DeviceIdentity(kind="cpu", board="x", backend="y 1.0", precision="fp32", settings={"threads": "1"})
    assert identity.key == "303e812c859868d8"


def test_threads_are_part_of_the_device_s_name_and_identity() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    two = open_device("cpu:threads=2")
    assert two.name == "cpu:threads=2"
    assert two.identity().differences(CpuDevice().identity()) == ["threads: 1 → 2"]
    assert open_device("cpu:threads=1").name == open_device("cpu").name == "cpu"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_is_timed_on_the_threads_that_its_identity_tells(
    model: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    if len(os.sched_getaffinity(0)) < threads:
        pytest.skip("one core only")
    opened: list[onnxruntime.SessionOptions] = []
    session = onnxruntime.InferenceSession

    def open_session(path: str, options: onnxruntime.SessionOptions, **rest: object) -> object:
        opened.append(options)
        return session(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    device = CpuDevice(threads=threads, clock=Clock([1.0], reads_each=1))
    device.measure(model)
    assert device.identity().settings["threads"] == str(threads)
    assert len(opened) == 2  # and the reference network, in turn
    assert {(one.intra_op_num_threads, one.inter_op_num_threads) for one in opened} == {(threads, 1)}


@pytest.mark.parametrize("threads", [0, 99_999])
def test_threads_that_are_not_there_are_refused(threads: int) -> None:
    with pytest.raises(UnknownDeviceError, match=f"{threads} threads requested, this process may use") as caught:
        open_device(f"cpu:threads={threads}")
    assert "cpu:threads=1" in caught.value.hint


@pytest.mark.parametrize("spec", ["", "CPU", "cpu:", "cpu:threads=two", "gpu", "cuda:0:1", "tpu"])
def test_other_texts_name_no_device(spec: str) -> None:
    with pytest.raises(UnknownDeviceError, match="is unknown") as caught:
        open_device(spec)
    assert "use cpu" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"not a network", None])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeviceError, match=r"ONNX Runtime cannot run bad.onnx"):
        CpuDevice().measure(path)


def test_an_operator_that_the_runtime_has_not_is_refused(tmp_path: Path) -> None:
    path = write_relu(tmp_path / "odd.onnx", [1, 3, 8, 8], name="FrobnicateImage")
    with pytest.raises(DeviceError, match=r"ONNX Runtime cannot run odd.onnx.*FrobnicateImage"):
        CpuDevice().measure(path)


@pytest.mark.parametrize("shape", [["batch", 3, 8, 8], [1, 3, "h", "w"]])
def test_a_dynamic_shape_is_refused(tmp_path: Path, shape: list[int | str]) -> None:
    path = write_relu(tmp_path / "dynamic.onnx", shape)
    with pytest.raises(DeviceError, match=r"input images has shape .* only static shapes can be timed"):
        CpuDevice().measure(path)


def test_a_file_that_onnx_runtime_cannot_read_or_run_is_a_devices_error(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    for content in (b"", b"garbage", b"\x08\x08\x12\x00"):
        path.write_bytes(content)
        with pytest.raises(DeviceError, match=r"ONNX Runtime cannot run a\.onnx"):
            load_in_onnxruntime(path, 1)
    for shape in ([1, 3, 0, 4], [1, 3, 2**15, 2**15]):
        write_relu(path, shape)  # type: ignore[arg-type]
        with pytest.raises(DeviceError, match=r"only static shapes|more than 67,108,864 values"):
            load_in_onnxruntime(path, 1)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "i"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [helper.make_tensor("i", TensorProto.INT64, [1], [99])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    with pytest.raises(DeviceError, match=r"ONNX Runtime cannot run a\.onnx"):
        load_in_onnxruntime(path, 1)()
