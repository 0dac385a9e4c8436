"""The two calls of trtexec, built from what this board's trtexec knows: any unknown flag would end the run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trials.onnx.tensorrt_version import TensorRTVersion, find_version

_WORKSPACE_SHARE = 8
_WORKSPACE_MIB = (256, 2048)
"""Scratch memory for the builder: an eighth of the board's, within these bounds. The default of 8.2 and before, 16 MiB,
is too small for the good tactics; a 4 GB Nano, which shares it with the CPU, wants 256 to 512."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long to time."""

    warm_up_ms: int = 1000
    """Not counted."""
    duration_s: int = 5
    """At least so long…"""
    iterations: int = 100
    """…and at least so many passes."""

    def __post_init__(self) -> None:
        if self.warm_up_ms < 0 or self.duration_s < 0 or self.iterations < 1:
            raise ValueError(f"{self}: warm-up and duration are at least 0, iterations at least 1")


@dataclass(frozen=True, kw_only=True)
class Trtexec:
    """The trtexec of one board."""

    path: str
    """Where it lies on the board."""
    version: TensorRTVersion
    """Of TensorRT."""
    flags: frozenset[str]
    """What its help lists, without the dashes."""

    @property
    def takes_fp16(self) -> bool:
        """Whether it makes an FP32 file FP16 by itself; TensorRT 11 does not."""
        return "fp16" in self.flags

    @property
    def has_timing_cache(self) -> bool:
        """Whether it keeps what it learnt about tactics from build to build."""
        return "timingCacheFile" in self.flags

    @property
    def uses_cuda_graph(self) -> bool:
        """Whether the timed passes are launched as one CUDA graph: from 11 on they are without asking."""
        return "useCudaGraph" in self.flags or self.version.major >= 11

    def build_command(self, *, onnx: str, engine: str, timing_cache: str, workspace_mib: int) -> list[str]:
        """Give the words that build an engine and time nothing.

        Args:
            onnx: Path on the board.
            engine: Path to write.
            timing_cache: Path to read and write, unused before 8.0.
            workspace_mib: Scratch memory for the builder.
        """
        return [self.path, f"--onnx={onnx}", f"--saveEngine={engine}", *self._build_flags(timing_cache, workspace_mib)]

    def time_command(self, *, engine: str, times: str, timing: Timing) -> list[str]:
        """Give the words that load an engine and time it, without profiler and without copies to and from the GPU.

        Args:
            engine: Path on the board.
            times: Path of the times file to write.
            timing: How long.
        """
        switches = [f"--{flag}" for flag in ("useSpinWait", "noDataTransfers", "useCudaGraph") if flag in self.flags]
        lengths = [
            f"--warmUp={timing.warm_up_ms}",
            f"--duration={timing.duration_s}",
            f"--iterations={timing.iterations}",
        ]
        return [self.path, f"--loadEngine={engine}", *switches, *lengths, f"--exportTimes={times}"]

    def _build_flags(self, timing_cache: str, workspace_mib: int) -> Iterator[str]:
        if "explicitBatch" in self.flags and self.version < (8, 0):
            yield "--explicitBatch"
        if "memPoolSize" in self.flags:
            yield f"--memPoolSize=workspace:{workspace_mib}"
        elif "workspace" in self.flags:
            yield f"--workspace={workspace_mib}"
        if self.takes_fp16:
            yield "--fp16"
        elif "stronglyTyped" in self.flags:
            yield "--stronglyTyped"
        if self.has_timing_cache:
            yield f"--timingCacheFile={timing_cache}"
        if "skipInference" in self.flags:
            yield "--skipInference"
        elif "buildOnly" in self.flags:
            yield "--buildOnly"


def read_help(text: str, *, path: str, library: str) -> Trtexec | None:
    """Make out version and flags of a trtexec from its help.

    Args:
        text: What ``trtexec --help`` printed.
        path: Where it lies on the board.
        library: Version of the TensorRT library installed beside it (``8.2.1``), for 7.x, whose help has no banner.

    Returns:
        None where this is no help of trtexec.
    """
    flags = frozenset(re.findall(r"^\s+--(\w+)", text, re.MULTILINE))
    if not {"onnx", "saveEngine", "loadEngine"} <= flags:
        return None
    first = next((line for line in text.splitlines() if line.startswith("&&&&")), "").split("#")[0]
    version = find_version(first) or find_version(library)
    if version is None:  # 7.x without a readable package list; this flag came with 7.2
        version = TensorRTVersion(7, 2 if "noDataTransfers" in flags else 1)
    return Trtexec(path=path, version=version, flags=flags)


def workspace_mib(memory_mib: float) -> int:
    """Give the builder's scratch memory for a board of this much memory."""
    low, high = _WORKSPACE_MIB
    return int(min(max(memory_mib / _WORKSPACE_SHARE, low), high))
