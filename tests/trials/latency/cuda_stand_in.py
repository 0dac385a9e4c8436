"""A stand-in for a machine with NVIDIA GPUs: scripted modules for NVML, for PyTorch's list of GPUs, and for TensorRT.

It shows what the device does with answers of these libraries; it proves nothing about a GPU.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch


@dataclass
class ScriptedGpus:
    """What the scripted driver answers."""

    count: int = 1
    visible: Sequence[int] = (0,)
    """nvidia-smi's numbers in PyTorch's order."""
    capability: tuple[int, int] = (8, 6)
    without_kernels: Sequence[int] = ()
    """nvidia-smi's numbers of those that PyTorch was not built for."""
    reasons: int = 0
    """Clocks event reasons."""
    clock_limit_mhz: int = 1980
    pids: Sequence[int] = ()
    used_mib: int = 500
    power_limit_mw: int = 220_000
    """Of the moment; the model's default is 220 W."""
    default_clock_mhz: int = 1980
    """What applications get unless a user sets another clock."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Numbers of GPUs to the kind of NVML's error that the driver answers for each."""
    lacks: set[str] = field(default_factory=set)
    """Questions that this model does not answer."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Questions to the kind of NVML's error that answers them."""
    dropped: set[str] = field(default_factory=set)
    """Questions that the package does not have."""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", self._nvml())
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda gpu: None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(self.visible))
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"uuid-{self.visible[index]}")
        )
        monkeypatch.setattr(torch.cuda, "device", lambda gpu: nullcontext())
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
        monkeypatch.setattr(
            torch.cuda,
            "get_device_capability",
            lambda index: (6, 1) if self.visible[index] in self.without_kernels else self.capability,
        )
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA Stand-in")

    def _nvml(self) -> Any:
        class NVMLError(Exception):
            pass

        kinds = (
            "NotSupported",
            "FunctionNotFound",
            "NoPermission",
            "Deprecated",
            "ArgumentVersionMismatch",
            "GpuIsLost",
            "OperatingSystem",
            "ResetRequired",
            "Unknown",
        )
        errors = {f"NVMLError_{kind}": type(f"NVMLError_{kind}", (NVMLError,), {}) for kind in kinds}

        def failing(kind: str) -> Callable[..., float]:
            def fail(*given: object) -> float:
                raise errors[f"NVMLError_{kind}"](kind)

            return fail

        def find(index: int) -> int:
            if index in self.refused:
                failing(self.refused[index])()
            return index

        answers: dict[str, Any] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: self.count,
            "nvmlDeviceGetHandleByIndex": find,
            "nvmlDeviceGetUUID": lambda index: f"GPU-uuid-{index}",
            "nvmlDeviceGetName": lambda index: "NVIDIA Stand-in",
            "nvmlDeviceGetCudaComputeCapability": lambda index: list(self.capability),
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlDeviceGetEnforcedPowerLimit": lambda index: self.power_limit_mw,
            "nvmlDeviceGetPowerManagementDefaultLimit": lambda index: 220_000,
            "nvmlDeviceGetMaxClockInfo": lambda index, kind: 1980,
            "nvmlDeviceGetApplicationsClock": lambda index, kind: self.clock_limit_mhz,
            "nvmlDeviceGetDefaultApplicationsClock": lambda index, kind: self.default_clock_mhz,
            "nvmlDeviceGetClockInfo": lambda index, kind: 1900,
            "nvmlDeviceGetTemperature": lambda index, kind: 55,
            "nvmlDeviceGetTemperatureV": lambda index, kind: 55,
            "nvmlDeviceGetPowerUsage": lambda index: 150_000,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda index: self.reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda index: self.reasons,
            "nvmlDeviceGetMemoryInfo": lambda index: SimpleNamespace(total=8192 * 2**20, used=self.used_mib * 2**20),
            "nvmlDeviceGetComputeRunningProcesses": lambda index: [SimpleNamespace(pid=pid) for pid in self.pids],
        }

        answers |= {question: failing("NotSupported") for question in self.lacks}
        answers |= {question: failing(kind) for question, kind in self.errors.items()}
        answers = {question: answer for question, answer in answers.items() if question not in self.dropped}
        constants = {"NVML_CLOCK_SM": 1, "NVML_CLOCK_MEM": 2, "NVML_TEMPERATURE_GPU": 0}
        return SimpleNamespace(**answers, **constants, **errors, NVMLError=NVMLError)


def scripted_tensorrt(version: str = "10.13.2", *, complaint: str = "") -> Any:
    """Return a module whose builder turns a file into ``plan:`` and its size, or fails with a complaint."""

    class ILogger:
        INTERNAL_ERROR, ERROR, INFO = "internal", "error", "info"

        def log(self, severity: str, message: str) -> None: ...

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int) -> dict[str, bytes]:
            return {}

        def create_builder_config(self) -> object:
            return object()

        def build_serialized_network(self, network: dict[str, bytes], config: object) -> bytes | None:
            if complaint:
                self._logger.log(ILogger.INFO, "not of interest")
                self._logger.log(ILogger.ERROR, complaint)
                return None
            return b"plan:%d" % len(network["file"])

    class OnnxParser:
        num_errors = 1

        def __init__(self, network: dict[str, bytes], logger: Any) -> None:
            self._network = network

        def parse(self, data: bytes) -> bool:
            self._network["file"] = data
            return True

    module = ModuleType("tensorrt")
    parts = {"ILogger": ILogger, "Builder": Builder, "OnnxParser": OnnxParser}
    vars(module).update(parts, __version__=version, NetworkDefinitionCreationFlag=SimpleNamespace())
    return module
