"""Examines a device: its facts, how steady it is, and advice."""

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trials.latency.board import Board, SshDevice
from trials.latency.board.engine import TimedRun
from trials.latency.board.probe import BoardState
from trials.latency.board.ssh_device import judge
from trials.latency.cuda import CudaDevice
from trials.latency.cuda.gpu import HEAT
from trials.latency.device import Device, DeviceIdentity, EngineBuilder, UnstableError
from trials.latency.measure import alone
from trials.latency.measurement_lock import MeasurementLock
from trials.latency.reference_network import write_reference
from trials.latency.steadiness import grade_repeats, is_throttled, range_of
from trials.scratch import temporary_folder

_RUNS = 3
_HOT_C = 75.0
_LITTLE_MEMORY_MIB = 1024.0
_LITTLE_DISK_MIB = 1024.0
_BUSY_LOAD = 1.0


@dataclass(frozen=True)
class Finding:
    """One observation about a device."""

    level: Literal["good", "note", "problem"]
    """A problem makes measurements unreliable."""
    text: str
    """The observation."""
    advice: str = ""
    """What to do about it."""


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """The result of an examination."""

    device: str
    """The device as the user typed it."""
    identity: DeviceIdentity
    opset: int
    """The ONNX operator set its networks are written in."""
    facts: dict[str, str]
    """Name to value with unit, for display."""
    reference_ms: tuple[float, ...]
    """Medians of the reference network's runs, in milliseconds; empty if the device was unstable."""
    findings: tuple[Finding, ...]

    @property
    def is_steady(self) -> bool:
        """Whether there is no problem."""
        return not any(finding.level == "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary."""
        return {**dataclasses.asdict(self), "key": self.identity.key, "is_steady": self.is_steady}


def examine_device(device: Device) -> DeviceReport:
    """Read a device's facts, time the reference network three times, and judge both.

    Raises:
        DeviceError: the device cannot be reached, or cannot run the reference network.
    """
    identity = device.identity()
    if isinstance(device, SshDevice):
        board = device.board
        runs, is_first = device.time_reference(_RUNS)
        medians = [float(np.median(run.samples_ms)) for run in runs]
        findings = [*_find(board), *_find_faults(runs), *_find_no_figure(is_first), _steadiness(medians)]
        facts = _facts(board)
    else:
        medians, trouble = _time_reference(device)
        findings = trouble or [_steadiness(medians)]
        facts = {"model": identity.board, "runtime": identity.backend, **identity.settings}
        if isinstance(device, CudaDevice):
            findings = [*_find_on_gpu(device), *findings]
            facts |= _gpu_facts(device)
    return DeviceReport(
        device=device.name,
        identity=identity,
        opset=device.opset,
        facts={**facts, "networks": f"{identity.precision}, ONNX opset {device.opset}"},
        reference_ms=tuple(medians),
        findings=tuple(findings),
    )


def _find_faults(runs: Sequence[TimedRun]) -> Iterator[Finding]:
    """Report what speaks against the runs, each kind once: under load a clock may fall that is locked before."""
    kinds = {re.sub(r"[\d.]+", "", fault): fault for run in runs for fault in judge(run).faults}
    for fault in kinds.values():
        yield Finding(
            "problem", f"under load: {fault}", "cool the board, use its own power supply, stop other work on it"
        )


def _find_no_figure(is_first: bool) -> Iterator[Finding]:
    if not is_first:
        yield Finding(
            "note",
            "no first figure of the reference network was stored: it needs two runs without a fault that agree",
            "fix what is not steady, then run this command again",
        )


def _gpu_facts(device: CudaDevice) -> dict[str, str]:
    gpu, state = device.gpu, device.gpu.read_state()
    figures = {
        "GPU clock": (state.clock_mhz, gpu.max_clock_mhz, "MHz"),
        "power": (state.power_w, gpu.power_limit_w, "W"),
    }
    return {
        "number": f"{gpu.index} (of nvidia-smi)",
        **{
            name: "unknown" if now is None or most is None else f"{now:.0f} of {most:.0f} {unit}"
            for name, (now, most, unit) in figures.items()
        },
        "temperature": "unknown" if state.temperature_c is None else f"{state.temperature_c:.0f} °C",
        "memory": gpu.memory,
    }


def _find_on_gpu(device: CudaDevice) -> Iterator[Finding]:
    """Judge a GPU right after its reference network was timed, while its clock is still up."""
    gpu, state = device.gpu, device.gpu.read_state()
    for reason in state.throttling:
        level: Literal["note", "problem"] = "problem" if reason in HEAT else "note"
        yield Finding(level, f"the driver lowers the GPU's clock: {reason}", "cool the GPU, or check its power supply")
    if others := sorted(set(gpu.processes()) - {os.getpid()}):
        listed = ", ".join(map(str, others))
        yield Finding(
            "note", f"other programs compute on this GPU: process {listed}", "stop them, or measure on another"
        )
    if gpu.clock == "free":
        yield Finding(
            "note",
            "the GPU's clock is free, as far as its driver tells: it falls with heat",
            "`sudo nvidia-smi -pm 1`, then `sudo nvidia-smi -lgc MHZ` lock it (`-rgc` undoes it): without the first, the "
            "lock ends as soon as no program uses the GPU; a lock does not show here",
        )
    used_mib = gpu.used_memory_mib()
    if gpu.memory_mib is not None and used_mib is not None and gpu.memory_mib - used_mib < _LITTLE_MEMORY_MIB:
        yield Finding("problem", "little of the GPU's memory is free", "stop other programs on this GPU")


def _time_reference(device: Device) -> tuple[list[float], list[Finding]]:
    with temporary_folder() as folder, MeasurementLock().shared() as lock, alone(device, lock):
        path = Path(folder) / "reference.onnx"
        write_reference(path, opset=device.opset)
        if isinstance(device, EngineBuilder):  # one engine for all runs: others differ by the builder's choices
            device.build_engine(path, Path(folder) / "reference.engine")
        try:
            return [device.measure(path).median_ms for _ in range(_RUNS)], []
        except UnstableError as error:
            return [], [Finding("problem", error.message, error.hint)]


def _steadiness(medians: list[float]) -> Finding:
    grade = grade_repeats(medians)
    text = f"{len(medians)} runs of the reference network agree within {range_of(medians):.2%}"
    if grade == "steady":
        return Finding("good", f"steady: {text}")
    if grade == "usable":
        return Finding("note", f"fairly steady: {text}", "stop other work on the device for better figures")
    advice = "stop other work on the device, follow the advice above, then run this command again"
    return Finding("problem", f"not steady: {text}", advice)


def _facts(board: Board) -> dict[str, str]:
    state = board.state
    locked = {True: "locked", False: "not locked", None: "lock unknown"}[state.is_clock_locked]
    free, total = state.free_memory_mib, state.memory_mib
    clocks = state.gpu_mhz, state.gpu_max_mhz
    temperatures = ", ".join(f"{name} {value:.0f} °C" for name, value in state.temperatures_c.items())
    facts = {
        "model": board.model,
        "L4T": board.l4t,
        "TensorRT": f"{board.trtexec.version} ({board.trtexec.path})",
        "power mode": state.power_mode,
        "GPU clock": "" if None in clocks else f"{clocks[0]:.0f} of {clocks[1]:.0f} MHz, {locked}",
        "temperatures": temperatures,
        "memory": "" if None in (free, total) else f"{free:.0f} of {total:.0f} MiB free",
        "disk": "" if state.free_disk_mib is None else f"{state.free_disk_mib / 1024:.1f} GiB free",
    }
    return {name: value or "unknown" for name, value in facts.items()}


def _find(board: Board) -> Iterator[Finding]:
    yield _clock(board.state)
    mode, heat = board.state.power_mode, board.state.temperature_c
    if mode and not mode.upper().startswith("MAXN"):
        yield Finding(
            "note",
            f"power mode {mode}: latencies are valid for this mode only; another mode is another device",
            "choose the one you will deploy in: `sudo nvpmodel -p --verbose` lists them, `sudo nvpmodel -m ID` sets one "
            "(0 is the fastest on a Nano, not on an Orin Nano)",
        )
    if heat is not None and heat >= _HOT_C:
        yield Finding("problem", f"the board is at {heat:.0f} °C: it may throttle", "cool it with a fan or a pause")
    if board.desktop:
        yield Finding(
            "note",
            f"a desktop is running ({', '.join(board.desktop)}): it takes memory and GPU time",
            "close it with `sudo systemctl isolate multi-user.target` (`… graphical.target` brings it back)",
        )
    yield from _find_shortages(board)


def _clock(state: BoardState) -> Finding:
    if state.is_clock_locked is None:
        return Finding("note", "the board does not report its GPU clock: throttling shows only as drift")
    if not state.is_clock_locked:
        return Finding(
            "problem",
            "the clocks are not locked: latency can swing by a factor of two",
            "run `sudo jetson_clocks` on the board (until its next start; `sudo jetson_clocks --restore` undoes it)",
        )
    if is_throttled(state.gpu_mhz, state.gpu_max_mhz):
        return Finding(
            "problem",
            f"the GPU runs at {state.gpu_mhz:.0f} MHz although locked at {state.gpu_max_mhz:.0f}: it throttles",
            "cool the board, use its own power supply, or choose a lower power mode (sudo nvpmodel -m …)",
        )
    return Finding("good", f"the GPU's clock is locked at {state.gpu_max_mhz:.0f} MHz")


def _find_shortages(board: Board) -> Iterator[Finding]:
    memory, disk = board.state.free_memory_mib, board.state.free_disk_mib
    if memory is not None and memory < _LITTLE_MEMORY_MIB:
        yield Finding(
            "problem",
            f"only {memory:.0f} MiB of memory are free: builds may be killed or skip faster tactics",
            "close the desktop and other programs; swap does not help the GPU",
        )
    if disk is not None and disk < _LITTLE_DISK_MIB:
        advice = "free some; the folder ~/.cache/yoloret-nas on the board may be deleted"
        yield Finding("problem", f"only {disk:.0f} MiB of disk are free", advice)
    if board.load is not None and board.load >= _BUSY_LOAD:
        yield Finding("note", f"the board's CPU is busy (load {board.load:.1f})", "run `top` on the board")
    if missing := [name for name, there in (("flock", board.has_flock), ("timeout", board.has_timeout)) if not there]:
        danger = "" if board.has_flock else ": two measurements may run at once"
        text = f"the board has no {' and no '.join(missing)}{danger}"
        yield Finding("note", text, "flock is in util-linux, timeout in coreutils")
