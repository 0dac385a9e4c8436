"""This machine's CPU as a device: ONNX Runtime, batch 1, float32."""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trials.latency.device import DeviceError, DeviceIdentity, Latency, UnknownDeviceError, UnstableError
from trials.latency.reference_network import write_reference
from trials.latency.steadiness import time_in_turn

_ROUND_S = 0.05
"""Seconds per turn of the candidate and of the reference."""


@dataclass(frozen=True, kw_only=True)
class CpuDevice:
    """ONNX Runtime on this machine."""

    threads: int = 1
    """Threads of one inference; 1 is the steadiest beside a running search."""
    clock: Callable[[], float] = time.perf_counter
    """Returns seconds; tests pass their own."""

    def __post_init__(self) -> None:
        available = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= available:
            raise UnknownDeviceError(
                f"device cpu: {self.threads} threads requested, this process may use {available} cores",
                hint=f"use cpu:threads=1 to cpu:threads={available}",
            )

    @property
    def name(self) -> str:
        """The device as the user types it."""
        return "cpu" if self.threads == 1 else f"cpu:threads={self.threads}"

    @property
    def opset(self) -> int:
        """ONNX Runtime reads the operator set of a Jetson Nano."""
        return 13

    @cached_property
    def _identity(self) -> DeviceIdentity:
        import onnxruntime

        return DeviceIdentity(
            kind="cpu",
            board=_processor(),
            backend=f"ONNX Runtime {onnxruntime.__version__}",
            precision="fp32",
            settings={"threads": str(self.threads)},
        )

    def identity(self) -> DeviceIdentity:
        """Return processor, runtime and threads."""
        return self._identity

    def measure(self, onnx_path: Path) -> Latency:
        """Time a network in turn with the reference until its median over the quiet rounds is steady.

        Raises:
            DeviceError: ONNX Runtime cannot run the file.
            UnstableError: the median was not known to 10 % after all rounds.
        """
        started = self.clock()
        candidate = _Runner(onnx_path, threads=self.threads, clock=self.clock)
        with tempfile.TemporaryDirectory() as folder:
            write_reference(Path(folder) / "reference.onnx")
            reference = _Runner(Path(folder) / "reference.onnx", threads=self.threads, clock=self.clock)
        for runner in (candidate, reference):
            runner.run_for(_ROUND_S)  # warm-up: caches, clocks, memory arena
        rounds = time_in_turn(lambda: candidate.run_for(_ROUND_S), lambda: reference.run_for(_ROUND_S))
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


class _Runner:
    """One ONNX Runtime session with a fixed input."""

    def __init__(self, path: Path, *, threads: int, clock: Callable[[], float]) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as ort

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except (
            ort.Fail,
            ort.InvalidArgument,
            ort.InvalidGraph,
            ort.InvalidProtobuf,
            ort.NoSuchFile,
            ort.NotImplemented,
        ) as error:
            raise DeviceError(f"ONNX Runtime cannot run {path.name}: {error}") from error
        self._clock = clock
        self._feed = {entry.name: _input(entry) for entry in self._session.get_inputs()}

    def run_for(self, seconds: float) -> list[float]:
        """Run for some time, at least three passes; return each pass in milliseconds."""
        samples: list[float] = []
        until = self._clock() + seconds
        while len(samples) < 3 or self._clock() < until:
            before = self._clock()
            self._session.run(None, self._feed)
            samples.append((self._clock() - before) * 1e3)
        return samples


def _input(entry: Any) -> NDArray[np.float32]:
    if not all(isinstance(side, int) for side in entry.shape):
        raise DeviceError(f"input {entry.name} has shape {entry.shape}; only static shapes can be timed")
    values: NDArray[np.float32] = np.random.default_rng(0).standard_normal(entry.shape).astype(np.float32)
    return values


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
