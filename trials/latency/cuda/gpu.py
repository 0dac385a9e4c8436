"""A GPU of this machine as the NVIDIA driver describes it: what it is, how it is limited, and its state.

The driver is asked through NVML (`nvidia-ml-py`), which creates no CUDA context.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trials.latency.device import UnknownDeviceError

_REASONS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal limit",
    0x40: "hardware thermal limit",
    0x80: "power brake",
    0x100: "display clock",
}
"""Bits of NVML's clocks event reasons. Idleness (1) and a user's clock limit (2) do not throttle a measurement."""

HEAT = frozenset({"hardware slowdown", "software thermal limit", "hardware thermal limit", "power brake"})
"""Reasons that come and go with heat and the power supply: a latency taken under them cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """A GPU's state at one moment; None for what the model does not report."""

    clock_mhz: float | None
    """Of its multiprocessors."""
    memory_clock_mhz: float | None
    """Of its memory."""
    temperature_c: float | None
    """Of the chip."""
    power_w: float | None
    """Drawn by the board."""
    throttling: tuple[str, ...]
    """Why the driver lowers the clocks; empty where it does not."""

    def to_dict(self) -> dict[str, float]:
        """Return the known figures by name with unit."""
        figures = {
            "gpu_mhz": self.clock_mhz,
            "memory_mhz": self.memory_clock_mhz,
            "temperature_c": self.temperature_c,
            "power_w": self.power_w,
        }
        return {name: value for name, value in figures.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU and its settings, which change only by its user."""

    index: int
    """As in nvidia-smi, whatever CUDA_VISIBLE_DEVICES says."""
    uuid: str
    """Identifies it to CUDA, ``GPU-…``."""
    name: str
    """Its model."""
    capability: tuple[int, int]
    """Compute capability, (9, 0) for 9.0."""
    driver: str
    """Version of the driver."""
    power_limit_w: float | None
    """What its user lets it draw, at most the model's default: a laptop's driver raises the limit with the load."""
    max_clock_mhz: float | None
    """The highest clock of the model."""
    clock_limit_mhz: float | None
    """The highest clock that its user allows by ``nvidia-smi -ac``, None if that is the model's default; the driver does not
    tell a lock by ``-lgc``."""
    memory_mib: float | None
    """Its memory; None where it is the machine's."""

    @property
    def memory(self) -> str:
        """Its memory and what is free of it, in words."""
        used_mib = self.used_memory_mib()
        if self.memory_mib is None or used_mib is None:
            return "shared with the machine"
        return f"{self.memory_mib - used_mib:.0f} of {self.memory_mib:.0f} MiB free"

    @property
    def clock(self) -> str:
        """Whether its clock is free, for the identity."""
        limit, highest = self.clock_limit_mhz, self.max_clock_mhz
        return f"at most {limit:.0f} MHz" if limit is not None and highest is not None and limit < highest else "free"

    @property
    def power_limit(self) -> str:
        """What it may draw, for the identity."""
        return "unknown" if self.power_limit_w is None else f"{self.power_limit_w:.0f} W"

    def read_state(self) -> GpuState:
        """Ask the driver for the state now."""
        nvml, handle = _open(self.index)
        reasons = _ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        if reasons is None:  # a driver before R535 has it by its earlier name
            reasons = _ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        power_mw = _ask(nvml.nvmlDeviceGetPowerUsage, handle)
        return GpuState(
            clock_mhz=_ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            memory_clock_mhz=_ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            temperature_c=_ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            power_w=None if power_mw is None else power_mw / 1000,
            throttling=tuple(name for bit, name in _REASONS.items() if int(reasons or 0) & bit),
        )

    def used_memory_mib(self) -> float | None:
        """Return how much of its memory is in use, by any program; None where it is the machine's."""
        nvml, handle = _open(self.index)
        memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        return None if memory is None else memory.used / 2**20

    def processes(self) -> tuple[int, ...]:
        """Return the process ids of the programs that compute on it."""
        nvml, handle = _open(self.index)
        return tuple(process.pid for process in _ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ())


def read_gpus() -> tuple[Gpu, ...]:
    """Return this machine's GPUs in nvidia-smi's order, without those that the driver has lost.

    Raises:
        UnknownDeviceError: `nvidia-ml-py` or the driver is missing.
    """
    nvml = _start_nvml()
    gpus = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_read(index))
        except nvml.NVMLError_GpuIsLost:
            continue  # nothing runs on it before the next start; the others do their work
    return tuple(gpus)


def _read(index: int) -> Gpu:
    nvml, handle = _open(index)
    limits_mw = [
        limit
        for question in (nvml.nvmlDeviceGetEnforcedPowerLimit, nvml.nvmlDeviceGetPowerManagementDefaultLimit)
        if (limit := _ask(question, handle)) is not None
    ]
    clock_mhz = _ask(nvml.nvmlDeviceGetApplicationsClock, handle, nvml.NVML_CLOCK_SM)
    is_default = clock_mhz == _ask(nvml.nvmlDeviceGetDefaultApplicationsClock, handle, nvml.NVML_CLOCK_SM)
    memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        capability=(major, minor),
        driver=nvml.nvmlSystemGetDriverVersion(),
        power_limit_w=min(limits_mw) / 1000 if limits_mw else None,
        max_clock_mhz=_ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
        clock_limit_mhz=None if is_default else clock_mhz,
        memory_mib=None if memory is None else memory.total / 2**20,
    )


def _open(index: int) -> tuple[Any, Any]:
    nvml = _start_nvml()
    return nvml, nvml.nvmlDeviceGetHandleByIndex(index)


def _start_nvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise UnknownDeviceError(
            "device cuda needs the Python package nvidia-ml-py", hint='pip install "yoloret-nas[rtx]" or "[tensorrt]"'
        ) from error
    try:
        pynvml.nvmlInit()  # counted by the driver; a second call costs microseconds
    except pynvml.NVMLError as error:
        raise UnknownDeviceError(
            f"device cuda: no NVIDIA driver answers on this machine ({error})",
            hint="check that nvidia-smi works, or use cpu or ssh://nano",
        ) from error
    return pynvml


def _ask(question: Callable[..., Any], *given: Any) -> Any:
    """Return the driver's answer; None where this model or this driver has none, or not for this user."""
    import pynvml

    try:
        return question(*given)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission):
        return None
