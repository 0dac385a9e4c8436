"""This machine's CPU as a device: ONNX Runtime, or OpenVINO for its own files, batch 1, float32."""

import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.counted import counted
from trials.latency.device import Device, DeviceError, DeviceIdentity, Latency, UnknownDeviceError, UnstableError
from trials.latency.reference_network import write_reference
from trials.latency.steadiness import Turn, time_in_turn
from trials.onnx.export import DEFAULT_OPSET
from trials.onnx.openvino_model import import_openvino
from trials.scratch import temporary_folder

_MOST_VALUES = 2**26
"""Of an input: an image of 4096 × 4096 pixels has 50 million."""
_ROUND_S = 0.05
"""Seconds of a round: about as long as a busy neighbour slows this machine, or leaves it alone, at a time."""
_BURST_S = 0.006
"""Seconds of the candidate's passes in a turn: few beside those of a busy moment, many beside a small network's pass."""
_REFERENCE_PASSES = 6
"""In a turn. After a network of 4 ms the sixth is within 2 % of what it takes alone."""
_FEWEST_TURNS = 3
"""In a round."""


@dataclass(frozen=True, kw_only=True)
class CpuDevice:
    """ONNX Runtime on this machine, or OpenVINO."""

    threads: int = 1
    """Threads of one inference; 1 is the steadiest beside a running search."""
    runs_openvino: bool = False
    """Whether it times ``.xml`` files of OpenVINO; the reference runs in ONNX Runtime all the same."""
    clock: Callable[[], float] = time.perf_counter
    """Returns seconds; tests pass their own."""

    def __post_init__(self) -> None:
        available = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= available:
            raise UnknownDeviceError(
                f"device cpu: {self.threads} threads requested, this process may use {counted(available, 'core(s)')}",
                hint="use cpu:threads=1" + (f" to cpu:threads={available}" if available > 1 else ""),
            )

    @property
    def name(self) -> str:
        """The device as the user types it."""
        return "cpu" if self.threads == 1 else f"cpu:threads={self.threads}"

    @property
    def opset(self) -> int:
        """ONNX Runtime reads the operator set of a Jetson Nano."""
        return DEFAULT_OPSET

    @cached_property
    def _identity(self) -> DeviceIdentity:
        import onnxruntime

        backend = f"ONNX Runtime {onnxruntime.__version__}"
        if self.runs_openvino:
            backend = f"OpenVINO {import_openvino().__version__.split('-')[0]}"
        return DeviceIdentity(
            kind="cpu",
            board=_processor(),
            backend=backend,
            precision="fp32",
            settings={"threads": str(self.threads)},
        )

    def identity(self) -> DeviceIdentity:
        """Return processor, runtime and threads."""
        return self._identity

    def measure(self, onnx_path: Path) -> Latency:
        """Time a network in turn with the reference until its median over the quiet turns is steady.

        Raises:
            DeviceError: the runtime cannot run the file.
            UnstableError: the median was not known to 10 % after all rounds.
        """
        started = self.clock()
        load = load_in_openvino if self.runs_openvino else load_in_onnxruntime
        candidate = load(onnx_path, self.threads)
        with temporary_folder() as folder:
            write_reference(Path(folder) / "reference.onnx")
            reference = load_in_onnxruntime(Path(folder) / "reference.onnx", self.threads, spins=False)
        self._time_round(candidate, reference)  # warm-up: caches, clocks, memory arena
        rounds = time_in_turn(lambda: self._time_round(candidate, reference))
        if rounds.verdict.fault:
            raise UnstableError(
                f"device {self.name} gave no steady figure for {onnx_path.name} in {rounds.count} rounds: "
                f"{rounds.verdict.fault}",
                hint="stop other work on this machine, then run the same command again",
            )
        return Latency(
            samples_ms=rounds.samples_ms,
            device=self.identity(),
            reference_ms=rounds.reference_ms,
            is_reference_in_turn=True,
            notes=rounds.verdict.notes,
            seconds=self.clock() - started,
        )

    def close(self) -> None:
        """Do nothing: ONNX Runtime sessions end with their measurement."""

    def _time_round(self, candidate: Callable[[], object], reference: Callable[[], object]) -> list[Turn]:
        """Time both in turn; a turn's reference is the slower of those before and after the candidate's passes."""
        turns: list[Turn] = []
        until = self.clock() + _ROUND_S
        before_ms = self._time_reference(reference)
        while len(turns) < _FEWEST_TURNS or self.clock() < until:
            passes_ms = self._time_burst(candidate)
            after_ms = self._time_reference(reference)
            turns.append(Turn(samples_ms=passes_ms, reference_ms=max(before_ms, after_ms)))
            before_ms = after_ms
        return turns

    def _time_burst(self, candidate: Callable[[], object]) -> tuple[float, ...]:
        """Return its passes in milliseconds; the first, which finds the caches full of the reference, counts only alone."""
        passes_ms = [self._time(candidate)]
        while sum(passes_ms) < _BURST_S * 1e3:
            passes_ms.append(self._time(candidate))
        return tuple(passes_ms[1:] or passes_ms)

    def _time_reference(self, reference: Callable[[], object]) -> float:
        """Return its fastest pass of some: a candidate drives it out of the caches, so that its first may take twice."""
        return min(self._time(reference) for _ in range(_REFERENCE_PASSES))

    def _time(self, run: Callable[[], object]) -> float:
        before = self.clock()
        run()
        return (self.clock() - before) * 1e3


def in_openvino(device: Device) -> CpuDevice:
    """Return a device that times ``.xml`` files of OpenVINO, otherwise like the given one.

    Raises:
        DeviceError: it is no CPU.
    """
    if not isinstance(device, CpuDevice):
        raise DeviceError(
            f"OpenVINO is measured on device cpu alone, not on {device.name}", hint="give the ONNX file beside it"
        )
    return replace(device, runs_openvino=True)


def load_in_onnxruntime(path: Path, threads: int, *, spins: bool = True) -> Callable[[], object]:
    """Return what runs one pass of an ONNX file on a fixed input.

    Args:
        path: The file.
        threads: Of one pass.
        spins: Whether further threads wait for their next pass on a core: quickest for them, slow for another session.

    Raises:
        DeviceError: ONNX Runtime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes have nothing in common but this
        raise DeviceError(f"ONNX Runtime cannot run {path.name}: {error}") from error
    feed = {entry.name: _input(entry.name, entry.shape) for entry in session.get_inputs()}

    def run() -> object:
        try:
            return session.run(None, feed)
        except Exception as error:
            raise DeviceError(f"ONNX Runtime cannot run {path.name}: {error}") from error

    return run


def load_in_openvino(path: Path, threads: int) -> Callable[[], object]:
    """Return what runs one pass of an ``.xml`` file on a fixed input, in float32 where it is not INT8.

    Raises:
        DeviceError: OpenVINO cannot run it.
        ExportError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    try:
        model = openvino.compile_model(str(path), "CPU", hints)
        request = model.create_infer_request()
        shapes = [entry.partial_shape for entry in model.inputs]
        feed = [
            _input(f"number {number}", list(shape.to_shape()) if shape.is_static else str(shape))
            for number, shape in enumerate(shapes)
        ]
        request.infer(feed)
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO cannot run {path.name}: {error}") from error
    return lambda: request.infer(feed, share_inputs=True, share_outputs=True)


def _input(name: str, shape: list[Any] | str) -> NDArray[np.float32]:
    if isinstance(shape, str) or not all(isinstance(side, int) and side > 0 for side in shape):
        raise DeviceError(f"input {name} has shape {shape}; only static shapes can be timed")
    if math.prod(shape) > _MOST_VALUES:
        raise DeviceError(f"input {name} has shape {shape}, more than {_MOST_VALUES:,} values in all")
    values: NDArray[np.float32] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return values


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
