"""Builds engines with whichever TensorRT is installed: TensorRT, or TensorRT for RTX.

Both have the same Python interface. TensorRT for RTX also builds on a machine without a GPU, if it is told for which one.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from trials.latency.device import DeviceError, UnknownDeviceError
from trials.onnx import TensorRTVersion, UnsupportedNetworkError, find_version

_INSTALL = 'install one: pip install "yoloret-nas[tensorrt]", or "yoloret-nas[rtx]" for a GeForce or RTX card'
_NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
_RTX_READS = TensorRTVersion(10, 8)
"""TensorRT for RTX counts its versions from 1.0, and its parser is that of TensorRT 10."""


@dataclass(frozen=True, kw_only=True)
class TensorRT:
    """An installed TensorRT."""

    module: Any
    """The Python package."""
    name: str
    """As NVIDIA calls it."""
    version: str
    """As the package spells it."""
    reads: TensorRTVersion
    """The version that decides on operator set and operators."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def builds_without_gpu(self) -> bool:
        """Whether its builder needs no GPU: it says for which GPU it builds, and the GPU finishes the engine on loading."""
        return self.name == _NAMES["tensorrt_rtx"]

    def supports(self, capability: tuple[int, int]) -> bool:
        """Return whether its engines run on GPUs of this compute capability; TensorRT itself is asked by building."""
        if not self.builds_without_gpu:
            return True
        listed = [name for name in dir(self.module.ComputeCapability) if name.startswith("SM")]
        known = {divmod(int(name.removeprefix("SM")), 10) for name in listed}
        return capability in known or capability > max(known)


def find_tensorrt() -> TensorRT:
    """Return the installed TensorRT; the full one where both are.

    Raises:
        UnknownDeviceError: there is none, or it is older than 10.
    """
    why_not = "no TensorRT is installed: there is no Python package tensorrt or tensorrt_rtx"
    for package, name in _NAMES.items():
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        version = find_version(str(module.__version__))
        reads = _RTX_READS if package == "tensorrt_rtx" else version
        if reads is not None and reads >= (10, 0):
            return TensorRT(module=module, name=name, version=str(version), reads=reads)
        why_not = f"TensorRT {module.__version__} is too old: 10 or later is needed"
    raise UnknownDeviceError(why_not, hint=_INSTALL)


def parse_network(tensorrt: TensorRT, onnx_bytes: bytes) -> None:
    """Ask TensorRT's own parser whether it takes a file, without a GPU and without building.

    Raises:
        UnsupportedNetworkError: it does not; the message has its reasons.
        UnknownDeviceError: it needs a GPU even for that, and there is none.
    """
    with _complaints(tensorrt.module):
        _parse(tensorrt, _make_builder(tensorrt), onnx_bytes)


def build_engine(tensorrt: TensorRT, onnx_bytes: bytes, *, capability: tuple[int, int] | None = None) -> bytes:
    """Build a strongly typed network's engine.

    Args:
        tensorrt: What builds it.
        onnx_bytes: The file; its types are the engine's.
        capability: Compute capability of the GPU that will run it, for a machine without a GPU (TensorRT for RTX only);
            None for the current GPU.

    Raises:
        UnsupportedNetworkError: TensorRT's parser refuses the network, or its builder does where no GPU takes part; the
            message has its reasons.
        DeviceError: TensorRT builds no engine on this GPU.
        UnknownDeviceError: it needs a GPU, and there is none.
    """
    trt = tensorrt.module
    with _complaints(trt) as complaints:
        builder = _make_builder(tensorrt)
        network = _parse(tensorrt, builder, onnx_bytes)
        config = builder.create_builder_config()
        if tensorrt.builds_without_gpu:
            known = trt.ComputeCapability
            chosen = known.CURRENT if capability is None else getattr(known, f"SM{capability[0]}{capability[1]}")
            config.num_compute_capabilities = 1
            config.set_compute_capability(chosen, 0)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            error = DeviceError if capability is None else UnsupportedNetworkError
            raise error(f"{tensorrt} built no engine: {_join(complaints)}")
        return bytes(plan)


def _make_builder(tensorrt: TensorRT) -> Any:
    try:
        return tensorrt.module.Builder(_logger(tensorrt.module))
    except TypeError as error:  # what the bindings make of a builder that TensorRT does not return
        raise UnknownDeviceError(
            f"{tensorrt} cannot be used on this machine: no NVIDIA GPU or driver answers it",
            hint='use a machine with a GPU, or install what needs none here: pip install "yoloret-nas[rtx]"',
        ) from error


def _parse(tensorrt: TensorRT, builder: Any, onnx_bytes: bytes) -> Any:
    """Return TensorRT's network of a file."""
    trt = tensorrt.module
    # TensorRT 11 has strongly typed networks only, and no flag for them.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, _logger(trt))
    if not parser.parse(onnx_bytes):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise UnsupportedNetworkError(f"{tensorrt} refuses the network: {reasons}")
    return network


class Engine:
    """An engine on the current GPU, with an execution context and buffers for its inputs and outputs.

    Args:
        tensorrt: What built it.
        plan: The built engine.
        allocate: Returns a buffer on the GPU for a shape and TensorRT's data type.
    """

    def __init__(
        self, tensorrt: TensorRT, plan: bytes, *, allocate: Callable[[tuple[int, ...], object], Tensor]
    ) -> None:
        trt = tensorrt.module
        self._tensorrt = tensorrt
        with _complaints(trt) as complaints:
            self._runtime = trt.Runtime(_logger(trt))
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise DeviceError(f"{tensorrt} cannot load the engine it built: {_join(complaints)}")
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise DeviceError(f"{tensorrt} has no memory to run the engine it built: {_join(complaints)}")
        self._buffers: list[Tensor] = []  # TensorRT knows their addresses only
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape, kind = tuple(self._engine.get_tensor_shape(name)), self._engine.get_tensor_dtype(name)
            if any(side < 0 for side in shape):
                raise DeviceError(
                    f"{name} of the network has a shape that only the data decide ({'×'.join(map(str, shape))})",
                    hint="export static shapes; end the file before non-maximum suppression",
                )
            self._buffers.append(allocate(shape, kind))
            self._context.set_tensor_address(name, self._buffers[-1].data_ptr())

    def enqueue(self, stream: int) -> None:
        """Launch one pass on a CUDA stream.

        Raises:
            DeviceError: TensorRT cannot run it.
        """
        if not self._context.execute_async_v3(stream):
            raise DeviceError(f"{self._tensorrt} could not run the engine it built")


@contextmanager
def _complaints(trt: Any) -> Iterator[list[str]]:
    """Collect the errors that TensorRT logs within the block."""
    complaints = _logger(trt).complaints
    complaints.clear()
    yield complaints


def _join(complaints: list[str]) -> str:
    return "; ".join(complaints) or "it gave no reason; check that the GPU has free memory"


@cache
def _logger(trt: Any) -> Any:
    """Return the process's one logger: TensorRT keeps the first it is given."""

    class _Logger(trt.ILogger):  # type: ignore[misc]  # its module is known only now
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.complaints: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.complaints.append(message)

    return _Logger()
