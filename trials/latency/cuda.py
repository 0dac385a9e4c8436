"""This machine's GPU as a device: TensorRT's Python package, a strongly typed FP16 network, batch 1.

Not verified on a GPU: written from the documentation of TensorRT 10 and 11; tests cover what needs no GPU.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trials.latency.device import DeviceError, DeviceIdentity, Latency, UnknownDeviceError, UnstableError
from trials.latency.steadiness import judge_run
from trials.onnx import TensorRTVersion, check_onnx, find_version
from trials.onnx.half_precision import write_half

_WARM_UP_S = 1.0
_DURATION_S = 5.0
_FEWEST_PASSES = 100
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class CudaDevice:
    """TensorRT on CUDA's first GPU."""

    clock: Callable[[], float] = time.monotonic
    """Returns seconds."""

    def __post_init__(self) -> None:
        _import_tensorrt()
        if not torch.cuda.is_available():
            raise UnknownDeviceError(
                "device cuda: PyTorch sees no NVIDIA GPU on this machine",
                hint="check that nvidia-smi works and that PyTorch is a CUDA build, or use cpu or ssh://nano",
            )

    @property
    def name(self) -> str:
        """The device as the user types it."""
        return "cuda"

    @property
    def opset(self) -> int:
        """The operator set that the installed TensorRT reads."""
        return self._version.opset

    @cached_property
    def _version(self) -> TensorRTVersion:
        spelled = str(_import_tensorrt().__version__)
        version = find_version(spelled)
        if version is None or version < (10, 0):
            raise UnknownDeviceError(f"device cuda needs TensorRT 10 or later, found {spelled}", hint=_INSTALL)
        return version

    def identity(self) -> DeviceIdentity:
        """Return GPU, CUDA version, TensorRT and precision."""
        return DeviceIdentity(
            kind="cuda",
            board=torch.cuda.get_device_name(),
            backend=f"TensorRT {self._version}",
            precision="fp16",
            settings={"CUDA": str(torch.version.cuda)},
        )

    def measure(self, onnx_path: Path) -> Latency:
        """Build a network's engine and time it between CUDA events.

        Raises:
            DeviceError: TensorRT cannot build or run it.
            UnsupportedNetworkError: its TensorRT cannot take the file.
            UnstableError: no steady figure in three runs.
        """
        started = self.clock()
        check_onnx(onnx_path, version=self._version)
        with tempfile.TemporaryDirectory() as folder:
            write_half(onnx_path, Path(folder) / "half.onnx")
            plan = _build((Path(folder) / "half.onnx").read_bytes())
        build_s = self.clock() - started
        run = _Runner(plan)
        notes: list[str] = []
        for _ in range(_ATTEMPTS):
            run.for_seconds(_WARM_UP_S, clock=self.clock)
            samples = run.for_seconds(_DURATION_S, clock=self.clock)
            verdict = judge_run(samples)
            if not verdict.faults:
                return Latency(
                    samples_ms=tuple(samples),
                    device=self.identity(),
                    notes=(*notes, *verdict.notes),
                    seconds=self.clock() - started,
                    throughput_per_s=1000 / float(np.mean(samples)),
                    build_s=build_s,
                )
            notes.append(f"measured again, since {'; '.join(verdict.faults)}")
        raise UnstableError(
            f"device cuda gave no steady figure in {_ATTEMPTS} runs: {'; '.join(verdict.faults)}",
            hint="stop other work on the GPU, and lock its clock (sudo nvidia-smi -lgc …)",
        )

    def close(self) -> None:
        """Do nothing: engines end with their measurement."""


_INSTALL = 'install the extra: pip install "yoloret-nas[tensorrt]"'


def _import_tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise UnknownDeviceError("device cuda needs the Python package tensorrt", hint=_INSTALL) from error
    return tensorrt


def _build(onnx_bytes: bytes) -> bytes:
    trt = _import_tensorrt()
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    # TensorRT 11 has strongly typed networks only, and no flag for them.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse(onnx_bytes):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise DeviceError(f"TensorRT refuses the network: {reasons}")
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise DeviceError("TensorRT built no engine and gave no reason", hint="check that the GPU has free memory")
    return bytes(plan)


class _Runner:
    """An engine with its buffers, run on its own stream."""

    def __init__(self, plan: bytes) -> None:
        trt = _import_tensorrt()
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine.create_execution_context()
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._buffers = []
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape = tuple(self._engine.get_tensor_shape(name))
            kind = torch.float16 if self._engine.get_tensor_dtype(name) == trt.float16 else torch.float32
            self._buffers.append(torch.zeros(shape, dtype=kind, device="cuda"))
            self._context.set_tensor_address(name, self._buffers[-1].data_ptr())

    def for_seconds(self, seconds: float, *, clock: Callable[[], float]) -> list[float]:
        """Run for some time, at least 100 passes; return each pass in milliseconds."""
        samples: list[float] = []
        until = clock() + seconds
        while len(samples) < _FEWEST_PASSES or clock() < until:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin.record(self._stream)
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise DeviceError("TensorRT could not run the engine it built")
            end.record(self._stream)
            end.synchronize()
            samples.append(begin.elapsed_time(end))
        return samples
