"""A stand-in for the TensorRT of a board as the exported program uses it, of version 11, 10 or 7, and for CUDA's memory.

It shows which calls the program makes with which answers; it proves nothing about TensorRT.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

SHAPES = {"images": (1, 3, 64, 64), "scores": (1, 2, 2), "boxes": (1, 2, 4)}
"""Of the engine; in another order than the program's."""


class Memory:
    """Stands in for `trials.onnx.run.Cuda`: memory by made-up addresses."""

    def __init__(self) -> None:
        self.held: dict[int, npt.NDArray[Any]] = {}

    def allocate(self, num_bytes: int) -> int:
        self.held[len(self.held) + 1] = np.zeros(num_bytes, np.uint8)
        return len(self.held)

    def copy(self, address: int, array: npt.NDArray[Any], to_device: bool) -> None:
        held = self.held[address].view(array.dtype).reshape(array.shape)
        if to_device:
            held[...] = array
        else:
            array[...] = held

    def synchronize(self) -> None: ...


def tensorrt_stand_in(memory: Memory, *, is_new: bool, says: list[str], converts: bool = True) -> Any:
    """Return a module that looks like TensorRT 10, or 7, or 11 (which does not convert); `says` keeps what it was told."""

    class Builder(_NewBuilder if is_new else _OldBuilder):  # type: ignore[misc]
        told = says

    class Runtime:
        def __init__(self, logger: object) -> None: ...

        def deserialize_cuda_engine(self, plan: bytes) -> object:
            return _engine(memory, is_new=is_new) if plan == b"plan" else None

    return SimpleNamespace(
        __name__="tensorrt",
        __version__="10.3.0.26" if is_new else "7.1.3.0",
        Logger=_Logger,
        Builder=Builder,
        Runtime=Runtime,
        OnnxParser=_OnnxParser,
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0),
        BuilderFlag=SimpleNamespace(FP16="fp16", INT8="int8") if converts else SimpleNamespace(),
    )


class _Logger:
    WARNING = 1

    def __init__(self, level: int) -> None: ...


class _OnnxParser:
    num_errors = 1

    def __init__(self, network: object, logger: object) -> None: ...

    def parse(self, data: bytes) -> bool:
        return data != b"refused"

    def get_error(self, index: int) -> str:
        return "no such operator"


class _Builder:
    told: list[str]

    def __init__(self, logger: object) -> None: ...

    def create_network(self, flags: int) -> object:
        self.told.append(f"network {flags}")
        return object()

    def create_builder_config(self) -> Any:
        return SimpleNamespace(set_flag=lambda flag: self.told.append(f"flag {flag}"))


class _NewBuilder(_Builder):
    def create_builder_config(self) -> Any:
        config = super().create_builder_config()
        config.set_memory_pool_limit = None
        return config

    def build_serialized_network(self, network: object, config: object) -> bytes:
        return b"plan"


class _OldBuilder(_Builder):
    def build_engine(self, network: object, config: Any) -> object:
        self.told.append(f"workspace {config.max_workspace_size >> 20} MiB")
        return SimpleNamespace(serialize=lambda: b"plan")


def _engine(memory: Memory, *, is_new: bool) -> Any:
    names = list(SHAPES)
    if is_new:
        return SimpleNamespace(
            num_io_tensors=len(names),
            get_tensor_name=names.__getitem__,
            get_tensor_shape=SHAPES.__getitem__,
            create_execution_context=lambda: _NewContext(memory),
        )
    return SimpleNamespace(
        num_bindings=len(names),
        get_binding_name=names.__getitem__,
        get_binding_shape=lambda index: SHAPES[names[index]],
        create_execution_context=lambda: _OldContext(memory),
    )


class _NewContext:
    def __init__(self, memory: Memory) -> None:
        self._memory, self._addresses = memory, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        return _compute(self._memory, self._addresses)


class _OldContext:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def execute_v2(self, bindings: list[int]) -> bool:
        return _compute(self._memory, dict(zip(SHAPES, bindings, strict=True)))


def _compute(memory: Memory, addresses: dict[str, int]) -> bool:
    """Give two boxes; the first one's score is half of the brightest value, of 255."""
    images = memory.held[addresses["images"]].view(np.float32)
    memory.held[addresses["boxes"]].view(np.float32)[:] = [0, 0, 32, 32, 32, 32, 64, 64]
    memory.held[addresses["scores"]].view(np.float32)[:] = [images.max() / 510, 0, 0, 0.3]
    return True
