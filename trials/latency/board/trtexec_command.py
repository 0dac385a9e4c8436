"""The command lines of trtexec for building and timing, with the flags that this version knows: others end the run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trials.onnx import TensorRTVersion, find_version

_WORKSPACE_SHARE = 8
_WORKSPACE_MIB = (256, 2048)
"""Scratch memory for the builder: an eighth of the board's, within these bounds. The default of 8.2 and before, 16 MiB,
is too small for the good tactics; a 4 GB Nano, whose CPU shares the memory, needs 256 to 512."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Duration of a timed run."""

    warm_up_ms: int = 1000
    """Warm-up before the timed passes."""
    duration_s: int = 5
    """Shortest duration."""
    iterations: int = 100
    """Fewest passes."""

    def __post_init__(self) -> None:
        if self.warm_up_ms < 0 or self.duration_s < 0 or self.iterations < 1:
            raise ValueError(f"{self}: warm-up and duration are at least 0, iterations at least 1")


@dataclass(frozen=True, kw_only=True)
class Trtexec:
    """The trtexec of one board."""

    path: str
    """Its path on the board."""
    version: TensorRTVersion
    """Version of TensorRT."""
    flags: frozenset[str]
    """The flags its help lists, without dashes."""

    @property
    def takes_fp16(self) -> bool:
        """Whether it converts an FP32 file to FP16; TensorRT 11 does not."""
        return "fp16" in self.flags

    @property
    def uses_cuda_graph(self) -> bool:
        """Whether timed passes are launched as a CUDA graph, which 11 and later always do."""
        return "useCudaGraph" in self.flags or self.version.major >= 11

    def build_command(
        self, *, onnx: str, engine: str, timing_cache: str, workspace_mib: int, is_int8: bool = False
    ) -> list[str]:
        """Return the command that builds an engine and times nothing.

        Args:
            onnx: Path on the board.
            engine: Path to write.
            timing_cache: Path to read and write; unused before 8.0.
            workspace_mib: Scratch memory for the builder.
            is_int8: Whether the file is quantised, which up to 10 must be allowed.
        """
        int8 = ["--int8"] if is_int8 and "int8" in self.flags else []
        flags = [*self._build_flags(timing_cache, workspace_mib), *int8]
        return [self.path, f"--onnx={onnx}", f"--saveEngine={engine}", *flags]

    def time_command(self, *, engine: str, times: str, timing: Timing) -> list[str]:
        """Return the command that times an engine, without profiler and without copies to and from the GPU.

        Args:
            engine: Path on the board.
            times: Path of the times file to write.
            timing: Duration of the run.
        """
        switches = [f"--{flag}" for flag in ("useSpinWait", "noDataTransfers", "useCudaGraph") if flag in self.flags]
        lengths = {"warmUp": timing.warm_up_ms, "duration": timing.duration_s, "iterations": timing.iterations}
        options = [f"--{name}={value}" for name, value in {**lengths, "exportTimes": times}.items()]
        return [self.path, f"--loadEngine={engine}", *switches, *options]

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
        if "timingCacheFile" in self.flags:  # it keeps the timings of tactics from build to build
            yield f"--timingCacheFile={timing_cache}"
        if "skipInference" in self.flags:
            yield "--skipInference"
        elif "buildOnly" in self.flags:
            yield "--buildOnly"


def read_help(text: str, *, path: str, library: str) -> Trtexec | None:
    """Parse version and flags of a trtexec from its help.

    Args:
        text: What ``trtexec --help`` printed.
        path: Its path on the board.
        library: Version of the installed TensorRT library (``8.2.1``), for 7.x, whose help has no banner.

    Returns:
        None for a text that is not trtexec's help.
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
    """Return the builder's scratch memory for a board with this much memory."""
    low, high = _WORKSPACE_MIB
    return int(min(max(memory_mib / _WORKSPACE_SHARE, low), high))
