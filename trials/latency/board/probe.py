"""Reads a board's model, versions, power mode, clocks, temperatures, memory and disk, without root or changes."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from trials.latency.board.remote_process import RemoteResult
from trials.latency.board.scripts import PROBE
from trials.latency.board.ssh import SshHost
from trials.latency.board.trtexec_command import Trtexec, read_help
from trials.latency.board.trtexec_log import read_float
from trials.latency.device import DeviceIdentity, UnusableDeviceError

_GPU_CLOCK = re.compile(r"gpu|gm20b|gp10b|gv11b|ga10b|gb10b", re.IGNORECASE)
"""Names of the GPU among the devices with a clock, on Nano, TX2, Xavier, Orin and Thor."""
_CARD = r"^nvidia-smi (\d+), (GPU-\S+), ((?:[^,\n]+, ){5}[^,\n]+)$"
"""A line of nvidia-smi about a GPU, and not its "No devices were found": number, UUID, then name and figures."""
_NOT_THE_CHIP = re.compile(r"PMIC|wifi|tj-none", re.IGNORECASE)
"""Thermal zones with a fixed value, or of another part."""


@dataclass(frozen=True, kw_only=True)
class BoardState:
    """What changes while a board works; None for what it does not report."""

    gpu_mhz: float | None = None
    gpu_min_mhz: float | None = None
    gpu_max_mhz: float | None = None
    temperatures_c: Mapping[str, float]
    """By thermal zone, without those switched off."""
    memory_mib: float | None = None
    """Total memory; a Jetson shares it between CPU and GPU."""
    free_memory_mib: float | None = None
    free_disk_mib: float | None = None
    power_mode: str = ""
    """As nvpmodel names it; empty without nvpmodel."""
    gpu: str = ""
    """Name of the GPU on a machine other than a Jetson."""
    hidden: str = ""
    """CUDA_VISIBLE_DEVICES where it names none of the machine's GPUs."""

    @property
    def is_clock_locked(self) -> bool | None:
        """Whether the GPU's clock is set to one value (throttling still lowers it); None for unknown."""
        return None if self.gpu_min_mhz is None else self.gpu_min_mhz == self.gpu_max_mhz

    @property
    def temperature_c(self) -> float | None:
        """The GPU's temperature, or the hottest zone's where none is named after the GPU."""
        gpu = [value for name, value in self.temperatures_c.items() if "gpu" in name.lower()]
        return max(gpu or self.temperatures_c.values(), default=None)

    def figures(self) -> dict[str, float]:
        """Return the figures that a measurement records."""
        names = ("gpu_mhz", "temperature_c", "free_memory_mib")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True)
class Board:
    """What does not change while a board works, and its state when probed."""

    model: str
    """From the device tree; the GPU's name on a machine other than a Jetson."""
    l4t: str
    """Version of NVIDIA's Linux for Tegra; empty elsewhere."""
    trtexec: Trtexec
    """The board's trtexec."""
    has_flock: bool
    """Without flock, two measurements may run at once."""
    has_timeout: bool
    """Without timeout, the shell ends a run that takes too long."""
    desktop: tuple[str, ...]
    """Running programs of a graphical desktop."""
    load: float | None
    """The CPU's load over the last minute."""
    state: BoardState
    """The state when probed."""


def probe_board(host: SshHost) -> Board:
    """Read what a board is.

    Raises:
        DeviceAwayError: it cannot be reached.
        UnusableDeviceError: it has no trtexec, or one without a readable help, or its account sees no GPU.
    """
    nonce = secrets.token_hex(8)
    result = host.run(PROBE, nonce, host.address.trtexec, what="probing the board", limit_s=120)
    parts = split_parts(result.stdout, nonce)
    if not {"board", "help", "end"} <= parts.keys():
        raise UnusableDeviceError(
            f"probing {result.host} failed (exit status {result.exit_status}): "
            f"{(result.stderr or result.stdout).strip()[-300:] or 'it printed nothing'}",
            hint="its login shell must run plain commands and print nothing of its own in between",
        )
    facts = _facts(parts["board"])
    state = read_state(parts["board"])
    path = facts.get("trtexec", "")
    if state.hidden:
        raise UnusableDeviceError(
            f"CUDA_VISIBLE_DEVICES is {state.hidden!r} on {result.host}, which names none of its GPUs",
            hint="set it to a number of nvidia-smi or to a UUID (GPU-…) in the shell of that account, or leave it out; a "
            "part of a GPU (MIG) has no latency of its own",
        )
    trtexec = read_help(parts["help"], path=path, library=_library(facts.get("library", "")))
    if trtexec is None:
        raise _without_trtexec(result, path, parts["help"])
    return Board(
        model=facts.get("model", "").strip() or state.gpu or "unknown board",
        l4t=_l4t(facts.get("l4t", "")),
        trtexec=trtexec,
        has_flock="tool flock" in parts["board"],
        has_timeout="tool timeout" in parts["board"],
        desktop=tuple(re.findall(r"^desktop (.+)$", parts["board"], re.MULTILINE)),
        load=read_float(facts.get("load", "")),
        state=state,
    )


def split_parts(text: str, nonce: str) -> dict[str, str]:
    """Split a script's output at its marks; the nonce tells them from other output."""
    pieces = re.split(rf"^@{nonce} (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def read_state(text: str) -> BoardState:
    """Parse the output of the scripts' ``state``."""
    clocks = re.findall(r"^devfreq (\S+) (\d{1,15}) (\d{1,15}) (\d{1,15})$", text, re.MULTILINE)
    gpu = next(([int(value) / 1e6 for value in values] for name, *values in clocks if _GPU_CLOCK.search(name)), None)
    zones = re.findall(r"^thermal (\S*) (-?\d{1,15})$", text, re.MULTILINE)
    temperatures = {name: int(t) / 1000 for name, t in zones if int(t) > 0 and not _NOT_THE_CHIP.search(name)}
    memory = {name: int(kib) / 1024 for name, kib in re.findall(r"^memory (\w+) (\d{1,15})$", text, re.MULTILINE)}
    disk = re.search(r"^disk (\d{1,15})\b", text, re.MULTILINE)
    power = re.search(r"^power (.+)$", text, re.MULTILINE)
    name, *figures = _card(text)
    values = [read_float(figure) for figure in figures] + [None] * 5
    return BoardState(
        gpu_mhz=gpu[0] if gpu else values[0],
        gpu_min_mhz=gpu[1] if gpu else None,
        gpu_max_mhz=gpu[2] if gpu else values[1],
        temperatures_c=temperatures if values[2] is None else {**temperatures, "gpu": values[2]},
        memory_mib=memory.get("MemTotal") if values[3] is None else values[3],
        free_memory_mib=memory.get("MemAvailable", memory.get("MemFree")) if values[4] is None else values[4],
        free_disk_mib=int(disk[1]) / 1024 if disk else None,
        power_mode=power[1].strip() if power else "",
        gpu=name,
        hidden="" if name or not re.search(_CARD, text, re.MULTILINE) else _visible(text),
    )


def _card(text: str) -> list[str]:
    """Return the name and the figures of the GPU that trtexec uses, the first that CUDA_VISIBLE_DEVICES names."""
    chosen = _visible(text).split(",")[0].strip()
    for index, uuid, rest in re.findall(_CARD, text, re.MULTILINE):
        if chosen == index or (chosen.startswith("GPU-") and uuid.startswith(chosen)):
            return [part.strip() for part in rest.split(",")]
    return [""]


def _visible(text: str) -> str:
    match = re.search(r"^visible (.*)$", text, re.MULTILINE)
    return match[1] if match else ""


def identity_of(board: Board, state: BoardState) -> DeviceIdentity:
    """Return a board's identity in some state."""
    settings = {"L4T": board.l4t, "power mode": state.power_mode, "GPU clock": _clock(state)}
    graph = "CUDA graph" if board.trtexec.uses_cuda_graph else ""
    return DeviceIdentity(
        kind="ssh",
        board=board.model,
        backend=f"TensorRT {board.trtexec.version}",
        precision="fp16",
        settings={name: value for name, value in {**settings, "launch": graph}.items() if value},
    )


def _clock(state: BoardState) -> str:
    if state.is_clock_locked is None or state.gpu_max_mhz is None:
        return ""
    return f"{'locked at' if state.is_clock_locked else 'free up to'} {state.gpu_max_mhz:.0f} MHz"


def _facts(text: str) -> dict[str, str]:
    lines = [line.split(" ", 1) for line in text.splitlines() if " " in line]
    return {name: value for name, value in reversed(lines)}  # the first line of a name counts


def _l4t(text: str) -> str:
    """Parse ``# R32 (release), REVISION: 7.4, …`` as 32.7.4."""
    match = re.search(r"R(\d+).*REVISION: ([\d.]+)", text)
    return f"{match[1]}.{match[2]}" if match else ""


def _library(text: str) -> str:
    """Parse a package version (``8.2.1-1+cuda10.2``) or the end of a library's name (``8.2.1``)."""
    match = re.match(r"\d+\.\d+\.\d+", text)
    return match[0] if match else ""


def _without_trtexec(result: RemoteResult, path: str, said: str) -> UnusableDeviceError:
    if not path:
        return UnusableDeviceError(
            f"{result.host} has no trtexec",
            hint="JetPack installs it in /usr/src/tensorrt/bin (package libnvinfer-bin); for another place use "
            f"ssh://{result.host}?trtexec=/path/of/trtexec",
        )
    return UnusableDeviceError(
        f"{path} on {result.host} prints no help: {said.strip()[-300:] or 'it printed nothing'}",
        hint=f"run `{path} --help` on the board",
    )
