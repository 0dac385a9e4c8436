"""A GPU of this machine as the NVIDIA driver describes it: what it is, how it is limited, and its state.

The driver is asked through NVML (`nvidia-ml-py`), which creates no CUDA context.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trials.latency.device import UnknownDeviceError, UnusableDeviceError

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
    """Why the driver lowers the clocks; empty where it does not, or does not tell."""

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
    """The highest clock that its user allows by ``nvidia-smi -ac``, None if that is the model's default, or not told; no
    driver tells a lock by ``-lgc``."""
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
        """Whether its clock is free, as far as the driver tells, for the identity."""
        limit, highest = self.clock_limit_mhz, self.max_clock_mhz
        return f"at most {limit:.0f} MHz" if limit is not None and highest is not None and limit < highest else "free"

    @property
    def power_limit(self) -> str:
        """What it may draw, for the identity."""
        return "unknown" if self.power_limit_w is None else f"{self.power_limit_w:.0f} W"

    def read_state(self) -> GpuState:
        """Ask the driver for the state now.

        Raises:
            UnusableDeviceError: it does not answer.
        """
        with _asking(self.index) as (nvml, handle):
            reasons = _ask(  # the earlier name is that of drivers before R535
                "nvmlDeviceGetCurrentClocksEventReasons", handle, earlier="nvmlDeviceGetCurrentClocksThrottleReasons"
            )
            power_mw = _ask_in_passing("nvmlDeviceGetPowerUsage", handle)
            return GpuState(
                clock_mhz=_ask_in_passing("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
                memory_clock_mhz=_ask_in_passing("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_MEM),
                temperature_c=_ask_in_passing(
                    "nvmlDeviceGetTemperatureV",
                    handle,
                    nvml.NVML_TEMPERATURE_GPU,
                    earlier="nvmlDeviceGetTemperature",
                ),
                power_w=None if power_mw is None else power_mw / 1000,
                throttling=tuple(name for bit, name in _REASONS.items() if int(reasons or 0) & bit),
            )

    def used_memory_mib(self) -> float | None:
        """Return how much of its memory is in use, by any program; None where it is the machine's.

        Raises:
            UnusableDeviceError: the driver does not answer.
        """
        with _asking(self.index) as (_, handle):
            memory = _ask("nvmlDeviceGetMemoryInfo", handle)  # none: it is the machine's
        return None if memory is None else memory.used / 2**20

    def processes(self) -> tuple[int, ...]:
        """Return the process ids of the programs that compute on it.

        Raises:
            UnusableDeviceError: the driver does not answer.
        """
        with _asking(self.index) as (_, handle):
            found = _ask_in_passing("nvmlDeviceGetComputeRunningProcesses", handle)
        return tuple(process.pid for process in found or ())


def read_gpus() -> tuple[tuple[Gpu, ...], dict[int, str]]:
    """Return this machine's GPUs in nvidia-smi's order, and why the driver does not describe further ones, by number.

    A GPU may be lost, need a reset, or be closed to this user; the others do their work all the same.

    Raises:
        UnknownDeviceError: `nvidia-ml-py` or the driver is missing.
    """
    nvml = _start_nvml()
    gpus, unread = [], {}
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_read(index))
        except UnusableDeviceError as error:
            unread[index] = error.message
    return tuple(gpus), unread


def _read(index: int) -> Gpu:
    with _asking(index) as (nvml, handle):
        limit_mw = _ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        default_mw = _ask("nvmlDeviceGetPowerManagementDefaultLimit", handle)
        # Drivers from R595 on call these clocks deprecated and tell nothing: a limit then shows as little as one by -lgc.
        clock_mhz = _ask("nvmlDeviceGetApplicationsClock", handle, nvml.NVML_CLOCK_SM)
        is_default = clock_mhz == _ask("nvmlDeviceGetDefaultApplicationsClock", handle, nvml.NVML_CLOCK_SM)
        memory = _ask("nvmlDeviceGetMemoryInfo", handle)  # none: it is the machine's
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        return Gpu(
            index=index,
            uuid=nvml.nvmlDeviceGetUUID(handle),
            name=nvml.nvmlDeviceGetName(handle),
            capability=(major, minor),
            driver=nvml.nvmlSystemGetDriverVersion(),
            power_limit_w=None if limit_mw is None else min(limit_mw, default_mw or limit_mw) / 1000,
            max_clock_mhz=_ask("nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM),
            clock_limit_mhz=None if is_default else clock_mhz,
            memory_mib=None if memory is None else memory.total / 2**20,
        )


@contextmanager
def _asking(index: int) -> Iterator[tuple[Any, Any]]:
    """Yield NVML and its handle of a GPU; turn its errors within the block into the device's."""
    nvml = _start_nvml()
    try:
        yield nvml, nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        raise UnusableDeviceError(
            f"the NVIDIA driver does not answer for GPU {index}: {error}",
            hint="nvidia-smi shows its state; a GPU that is lost or must be reset works after the machine's next start, and "
            "one that is closed to this user is opened by its administrator",
        ) from error


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


def _ask(question: str, *given: Any, earlier: str = "") -> Any:
    """Return the driver's answer; None where there is none to have: by this model, this driver, or for this user.

    Any other failure raises NVML's error: identity and verdict would be others after an answer that is missing by chance.

    Args:
        question: A function of NVML; the package drops those that it calls deprecated, some day.
        given: Its arguments.
        earlier: Its earlier name, by which older drivers have it.
    """
    nvml = _start_nvml()
    for name in (question, earlier):
        if not hasattr(nvml, name):
            continue
        try:
            return getattr(nvml, name)(*given)
        except (
            nvml.NVMLError_NotSupported,
            nvml.NVMLError_FunctionNotFound,
            nvml.NVMLError_NoPermission,
            nvml.NVMLError_Deprecated,
            nvml.NVMLError_ArgumentVersionMismatch,  # of a driver that is older than the structure it gets
        ):
            continue
    return None


def _ask_in_passing(question: str, *given: Any, earlier: str = "") -> Any:
    """Return the driver's answer to what is only shown and noted; None where there is none, whatever the reason."""
    try:
        return _ask(question, *given, earlier=earlier)
    except _start_nvml().NVMLError:
        return None
