"""What a board says of itself: model, versions, power mode, clocks, temperatures, memory, disk.

None of it needs root, and none of it changes anything on the board.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from trials.latency.board.remote_process import RemoteResult
from trials.latency.board.scripts import PROBE
from trials.latency.board.ssh import SshHost
from trials.latency.board.trtexec_command import Trtexec, read_help
from trials.latency.device import DeviceError, DeviceIdentity

_GPU_CLOCK = re.compile(r"gpu|gm20b|gp10b|gv11b|ga10b|gb10b", re.IGNORECASE)
"""The GPU among the devices with a clock: its name on Nano, TX2, Xavier, Orin, Thor."""
_NOT_THE_CHIP = re.compile(r"PMIC|wifi|tj-none", re.IGNORECASE)
"""Thermal zones that stand at a fixed or foreign value."""


@dataclass(frozen=True, kw_only=True)
class BoardState:
    """What changes while a board works; None is what it does not tell."""

    gpu_mhz: float | None = None
    gpu_min_mhz: float | None = None
    gpu_max_mhz: float | None = None
    temperatures_c: Mapping[str, float]
    """By thermal zone, those switched off left out."""
    memory_mib: float | None = None
    """All of it; a Jetson shares it between CPU and GPU."""
    free_memory_mib: float | None = None
    free_disk_mib: float | None = None
    power_mode: str = ""
    """As nvpmodel names it, empty without one."""
    gpu: str = ""
    """Name of the GPU on a machine that is no Jetson."""

    @property
    def is_clock_locked(self) -> bool | None:
        """Whether the GPU's clock is set to one value (throttling still lowers it); None where that is not told."""
        return None if self.gpu_min_mhz is None else self.gpu_min_mhz == self.gpu_max_mhz

    @property
    def temperature_c(self) -> float | None:
        """The GPU's temperature, or that of the hottest zone where none is named after it."""
        gpu = [value for name, value in self.temperatures_c.items() if "gpu" in name.lower()]
        return max(gpu or self.temperatures_c.values(), default=None)

    def figures(self) -> dict[str, float]:
        """Give what a measurement's record keeps of it."""
        named = {
            "gpu_mhz": self.gpu_mhz,
            "temperature_c": self.temperature_c,
            "free_memory_mib": self.free_memory_mib,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Board:
    """What does not change while a board works, and how it was when asked."""

    model: str
    """From its device tree; its GPU's name on a machine that is no Jetson."""
    l4t: str
    """Version of NVIDIA's Linux for Tegra, empty elsewhere."""
    trtexec: Trtexec
    """What times networks there."""
    has_flock: bool
    """Without it nothing keeps two measurements apart."""
    has_timeout: bool
    """Without it a run is ended by the shell alone."""
    desktop: tuple[str, ...]
    """Programs of a graphical desktop that run."""
    load: float | None
    """Of the CPU, over the last minute."""
    state: BoardState
    """When it was asked."""


def probe_board(host: SshHost) -> Board:
    """Ask a board what it is.

    Raises:
        DeviceAwayError: it cannot be reached.
        DeviceError: there is no trtexec, or none that says what it can.
    """
    nonce = secrets.token_hex(8)
    result = host.run(PROBE, nonce, host.address.trtexec, what="asking what the board is", limit_s=120)
    parts = split_parts(result.stdout, nonce)
    if "end" not in parts:
        raise DeviceError(
            f"{result.host} did not say what it is (exit status {result.exit_status}): "
            f"{(result.stderr or result.stdout).strip()[-300:] or 'no word'}",
            hint="its login shell must run plain commands without printing anything of its own in between",
        )
    facts = _facts(parts["board"])
    state = read_state(parts["board"])
    path = facts.get("trtexec", "")
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
        load=_number(facts.get("load")),
        state=state,
    )


def split_parts(text: str, nonce: str) -> dict[str, str]:
    """Take apart what a script printed between its marks; the nonce keeps others' output from posing as one."""
    pieces = re.split(rf"^@{nonce} (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def read_state(text: str) -> BoardState:
    """Read what the scripts' ``state`` prints."""
    clocks = re.findall(r"^devfreq (\S+) (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    gpu = next(([int(value) / 1e6 for value in values] for name, *values in clocks if _GPU_CLOCK.search(name)), None)
    zones = re.findall(r"^thermal (\S*) (-?\d+)$", text, re.MULTILINE)
    temperatures = {name: int(t) / 1000 for name, t in zones if int(t) > 0 and not _NOT_THE_CHIP.search(name)}
    memory = {name: int(kib) / 1024 for name, kib in re.findall(r"^memory (\w+) (\d+)$", text, re.MULTILINE)}
    disk = re.search(r"^disk (\d+)", text, re.MULTILINE)
    power = re.search(r"^power (.+)$", text, re.MULTILINE)
    card = re.search(r"^nvidia-smi (.+)$", text, re.MULTILINE)
    name, *figures = [part.strip() for part in card[1].split(",")] if card else [""]
    values = [_number(figure) for figure in figures] + [None] * 5
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
    )


def identity_of(board: Board, state: BoardState) -> DeviceIdentity:
    """Give the identity of a board in some state."""
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
    return {name: value for name, value in reversed(lines)}  # the first of a name wins


def _l4t(text: str) -> str:
    """Read ``# R32 (release), REVISION: 7.4, …`` as 32.7.4."""
    match = re.search(r"R(\d+).*REVISION: ([\d.]+)", text)
    return f"{match[1]}.{match[2]}" if match else ""


def _library(text: str) -> str:
    """Read a package version (``8.2.1-1+cuda10.2``) or the end of a library's name (``8.2.1``)."""
    match = re.match(r"\d+\.\d+\.\d+", text)
    return match[0] if match else ""


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _without_trtexec(result: RemoteResult, path: str, said: str) -> DeviceError:
    if not path:
        return DeviceError(
            f"{result.host} has no trtexec",
            hint="JetPack puts it into /usr/src/tensorrt/bin (package libnvinfer-bin); where it lies elsewhere, say "
            f"ssh://{result.host}?trtexec=/path/of/trtexec",
        )
    return DeviceError(
        f"{path} on {result.host} does not say what it can: {said.strip()[-300:] or 'it printed nothing'}",
        hint=f"run `{path} --help` on the board",
    )
