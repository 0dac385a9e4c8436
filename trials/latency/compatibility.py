"""Whether a TensorRT takes a space's networks: asked before any is trained, and without running one.

Two are asked: our tables of what each version reads, and the parser and builder of a TensorRT installed on this machine.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from spaces import Architecture, YoloRetError
from spaces.cover import cover
from spaces.space import Space
from trials.latency.board import SshDevice
from trials.latency.cuda import CudaDevice
from trials.latency.cuda.engine import TensorRT, build_engine, find_tensorrt, parse_network
from trials.latency.device import Device, UnknownDeviceError
from trials.latency.open_device import open_device
from trials.onnx import TensorRTVersion, UnsupportedNetworkError, check_onnx
from trials.onnx.export import export_for_timing
from trials.onnx.half_precision import write_half
from trials.scratch import temporary_folder

_CAPABILITY = (8, 6)
"""Of the GPU that engines are built for where none is at hand; what is refused hardly depends on it."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What takes or refuses an ONNX file."""

    version: TensorRTVersion
    """The TensorRT whose operator set and operators count, by our tables."""
    installed: TensorRT | None = None
    """The TensorRT whose parser is asked too, about the FP32 file and the FP16 file; None for none."""
    is_built: bool = False
    """Whether its builder is asked as well, for a machine without a GPU; TensorRT for RTX only."""

    def __str__(self) -> str:
        parts = [f"our tables for TensorRT {self.version} (opset {self.version.opset})"]
        if self.installed is not None:
            what = "parser and builder" if self.is_built else "parser"
            parts.append(f"the {what} of {self.installed} (FP32 and FP16)")
        return " and ".join(parts)

    def check(self, onnx_path: Path) -> None:
        """Check an FP32 file.

        Raises:
            UnsupportedNetworkError: it is refused; the message has the reason.
        """
        check_onnx(onnx_path, version=self.version)
        if self.installed is None:
            return
        with temporary_folder() as folder:
            half = Path(folder) / "half.onnx"
            write_half(onnx_path, half)
            for name, path in (("FP32", onnx_path), ("FP16", half)):
                try:
                    if self.is_built:
                        build_engine(self.installed, path.read_bytes(), capability=_CAPABILITY)
                    else:
                        parse_network(self.installed, path.read_bytes())
                except UnsupportedNetworkError as error:
                    raise UnsupportedNetworkError(f"{name}: {error.message}") from error


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a judge said of a space."""

    taken: tuple[Architecture, ...]
    """Those it takes."""
    refused: tuple[tuple[Architecture, str], ...]
    """Those it refuses, each with the reason."""
    culprits: tuple[str, ...]
    """The choices that make it refuse, as ``axis value``; empty if nothing is refused, or everything."""


def open_judge(spec: str) -> Judge | None:
    """Return the judge that a text names; None for a device without TensorRT, which takes every network.

    Args:
        spec: ``tensorrt`` for the one installed here, a version such as ``8.2``, or a device.

    Raises:
        UnknownDeviceError: it names none, or no TensorRT is installed.
        DeviceError: a board cannot be reached.
    """
    if spec == "tensorrt":
        found = find_tensorrt()
        return Judge(version=found.reads, installed=found, is_built=found.builds_without_gpu)
    if match := re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", spec):
        version = TensorRTVersion(*(int(number or 0) for number in match.groups()))
        if version < (7, 0):
            raise UnknownDeviceError(f"TensorRT {spec} is older than our tables", hint="they begin with 7.0")
        installed = _find_installed()
        is_built = installed is not None and installed.builds_without_gpu
        return Judge(version=version, installed=installed, is_built=is_built)
    if not spec.startswith(("cpu", "cuda", "ssh://")):
        raise UnknownDeviceError(
            f"{spec!r} names no TensorRT",
            hint="use tensorrt for the one installed here, a version such as 8.2, or a device: cuda, ssh://nano",
        )
    with closing(open_device(spec, patience_s=0)) as device:
        return judge_of(device)


def judge_of(device: Device) -> Judge | None:
    """Return the judge for a device; None for one without TensorRT, which takes every network.

    Raises:
        DeviceError: a board cannot be reached.
    """
    if isinstance(device, SshDevice):
        return Judge(version=device.board.trtexec.version)
    if isinstance(device, CudaDevice):
        return Judge(version=device.tensorrt.reads, installed=device.tensorrt)
    return None


def _find_installed() -> TensorRT | None:
    try:
        return find_tensorrt()
    except UnknownDeviceError:
        return None  # the judge's name says who was asked


def judge_space(
    space: Space, judge: Judge, *, num_classes: int, on_judged: Callable[[int, int], None] = lambda done, whole: None
) -> Report:
    """Let a judge look at the architectures that `cover` chooses from a space.

    Args:
        space: The space.
        judge: What takes or refuses them.
        num_classes: Classes of the detectors.
        on_judged: Called after each of them with how many are done, and how many there are.
    """
    taken, refused = [], []
    chosen = cover(space)
    for done, architecture in enumerate(chosen, start=1):
        reason = _why_refused(architecture, judge, num_classes=num_classes)
        if reason:
            refused.append((architecture, reason))
        else:
            taken.append(architecture)
        on_judged(done, len(chosen))
    culprits = tuple(_find_culprits(space, taken, [architecture for architecture, _ in refused], judge, num_classes))
    return Report(taken=tuple(taken), refused=tuple(refused), culprits=culprits)


def _why_refused(architecture: Architecture, judge: Judge, *, num_classes: int) -> str:
    """Return why a network is refused; empty if it is taken."""
    with temporary_folder() as folder:
        path = Path(folder) / f"{architecture.key}.onnx"
        try:
            export_for_timing(architecture, path, num_classes=num_classes, opset=judge.version.opset)
            judge.check(path)
        except YoloRetError as error:
            return error.message
    return ""


def _find_culprits(
    space: Space, taken: Sequence[Architecture], refused: Sequence[Architecture], judge: Judge, num_classes: int
) -> Iterator[str]:
    """Yield the choices that only refused networks have, unless a network that was taken can have them too."""
    for axis in (axis for axis in space.open_axes if axis not in ("truncation", "transfer")):
        innocent = {getattr(architecture, axis) for architecture in taken}
        suspects = {architecture.to_dict()[axis]: architecture for architecture in refused}
        for spelled, suspect in suspects.items() if taken else ():
            value = getattr(suspect, axis)
            if value in innocent or spelled not in space.values(axis):  # an RFCR size is 0 without RFCR
                continue
            together = ("neck", "scale_set") if axis in ("neck", "scale_set") else (axis,)
            changes = {name: suspect.to_dict()[name] for name in together}
            twins = (space.nearest({**architecture.to_dict(), **changes}) for architecture in taken)
            twin = next((twin for twin in twins if getattr(twin, axis) == value), None)
            if twin is None or _why_refused(twin, judge, num_classes=num_classes):
                yield f"{axis} {spelled}"
