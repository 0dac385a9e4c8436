"""The device on a local GPU: its build half under the real TensorRT for RTX, the rest under a stand-in for a GPU."""

import gc
import hashlib
import json
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from spaces.presets import PRESETS
from tests.trials.latency.cuda_stand_in import ScriptedGpus, scripted_tensorrt
from tests.trials.onnx.detector import write_folder
from tests.trials.onnx.tensorrt_stand_in import Memory, tensorrt_stand_in
from trials.latency import DeviceError, UnknownDeviceError, UnstableError, UnusableDeviceError
from trials.latency.cuda import CudaDevice
from trials.latency.cuda import device as device_module
from trials.latency.cuda.engine import Engine, TensorRT, build_engine, find_tensorrt, parse_network
from trials.latency.cuda.passes import Passes, _capture
from trials.latency.device import EngineBuilder
from trials.latency.doctor import examine_device
from trials.latency.open_device import open_device
from trials.latency.reference_network import write_reference
from trials.onnx import TensorRTVersion, UnsupportedNetworkError, run
from trials.onnx.export import export_for_timing
from trials.onnx.half_precision import write_half


class _Runner:
    """A scripted engine: each pass takes a given time with some noise."""

    def __init__(
        self, milliseconds: float, *, noise: float = 0.001, is_graph: bool = True, settles: bool = True
    ) -> None:
        self.is_graph, self.is_warmed_up, self._settles = is_graph, False, settles
        self._rng, self._milliseconds, self._noise = np.random.default_rng(0), milliseconds, noise

    def warm_up(self) -> bool:
        self.is_warmed_up = True
        return self._settles

    def run_for(self, seconds: float) -> list[float]:
        return (self._milliseconds * self._rng.lognormal(0, self._noise) * np.ones(10)).tolist()


def _device(monkeypatch: pytest.MonkeyPatch, gpus: ScriptedGpus, **runner: Any) -> CudaDevice:
    gpus.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    return CudaDevice(load=lambda tensorrt, plan, gpu: _Runner(**{"milliseconds": 2.0, **runner}))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    write_reference(tmp_path / "reference.onnx")
    return tmp_path / "reference.onnx"


def test_a_measurement_carries_what_it_depends_on(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    latency = _device(monkeypatch, ScriptedGpus()).measure(reference)
    assert latency.median_ms == pytest.approx(2.0, rel=0.01)
    assert str(latency.device) == (
        "NVIDIA Stand-in · TensorRT 10.13.2 · fp16, driver 580.1, power limit 220 W, clock free"
    )
    assert latency.is_reference_in_turn
    assert latency.before == {"gpu_mhz": 1900, "memory_mhz": 1900, "temperature_c": 55, "power_w": 150.0}
    assert latency.notes == ()


def test_the_program_of_an_export_runs_in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device, memory = _device(monkeypatch, ScriptedGpus()), Memory()
    monkeypatch.setattr(run, "Cuda", lambda: memory)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in(memory, is_new=True, says=[]))
    write_folder(tmp_path)
    run.write_image(str(tmp_path / "0.png"), np.full((64, 64, 3), 255, np.uint8))
    options = ["--backend", "tensorrt", "--out", ""]
    (line,) = device.run_export(tmp_path, options).splitlines()
    assert [row["score"] for row in json.loads(line)["detections"]] == [0.5, 0.3]
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(DeviceError, match=r"run\.py failed on cuda: error: .*tensorrt"):
        device.run_export(tmp_path, options)


def test_an_engine_that_is_taken_away_is_the_one_that_is_timed(
    monkeypatch: pytest.MonkeyPatch, reference: Path, tmp_path: Path
) -> None:
    write_half(reference, tmp_path / "half.onnx")
    device, sizes = _device(monkeypatch, ScriptedGpus()), list[int]()
    assert isinstance(device, EngineBuilder)
    build = device_module.build_engine

    def counted(tensorrt: TensorRT, content: bytes) -> bytes:
        sizes.append(len(content))
        return build(tensorrt, content) + b" %d" % len(sizes)

    monkeypatch.setattr(device_module, "build_engine", counted)
    device.build_engine(tmp_path / "half.onnx", tmp_path / "model.engine")
    assert sizes == [(tmp_path / "half.onnx").stat().st_size]  # as it is: it is in FP16 already
    plan = (tmp_path / "model.engine").read_bytes()
    assert device.measure(tmp_path / "half.onnx").engine == hashlib.sha256(plan).hexdigest()[:16]
    assert len(sizes) == 2  # the other is the reference


def test_a_limited_clock_is_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    free = _device(monkeypatch, ScriptedGpus()).identity()
    limited = _device(monkeypatch, ScriptedGpus(clock_limit_mhz=1410)).identity()
    assert limited.differences(free) == ["clock: free → at most 1410 MHz"]


def test_a_default_clock_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a T4, whose applications run at 585 of 1590 MHz unless told otherwise."""
    device = _device(monkeypatch, ScriptedGpus(clock_limit_mhz=585, default_clock_mhz=585))
    assert device.identity().settings["clock"] == "free"


def test_a_power_limit_that_rises_with_the_load_is_the_same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on laptops; a limit that the user has lowered is another device."""
    limits = [_device(monkeypatch, ScriptedGpus(power_limit_mw=now)).identity() for now in (220_000, 235_000, 150_000)]
    assert [one.settings["power limit"] for one in limits] == ["220 W", "220 W", "150 W"]


def test_memory_that_is_the_machine_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine_device(_device(monkeypatch, ScriptedGpus(lacks={"nvmlDeviceGetMemoryInfo"})))
    assert report.facts["memory"] == "shared with the machine"
    assert not [finding for finding in report.findings if "memory" in finding.text]


@pytest.mark.parametrize("kind", ["GpuIsLost", "NoPermission", "OperatingSystem", "ResetRequired"])
def test_a_gpu_that_cannot_be_asked_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    assert _device(monkeypatch, ScriptedGpus(count=2, visible=(1,), refused={0: kind})).gpu.index == 1
    with pytest.raises(UnknownDeviceError, match=rf"device cuda:0: .* driver does not answer for GPU 0: {kind}\n"):
        open_device("cuda:0")


def test_the_lowest_gpu_is_not_passed_over_because_it_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one would be measured in its place, maybe beside others that measured on the first."""
    gpus = ScriptedGpus(count=3, visible=(0, 1), refused={0: "Unknown", 2: "NoPermission"})
    gpus.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    device = open_device("cuda:1")
    assert isinstance(device, CudaDevice)
    assert device.gpu.index == 1
    with pytest.raises(UnknownDeviceError, match=r"does not answer for GPU 0: Unknown; .* for GPU 2: NoPermission\n"):
        open_device("cuda")


@pytest.mark.parametrize(("without_kernels", "index"), [((), 0), ((0,), 1), ((0, 1, 2), 0)])
def test_the_lowest_gpu_is_one_that_trials_see_too(
    monkeypatch: pytest.MonkeyPatch, without_kernels: tuple[int, ...], index: int
) -> None:
    """A search hides GPUs from its trials that PyTorch cannot train on; each names one by its number all the same."""
    gpus = ScriptedGpus(count=3, visible=(2, 1, 0), without_kernels=without_kernels)
    gpus.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    device, named = open_device("cuda"), open_device("cuda:0")
    assert isinstance(device, CudaDevice)
    assert isinstance(named, CudaDevice)
    assert (device.gpu.index, named.gpu.index) == (index, 0)


def test_a_gpu_that_is_lost_during_a_measurement_is_named(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    gpus = ScriptedGpus()
    device = _device(monkeypatch, gpus)
    gpus.refused = {0: "GpuIsLost"}
    with pytest.raises(UnusableDeviceError, match=r"driver does not answer for GPU 0: GpuIsLost\n") as caught:
        device.measure(reference)
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.parametrize("kind", ["Deprecated", "NotSupported", "FunctionNotFound"])
def test_a_driver_without_clocks_of_applications(monkeypatch: pytest.MonkeyPatch, reference: Path, kind: str) -> None:
    """Drivers from R595 on call them deprecated, and do not answer."""
    asked = ("nvmlDeviceGetApplicationsClock", "nvmlDeviceGetDefaultApplicationsClock", "nvmlDeviceGetTemperature")
    latency = _device(monkeypatch, ScriptedGpus(errors=dict.fromkeys(asked, kind))).measure(reference)
    assert latency.device.settings["clock"] == "free"
    assert latency.before["temperature_c"] == 55


def test_a_package_that_has_dropped_what_is_deprecated(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    dropped = {
        "nvmlDeviceGetApplicationsClock",
        "nvmlDeviceGetDefaultApplicationsClock",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
    }
    latency = _device(monkeypatch, ScriptedGpus(dropped=dropped)).measure(reference)
    assert (latency.device.settings["clock"], latency.before["temperature_c"]) == ("free", 55)


@pytest.mark.parametrize("kind", ["FunctionNotFound", "ArgumentVersionMismatch"])
def test_an_older_driver_tells_its_temperature_by_the_earlier_name(
    monkeypatch: pytest.MonkeyPatch, reference: Path, kind: str
) -> None:
    gpus = ScriptedGpus(errors={"nvmlDeviceGetTemperatureV": kind})
    assert _device(monkeypatch, gpus).measure(reference).before["temperature_c"] == 55


def test_what_decides_is_not_guessed_and_what_is_shown_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, reference: Path
) -> None:
    shown = {"nvmlDeviceGetPowerUsage": "Unknown", "nvmlDeviceGetComputeRunningProcesses": "Unknown"}
    device = _device(monkeypatch, ScriptedGpus(errors=shown))
    assert "power_w" not in device.measure(reference).before
    assert device.gpu.processes() == ()
    for question in ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetApplicationsClock"):
        with pytest.raises(UnknownDeviceError, match=r"does not answer for GPU 0: Unknown\n"):
            _device(monkeypatch, ScriptedGpus(errors={question: "Unknown"}))
    heat = ScriptedGpus(errors={"nvmlDeviceGetCurrentClocksEventReasons": "Unknown"})
    with pytest.raises(DeviceError, match=r"does not answer for GPU 0: Unknown\n"):
        _device(monkeypatch, heat).measure(reference)


def test_the_stand_in_has_the_names_of_the_real_package() -> None:
    real = pytest.importorskip("pynvml", reason="needs the extra [rtx] or [tensorrt]")
    assert [name for name in vars(ScriptedGpus()._nvml()) if not hasattr(real, name)] == []


def test_the_model_s_power_limit_does_not_stand_for_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    device = _device(monkeypatch, ScriptedGpus(lacks={"nvmlDeviceGetEnforcedPowerLimit"}))
    assert device.identity().settings["power limit"] == "unknown"


def test_a_part_of_a_gpu_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedGpus().install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="an instance's own"))
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    with pytest.raises(UnknownDeviceError, match=r"what PyTorch sees is a part of a GPU \(MIG\)"):
        open_device("cuda")


def test_a_graph_is_recorded_on_the_network_s_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's stream for recording belongs to the GPU that recorded first: on another one nothing would be recorded."""
    recorded_on: list[object] = []

    @contextmanager
    def record(graph: object, **given: object) -> Iterator[None]:
        recorded_on.append(given.get("stream"))
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(gc, "collect", lambda: recorded_on.append("garbage is gone"))
    handles: list[int] = []
    stream = SimpleNamespace(cuda_stream=77)
    assert _capture(handles.append, stream) is not None
    assert (recorded_on, handles) == (["garbage is gone", stream], [77])


@pytest.mark.parametrize("is_recordable", [True, False])
def test_what_a_graph_replays_lives_as_long_as_its_passes(monkeypatch: pytest.MonkeyPatch, is_recordable: bool) -> None:
    """A graph knows addresses alone: an engine that nobody held would be freed before its first timed pass."""

    class Engine:
        def enqueue(self, stream: int) -> None:
            del stream

    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    graph = SimpleNamespace(replay=lambda: None) if is_recordable else None
    monkeypatch.setattr("trials.latency.cuda.passes._capture", lambda enqueue, stream: graph)
    engine = Engine()
    passes, held = Passes(engine.enqueue, gpu=torch.device("cpu")), weakref.ref(engine)
    del engine
    assert held() is not None
    assert passes.is_graph is is_recordable
    del passes  # at once, not when the garbage collector comes by: its memory is the GPU's
    assert held() is None


def test_gpus_that_pytorch_cannot_use_are_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedGpus().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())

    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020).\nPlease update")

    monkeypatch.setattr(torch.cuda, "init", too_old)
    with pytest.raises(UnknownDeviceError, match=r"PyTorch cannot use this machine's GPU: .*too old.*12020"):
        CudaDevice()


def test_a_burst_begins_while_the_gpu_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pass after a pause waits for its launch, which is no part of a network's time."""
    calls: list[str] = []

    class Event:
        def __init__(self, **_: object) -> None: ...

        def record(self, stream: object) -> None:
            calls.append("mark")

        def synchronize(self) -> None:
            calls.append("wait")

        def elapsed_time(self, other: object) -> float:
            return 0.5

    for name, stand_in in (("device", nullcontext), ("stream", nullcontext), ("Event", Event)):
        monkeypatch.setattr(torch.cuda, name, stand_in)
    passes = object.__new__(Passes)
    passes._gpu, passes._stream, passes._launch = torch.device("cpu"), None, lambda: calls.append("launch")
    assert passes.run_for(0.0) == [0.5] * 10
    assert calls == ["launch", "mark", *["launch", "mark"] * 10, "wait"]


def test_what_a_model_does_not_report_is_left_out(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    lacks = {
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetPowerManagementDefaultLimit",
        "nvmlDeviceGetApplicationsClock",
    }
    latency = _device(monkeypatch, ScriptedGpus(lacks=lacks)).measure(reference)
    assert "power_w" not in latency.before
    assert latency.device.settings == {"driver": "580.1", "power limit": "unknown", "clock": "free"}


def test_heat_makes_a_measurement_worthless(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    with pytest.raises(UnstableError, match="the driver lowers its clock: software thermal limit"):
        _device(monkeypatch, ScriptedGpus(reasons=0x20)).measure(reference)


def test_a_power_limit_and_a_missing_graph_are_noted(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    latency = _device(monkeypatch, ScriptedGpus(reasons=0x4), is_graph=False).measure(reference)
    assert latency.notes == (
        "the network could not be recorded as a CUDA graph: launching its kernels is part of the figure",
        "the driver lowers the clock: power limit",
    )


def test_the_reference_is_warmed_up_even_where_the_network_does_not_settle(
    monkeypatch: pytest.MonkeyPatch, reference: Path
) -> None:
    ScriptedGpus().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    runners = [_Runner(2.0, settles=False), _Runner(2.0)]
    waiting = iter(runners)
    latency = CudaDevice(load=lambda tensorrt, plan, gpu: next(waiting)).measure(reference)
    assert [runner.is_warmed_up for runner in runners] == [True, True]
    assert latency.notes == ("the figures had not settled when timing began",)


def test_a_restless_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    with pytest.raises(UnstableError, match=r"device cuda gave no steady figure for reference\.onnx in 120 rounds"):
        _device(monkeypatch, ScriptedGpus(), noise=1.0).measure(reference)


def test_gpus_are_numbered_as_in_nvidia_smi_whatever_cuda_shows_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedGpus(count=3, visible=(2, 1)).install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    assert CudaDevice().gpu.index == 1
    device = open_device("cuda:2")
    assert isinstance(device, CudaDevice)
    assert (device.name, device.gpu.index, device._torch_device.index) == ("cuda:2", 2, 0)
    with pytest.raises(UnknownDeviceError, match="GPU 0 is not visible to this process") as caught:
        open_device("cuda:0")
    assert "use cuda:1 or cuda:2" in caught.value.hint


def test_without_a_gpu_nothing_is_asked_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for package in ("tensorrt", "tensorrt_rtx", "pynvml"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnknownDeviceError, match="PyTorch sees no NVIDIA GPU") as caught:
        open_device("cuda")
    assert "install" not in caught.value.hint


def test_without_a_package_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedGpus().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UnknownDeviceError, match="there is no Python package tensorrt or tensorrt_rtx") as caught:
        open_device("cuda")
    assert 'pip install "yoloret-nas[tensorrt]"' in caught.value.hint


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedGpus(visible=()).install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt())
    with pytest.raises(UnknownDeviceError, match="PyTorch sees no NVIDIA GPU"):
        open_device("cuda")


def test_an_old_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedGpus().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt("8.6.1"))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", scripted_tensorrt("1.2.0"))
    assert find_tensorrt().name == "TensorRT for RTX"
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UnknownDeviceError, match=r"^TensorRT 8\.6\.1 is too old: 10 or later is needed"):
        open_device("cuda")


def test_a_builder_that_needs_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full TensorRT on a machine without one: its bindings raise a TypeError."""
    module = scripted_tensorrt()

    def refuse(logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module.Builder = refuse
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    for ask in (build_engine, parse_network):
        with pytest.raises(UnknownDeviceError, match=r"TensorRT 10\.13\.2 cannot be used on this machine") as caught:
            ask(find_tensorrt(), b"")
    assert 'pip install "yoloret-nas[rtx]"' in caught.value.hint


def test_a_failed_build_says_what_tensorrt_logged(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    ScriptedGpus().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt(complaint="no memory for a tactic"))
    with pytest.raises(DeviceError, match=r"^TensorRT 10\.13\.2 built no engine: no memory for a tactic$"):
        CudaDevice().measure(reference)


def test_the_doctor_times_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds differ by the builder's choices, which say nothing about the GPU."""
    builds: list[bytes] = []
    build = device_module.build_engine

    def counted(tensorrt: TensorRT, content: bytes) -> bytes:
        builds.append(content)
        return build(tensorrt, content)

    monkeypatch.setattr(device_module, "build_engine", counted)
    report = examine_device(_device(monkeypatch, ScriptedGpus()))
    assert (len(report.reference_ms), len(builds)) == (3, 1)


def test_the_doctor_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine_device(_device(monkeypatch, ScriptedGpus(pids=(1,), reasons=0x4)))
    assert report.is_steady
    assert report.facts["GPU clock"] == "1900 of 1980 MHz"
    assert report.facts["memory"] == "7692 of 8192 MiB free"
    assert [finding.text for finding in report.findings if finding.level == "note"] == [
        "the driver lowers the GPU's clock: power limit",
        "other programs compute on this GPU: process 1",
        "the GPU's clock is free, as far as its driver tells: it falls with heat",
    ]
    (advice,) = [finding.advice for finding in report.findings if "clock is free" in finding.text]
    assert advice.startswith(
        "`sudo nvidia-smi -pm 1`, then `sudo nvidia-smi -lgc MHZ`"
    )  # else it ends with its program


# --- the real TensorRT for RTX, which builds without a GPU ---------------------------------------------------------------


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    return find_tensorrt()


def test_the_real_builder_takes_our_file(rtx: Any, tmp_path: Path) -> None:
    export_for_timing(PRESETS["yoloret-m0.75"], tmp_path / "full.onnx", num_classes=20, opset=rtx.reads.opset)
    write_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
    assert len(build_engine(rtx, (tmp_path / "half.onnx").read_bytes(), capability=(8, 6))) > 1_000_000


def test_the_real_parser_s_reason_is_passed_on(rtx: Any) -> None:
    for ask in (partial(build_engine, capability=(8, 6)), parse_network):
        with pytest.raises(UnsupportedNetworkError, match=r"RTX 1\..* refuses the network: .*MODEL_DESERIALIZE_FAILED"):
            ask(rtx, b"no network")


@pytest.mark.skipif(torch.cuda.is_available(), reason="an engine loads where a GPU is")
def test_the_real_runtime_s_reason_is_passed_on(rtx: Any, reference: Path, tmp_path: Path) -> None:
    write_half(reference, tmp_path / "half.onnx")
    plan = build_engine(rtx, (tmp_path / "half.onnx").read_bytes(), capability=(8, 6))
    with pytest.raises(DeviceError, match=r"cannot load the engine it built: .*CUDA driver version is insufficient"):
        Engine(rtx, plan, allocate=lambda shape, kind: torch.zeros(shape))


def test_tensorrt_for_rtx_does_not_run_on_data_centre_gpus_of_hopper(monkeypatch: pytest.MonkeyPatch, rtx: Any) -> None:
    assert [rtx.supports(one) for one in ((7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0))] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]
    ScriptedGpus(capability=(9, 0)).install(monkeypatch)
    with pytest.raises(UnknownDeviceError, match=r"does not run on NVIDIA Stand-in, whose compute capability is 9\.0"):
        open_device("cuda")


def test_what_pytorch_cannot_do_on_the_gpu_is_the_device_s_failure(
    monkeypatch: pytest.MonkeyPatch, reference: Path
) -> None:
    """Trainings that wait keep their memory; a search goes on after a failed measurement."""

    def refuse(tensorrt: TensorRT, plan: bytes, gpu: torch.device) -> _Runner:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    _device(monkeypatch, ScriptedGpus())
    with pytest.raises(DeviceError, match=r"cuda cannot run reference\.onnx: CUDA out of memory.* 2 GiB\n") as caught:
        CudaDevice(load=refuse).measure(reference)
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.parametrize("place", ["build", "load"])
def test_an_error_of_cuda_is_told_from_a_fault_of_the_program(
    monkeypatch: pytest.MonkeyPatch, reference: Path, place: str
) -> None:
    def fail(error: RuntimeError) -> CudaDevice:
        def refuse(*given: object) -> Any:
            raise error

        _device(monkeypatch, ScriptedGpus())
        if place == "build":
            monkeypatch.setattr(device_module, "build_engine", refuse)
        return CudaDevice(load=refuse)

    with pytest.raises(DeviceError, match="CUDA error: an illegal memory access") as caught:
        fail(RuntimeError("CUDA error: an illegal memory access was encountered")).measure(reference)
    assert "start the command again" in caught.value.hint
    assert type(caught.value) is DeviceError  # it may be the network's own
    with pytest.raises(NotImplementedError):
        fail(NotImplementedError("a fault of ours")).measure(reference)


def test_an_error_that_an_earlier_network_left_in_the_process_is_none_of_the_next_network(
    monkeypatch: pytest.MonkeyPatch, reference: Path
) -> None:
    """After an illegal access CUDA gives the same error at every call, and TensorRT builds nothing."""
    device = _device(monkeypatch, ScriptedGpus())

    def repeat(gpu: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    monkeypatch.setitem(sys.modules, "tensorrt", scripted_tensorrt(complaint="CUDA error 700"))
    monkeypatch.setattr(torch.cuda, "synchronize", repeat)
    said = "(?m)^device cuda cannot be used by this process: CUDA error: an illegal memory access was encountered$"
    with pytest.raises(UnusableDeviceError, match=said) as caught:
        device.measure(reference)
    assert "start the command again" in caught.value.hint


def test_a_file_with_weights_apart_is_built_whole(monkeypatch: pytest.MonkeyPatch, reference: Path) -> None:
    half, apart = reference.with_name("half.onnx"), reference.with_name("apart.onnx")
    write_half(reference, half)
    onnx.save(onnx.load(str(half)), str(apart), save_as_external_data=True, location="apart.data", size_threshold=0)
    sizes: list[int] = []
    build = device_module.build_engine

    def counted(tensorrt: TensorRT, content: bytes) -> bytes:
        sizes.append(len(content))
        return build(tensorrt, content)

    monkeypatch.setattr(device_module, "build_engine", counted)
    _device(monkeypatch, ScriptedGpus()).measure(apart)
    assert sizes[0] > 0.9 * half.stat().st_size > apart.stat().st_size


def test_buffers_of_every_type_that_a_file_of_users_may_end_in(rtx: TensorRT) -> None:
    kinds = rtx.module.DataType
    for kind, wanted in (
        (kinds.FLOAT, "float32"),
        (kinds.INT32, "int32"),
        (kinds.INT64, "int64"),
        (kinds.BOOL, "bool"),
    ):
        buffer = device_module.make_buffer((2, 3), kind, torch.device("cpu"))
        assert (tuple(buffer.shape), str(buffer.dtype)) == ((2, 3), f"torch.{wanted}")
    with pytest.raises(DeviceError, match="TensorRT's type FP4 cannot be timed"):
        device_module.make_buffer((1,), SimpleNamespace(name="FP4"), torch.device("cpu"))


def test_the_gpu_draws_no_numbers_for_a_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a recording that failed, its generator may refuse to."""
    drawn: list[dict[str, object]] = []
    draw = torch.randn

    def noted(shape: tuple[int, ...], **options: object) -> torch.Tensor:
        drawn.append(options)
        return draw(shape)

    monkeypatch.setattr(torch, "randn", noted)
    buffer = device_module.make_buffer((2, 3), SimpleNamespace(name="HALF"), torch.device("meta"))
    assert (buffer.device.type, buffer.dtype, drawn) == ("meta", torch.float16, [{}])


def test_an_output_whose_shape_depends_on_the_data_is_refused() -> None:
    class Loaded:
        num_io_tensors = 1

        def create_execution_context(self) -> object:
            return object()

        def get_tensor_name(self, index: int) -> str:
            return "boxes"

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return (-1, 4)

        def get_tensor_dtype(self, name: str) -> object:
            return None

    module = scripted_tensorrt()
    module.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: Loaded())
    found = TensorRT(module=module, name="TensorRT", version="10", reads=TensorRTVersion(10, 0))
    with pytest.raises(DeviceError, match=r"boxes of the network has a shape that only the data decide \(-1×4\)"):
        Engine(found, b"plan", allocate=lambda shape, kind: torch.zeros(1))


def test_a_driver_before_r535_tells_of_heat_by_the_earlier_name(
    monkeypatch: pytest.MonkeyPatch, reference: Path
) -> None:
    heat = 0x40  # hardware thermal slowdown
    gpus = ScriptedGpus(reasons=heat, lacks={"nvmlDeviceGetCurrentClocksEventReasons"})
    with pytest.raises(UnstableError, match="the driver lowers its clock"):
        _device(monkeypatch, gpus).measure(reference)


# --- on a GPU ------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("is_recordable", [True, False])
def test_passes_of_a_network_on_a_gpu(is_recordable: bool) -> None:
    images = torch.randn(1, 8, 256, 256, device="cuda")
    convolution = torch.nn.Conv2d(8, 8, 3).cuda()

    def enqueue(stream: int) -> None:
        with torch.no_grad(), torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            found = convolution(images)
            if not is_recordable:
                found.sum().item()

    passes = Passes(enqueue, gpu=torch.device("cuda", 0))
    assert passes.is_graph is is_recordable
    assert 0 < min(passes.run_for(0.05)) < 100


@pytest.mark.gpu
def test_a_measurement(tmp_path: Path) -> None:
    device = open_device("cuda")
    write_reference(tmp_path / "reference.onnx", opset=device.opset)
    latency = device.measure(tmp_path / "reference.onnx")
    assert latency.median_ms > 0
