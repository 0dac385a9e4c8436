"""A stand-in for TensorRT 8.2's Python package on the stand-in board: runs the stand-in trtexec's engines in ONNX Runtime.

The plugin EfficientNMS_TRT is the reference in numpy. It also stands in for CUDA's runtime, whose memory is the machine's.
It shows that `run.py` reads such an engine; it proves nothing about TensorRT. Runs without the project.
"""

import base64
import ctypes
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from efficient_nms import run_file

__version__ = "8.2.1.9"
_TYPES = {onnx.TensorProto.FLOAT: ctypes.c_float, onnx.TensorProto.INT32: ctypes.c_int32}
_has_plugins = False


class Logger:
    WARNING = 1

    def __init__(self, level: int) -> None: ...


def init_libnvinfer_plugins(logger: Logger, namespace: str) -> bool:
    global _has_plugins
    _has_plugins = True
    return True


class Runtime:
    def __init__(self, logger: Logger) -> None: ...

    def deserialize_cuda_engine(self, plan: bytes) -> "Engine | None":
        network = base64.b64decode(json.loads(plan)["network"])
        return Engine(network) if _has_plugins or b"EfficientNMS_TRT" not in network else None


class Engine:
    def __init__(self, network: bytes) -> None:
        self.network = network
        graph = onnx.load_from_string(network).graph
        self.tensors = [*graph.input, *graph.output]
        self.num_bindings = len(self.tensors)

    def get_binding_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return tuple(side.dim_value for side in self.tensors[index].type.tensor_type.shape.dim)

    def create_execution_context(self) -> Any:
        return SimpleNamespace(execute_v2=self._execute)

    def _execute(self, addresses: list[int]) -> bool:
        arrays = {}
        for index, (tensor, address) in enumerate(zip(self.tensors, addresses, strict=True)):
            kind, shape = _TYPES[tensor.type.tensor_type.elem_type], self.get_binding_shape(index)
            arrays[tensor.name] = np.ctypeslib.as_array(
                (kind * int(np.prod(shape))).from_address(address)  # type: ignore[operator]
            ).reshape(shape)
        for name, values in self._compute(arrays["images"]).items():
            arrays[name][...] = values
        return True

    def _compute(self, images: Any) -> dict[str, Any]:
        if b"EfficientNMS_TRT" in self.network:
            return dict(zip(("number", "boxes", "scores", "labels"), run_file(self.network, images), strict=True))
        import onnxruntime

        session = onnxruntime.InferenceSession(self.network, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"images": images}), strict=True))


class _CudaRuntime:
    def __init__(self) -> None:
        self._held: list[Any] = []

    def cudaMalloc(self, address: Any, size: ctypes.c_size_t) -> int:  # noqa: N802
        self._held.append(ctypes.create_string_buffer(size.value))
        address._obj.value = ctypes.addressof(self._held[-1])
        return 0

    def cudaMemcpy(self, target: ctypes.c_void_p, source: ctypes.c_void_p, size: ctypes.c_size_t, kind: int) -> int:  # noqa: N802
        ctypes.memmove(target, source, size.value)
        return 0


_open_library = ctypes.CDLL


def _open(name: str, *given: Any, **others: Any) -> Any:
    return _CudaRuntime() if str(name).startswith("libcudart") else _open_library(name, *given, **others)


ctypes.CDLL = _open  # type: ignore[assignment,misc]
