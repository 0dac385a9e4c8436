"""This machine's GPU as a device: TensorRT's Python package, a strongly typed FP16 network, batch 1.

What was run where: docs/gpu.md.
"""

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trials.gpus import find_gpus
from trials.latency.cuda.engine import Engine, TensorRT, build_engine, find_tensorrt
from trials.latency.cuda.gpu import HEAT, Gpu, GpuState, read_gpus
from trials.latency.cuda.passes import Passes
from trials.latency.device import (
    GRAPH_REFUSED,
    DeviceError,
    DeviceIdentity,
    Latency,
    UnknownDeviceError,
    UnstableError,
    UnusableDeviceError,
)
from trials.latency.reference_network import write_reference
from trials.latency.steadiness import Rounds, Turn, time_in_turn
from trials.onnx import check_onnx, run
from trials.onnx.half_precision import write_half
from trials.onnx.number_format import find_number_format
from trials.onnx.requirements import has_other_files, write_whole
from trials.scratch import temporary_folder
from trials.whole_file import whole_file

_TYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
}
"""TensorRT's name to PyTorch's type."""
_ROUND_S = 0.05
"""Seconds per turn of the candidate and of the reference."""


class Runner(Protocol):
    """A loaded network that can be timed; `Passes` is the real one."""

    is_graph: bool

    def warm_up(self) -> bool:
        """Run until the figures settle; return whether they did."""
        ...

    def run_for(self, seconds: float) -> list[float]:
        """Return each pass in milliseconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class CudaDevice:
    """TensorRT on one GPU of this machine."""

    index: int | None = None
    """Which GPU, as nvidia-smi counts; None for the lowest number of those that CUDA_VISIBLE_DEVICES leaves visible and that
    PyTorch can train on, or of all visible ones where it can train on none."""
    clock: Callable[[], float] = time.perf_counter
    """Returns seconds."""

    load: Callable[[TensorRT, bytes, torch.device], Runner] | None = None
    """Loads an engine for timing; None for a CUDA graph of it. Tests pass a scripted one."""

    def __post_init__(self) -> None:
        major, minor = self.gpu.capability  # the GPU first: where there is none, no TensorRT to install helps
        if not self.tensorrt.supports((major, minor)):
            raise UnknownDeviceError(
                f"device {self.name}: {self.tensorrt} does not run on {self.gpu.name}, whose compute capability is "
                f"{major}.{minor}",
                hint='install the full TensorRT: pip install "yoloret-nas[tensorrt]"',
            )

    @property
    def name(self) -> str:
        """The device as the user types it."""
        return "cuda" if self.index is None else f"cuda:{self.index}"

    @property
    def opset(self) -> int:
        """The operator set that the installed TensorRT reads."""
        return self.tensorrt.reads.opset

    @cached_property
    def tensorrt(self) -> TensorRT:
        """The installed TensorRT."""
        return find_tensorrt()

    @cached_property
    def gpu(self) -> Gpu:
        """The GPU as the driver describes it."""
        seen = _torch_uuids()
        if self.index is None:  # those that a search leaves visible to its trials, which take the same one
            seen = [seen[index] for index in find_gpus().usable] or seen
        if not seen:
            raise UnknownDeviceError(
                f"device {self.name}: PyTorch sees no NVIDIA GPU on this machine",
                hint="check that nvidia-smi works and that PyTorch is a CUDA build, or use cpu or ssh://nano",
            )
        gpus, unread = read_gpus()
        visible = {gpu.index: gpu for gpu in gpus if gpu.uuid.removeprefix("GPU-") in seen}
        is_one_hidden = self.index is None and len(visible) < len(seen)  # it may be the lowest
        if reasons := [why for index, why in unread.items() if is_one_hidden or index == self.index]:
            raise UnknownDeviceError(
                f"device {self.name}: {'; '.join(reasons)}",
                hint="nvidia-smi shows the state of each GPU; cuda:N names one, or use cpu or ssh://nano",
            )
        if not visible:
            raise UnknownDeviceError(
                f"device {self.name}: what PyTorch sees is a part of a GPU (MIG), whose latency depends on the other parts",
                hint="measure on a whole GPU, on cpu or on ssh://nano; trainings may run on a part",
            )
        # The lowest number, not CUDA's first: each trial sees the GPU it trains on first.
        index = min(visible) if self.index is None else self.index
        if index not in visible:
            raise UnknownDeviceError(
                f"device {self.name}: GPU {index} is not visible to this process",
                hint=f"use {' or '.join(f'cuda:{seen}' for seen in sorted(visible))}, or change CUDA_VISIBLE_DEVICES",
            )
        return visible[index]

    def identity(self) -> DeviceIdentity:
        """Return GPU, TensorRT, precision, driver, and the limits of power and clock."""
        return DeviceIdentity(
            kind="cuda",
            board=self.gpu.name,
            backend=str(self.tensorrt),
            precision="fp16",
            settings={"driver": self.gpu.driver, "power limit": self.gpu.power_limit, "clock": self.gpu.clock},
        )

    def measure(self, onnx_path: Path) -> Latency:
        """Build a network's engine and time it in turn with the reference, as CUDA graphs.

        Raises:
            DeviceError: TensorRT cannot build or run it.
            UnusableDeviceError: an earlier error has left this process without the GPU, or the driver does not answer.
            UnsupportedNetworkError: its TensorRT cannot take the file.
            UnstableError: the median was not known well enough after all rounds, or heat slowed the GPU.
        """
        started = self.clock()
        check_onnx(onnx_path, version=self.tensorrt.reads)
        with self._using(onnx_path):
            plan, build_s = self._build(onnx_path)
            with temporary_folder() as folder:
                write_reference(Path(folder) / "reference.onnx", opset=self.opset)
                reference_plan, _ = self._build(Path(folder) / "reference.onnx")
            candidate, reference = self._load(plan), self._load(reference_plan)
            is_warm = all([candidate.warm_up(), reference.warm_up()])  # both, whatever the first says
            before = self.gpu.read_state()
            rounds = time_in_turn(lambda: [_time_turn(candidate, reference)])
            after = self.gpu.read_state()  # the clock has not fallen yet: the driver waits longer
        self._judge(onnx_path, rounds, after)
        return Latency(
            samples_ms=rounds.samples_ms,
            device=self.identity(),
            reference_ms=rounds.reference_ms,
            is_reference_in_turn=True,
            notes=(*rounds.verdict.notes, *_notes(candidate, after, is_warm=is_warm)),
            seconds=self.clock() - started,
            engine=hashlib.sha256(plan).hexdigest()[:16],
            build_s=build_s,
            before=before.to_dict(),
            after=after.to_dict(),
        )

    @property
    def converts_to_fp16(self) -> bool:
        """Whether TensorRT makes FP16 of an FP32 file by itself; its Python package builds a file as it is."""
        return False

    def build_engine(self, onnx_path: Path, target: Path) -> None:
        """Build a network's engine; `measure` then times this one.

        Raises:
            DeviceError: TensorRT cannot build it.
            UnsupportedNetworkError: its TensorRT cannot take the file.
        """
        check_onnx(onnx_path, version=self.tensorrt.reads)
        with self._using(onnx_path):
            plan, build_s = self._build(onnx_path)
        self._built[onnx_path.read_bytes()] = plan, build_s
        with whole_file(target) as partial:
            partial.write_bytes(plan)

    def run_export(self, folder: Path, options: Sequence[str]) -> str:
        """Run the program of an export on the images in its folder; in this process, where PyTorch has loaded CUDA.

        Raises:
            DeviceError: the program did not run to its end, with the reason.
        """
        said, complaints = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(complaints), torch.cuda.device(self._torch_device):
            status = run.main([str(folder), "--model", str(folder), *options])
        if status != 0:
            raise DeviceError(f"run.py failed on {self.name}: {complaints.getvalue().strip()}")
        return said.getvalue()

    def close(self) -> None:
        """Do nothing: engines end with their measurement."""

    @cached_property
    def _built(self) -> dict[bytes, tuple[bytes, float]]:
        """What `build_engine` built, by the file's content."""
        return {}

    def _build(self, onnx_path: Path) -> tuple[bytes, float]:
        if known := self._built.get(onnx_path.read_bytes()):
            return known
        began = self.clock()
        with temporary_folder() as folder, torch.cuda.device(self._torch_device):
            prepared = onnx_path
            if find_number_format(onnx_path) == "fp32":
                prepared = Path(folder) / "half.onnx"
                write_half(onnx_path, prepared)
            elif has_other_files(onnx_path):
                prepared = Path(folder) / "whole.onnx"
                write_whole(onnx_path, prepared)
            plan = build_engine(self.tensorrt, prepared.read_bytes())
        return plan, self.clock() - began

    def _load(self, plan: bytes) -> Runner:
        return (self.load or _load)(self.tensorrt, plan, self._torch_device)

    @cached_property
    def _torch_device(self) -> torch.device:
        return torch.device("cuda", _torch_index(self.gpu))

    @contextmanager
    def _using(self, onnx_path: Path) -> Iterator[None]:
        """Turn CUDA's errors into the device's: trainings that wait keep their memory, so that the network may not fit.

        An error that an earlier network left behind, which CUDA repeats in this process for ever, is none of this network's.
        """
        with self._naming_errors(UnusableDeviceError, "cannot be used by this process"):
            torch.cuda.synchronize(self._torch_device)
        with self._naming_errors(DeviceError, f"cannot run {onnx_path.name}"):
            yield

    @contextmanager
    def _naming_errors(self, kind: type[DeviceError], what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            is_full = isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
            if not is_full and "CUDA" not in str(error):
                raise
            hint = "check that the GPU has free memory (nvidia-smi); fewer --workers leave more"
            raise kind(
                f"device {self.name} {what}: {str(error).strip().splitlines()[0]}",
                hint=hint if is_full else "start the command again: after such an error a process cannot use the GPU",
            ) from error

    def _judge(self, onnx_path: Path, rounds: Rounds, after: GpuState) -> None:
        faults = [f"the driver lowers its clock: {reason}" for reason in after.throttling if reason in HEAT]
        if rounds.verdict.fault:
            faults.append(rounds.verdict.fault)
        if faults:
            raise UnstableError(
                f"device {self.name} gave no steady figure for {onnx_path.name} in {rounds.count} rounds: "
                f"{'; '.join(faults)}",
                hint="stop other work on the GPU, cool it, or lock its clock (sudo nvidia-smi -pm 1, then -lgc …)",
            )


def _time_turn(candidate: Runner, reference: Runner) -> Turn:
    """Time a round of one turn: passes are queued together, so that the GPU never waits for this process."""
    samples_ms = tuple(candidate.run_for(_ROUND_S))
    return Turn(samples_ms=samples_ms, reference_ms=float(np.median(reference.run_for(_ROUND_S))))


def _notes(candidate: Runner, after: GpuState, *, is_warm: bool) -> list[str]:
    notes = [] if is_warm else ["the figures had not settled when timing began"]
    if not candidate.is_graph:
        notes.append(GRAPH_REFUSED)
    notes += [f"the driver lowers the clock: {reason}" for reason in after.throttling]
    return notes


def _load(tensorrt: TensorRT, plan: bytes, gpu: torch.device) -> Passes:
    """Load an engine with random inputs; zeros can run faster than data."""
    with torch.cuda.device(gpu):
        engine = Engine(tensorrt, plan, allocate=lambda shape, kind: make_buffer(shape, kind, gpu))
    return Passes(engine.enqueue, gpu=gpu)


def make_buffer(shape: tuple[int, ...], kind: Any, device: torch.device) -> Tensor:
    """Return random values of one of TensorRT's data types.

    Raises:
        DeviceError: PyTorch has no such type.
    """
    if kind.name not in _TYPES:
        raise DeviceError(f"a network with an input or output of TensorRT's type {kind.name} cannot be timed")
    # The GPU's own generator refuses after a recording that failed, on versions of PyTorch that leave it in that state.
    return torch.randn(shape).to(device, _TYPES[kind.name])


def _torch_index(gpu: Gpu) -> int:
    return _torch_uuids().index(gpu.uuid.removeprefix("GPU-"))


def _torch_uuids() -> list[str]:
    """Return the UUIDs of the GPUs in PyTorch's order.

    Raises:
        UnknownDeviceError: PyTorch cannot use those that the driver lists.
    """
    if torch.cuda.device_count():  # the driver's, until CUDA has begun
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError) as error:
            raise UnknownDeviceError(
                f"device cuda: PyTorch cannot use this machine's GPU: {str(error).strip().splitlines()[0]}",
                hint="update the driver, or use cpu or ssh://nano",
            ) from error
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
