"""What trtexec said: banner, build, bindings, and the GPU compute time.

Reading takes everything that is there; whether a figure may be used is `trials.latency.board.trtexec_failure`'s to say, since a run can
print a summary and still have failed, and can pass without having measured what was meant.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trials.onnx.tensorrt_version import TensorRTVersion, find_version


@dataclass(frozen=True, kw_only=True)
class Summary:
    """trtexec's own statistics of the GPU compute time, in milliseconds; None is what was not printed whole."""

    median_ms: float
    """Never missing: without it there is no summary."""
    min_ms: float | None = None
    max_ms: float | None = None
    mean_ms: float | None = None
    percentiles_ms: Mapping[int, float] = field(default_factory=dict)
    """By percent: 99, from 8.5 also 90 and 95."""


@dataclass(frozen=True, kw_only=True)
class TrtexecLog:
    """One run of trtexec, standard output and error merged."""

    text: str
    """All of it."""
    version: TensorRTVersion | None
    """From the banner; 7.x prints none."""
    command: str
    """As the banner repeats it, empty without one."""
    has_passed: bool
    """Whether ``&&&& PASSED`` was printed, and nothing of the kind said otherwise."""
    has_failed: bool
    """Whether ``&&&& FAILED`` was printed."""
    compute: Summary | None
    """The performance summary, where it was printed."""
    throughput_per_s: float | None
    """Queries a second; 7.x prints 0 where it does not know, which is None here."""
    bindings: Mapping[str, tuple[int, ...]]
    """Input bindings by name, from 8.0 on."""
    build_s: float | None
    """Seconds of the build, from 8.0 on."""
    num_skipped_tactics: int
    """Ways to run a layer that were not tried for want of memory: the engine may be slower than it could be."""
    is_profiled: bool
    """Whether the timed run had the profiler attached."""
    variation: float | None
    """The coefficient of variation that trtexec itself complained of, as a share."""


def parse_log(text: str) -> TrtexecLog:
    """Read a log of any version from 7.1 to 11; anything else gives a log without figures."""
    commands = re.findall(r"^&&&& \w+ TensorRT\.trtexec[^#\n]*#\s*(.*)$", text, re.MULTILINE)
    banner = re.search(r"^&&&& .*$", text, re.MULTILINE)
    built = re.search(r"Engine built in ([\d.]+) sec", text)
    unstable = re.search(r"coefficient of varia\w+ = ([\d.]+)%", text)
    throughput = _number(re.search(r"^.*\bthroughput: (\S+) qps\s*$", text, re.MULTILINE | re.IGNORECASE))
    return TrtexecLog(
        text=text,
        version=find_version(banner[0].split("#")[0]) if banner else None,
        command=commands[0] if commands else "",
        has_passed="&&&& PASSED" in text and "&&&& FAILED" not in text,
        has_failed="&&&& FAILED" in text,
        compute=_summary(text) or _summary_of_7(text),
        throughput_per_s=throughput or None,
        bindings=_bindings(text),
        build_s=_number(built),
        num_skipped_tactics=len(re.findall(r"Skipping tactic", text)),
        is_profiled=_is_profiled(text, commands[0] if commands else ""),
        variation=None if unstable is None else float(unstable[1]) / 100,
    )


def _summary(text: str) -> Summary | None:
    """Read 8.x and later: ``GPU Compute Time: min = … ms, …, median = … ms, percentile(99%) = … ms``."""
    lines = re.findall(r"^.*\bGPU Compute Time: (min = .*)$", text, re.MULTILINE)
    if not lines:
        return None
    # A value counts only with its unit: a terminal may have cut the line in the middle of a number.
    values = dict(re.findall(r"([a-z]+(?:\(\d+%\))?) = (\S+) ms(?:,|\s*$)", lines[-1]))
    percentiles = {int(name[11:-2]): value for name, value in values.items() if name.startswith("percentile(")}
    return _checked(values, {percent: float(value) for percent, value in percentiles.items()})


def _summary_of_7(text: str) -> Summary | None:
    """Read 7.x: a line ``GPU Compute`` and below it ``min: 55.14 ms``, one value a line."""
    blocks = re.findall(
        r"^.*\] GPU Compute\s*$\n((?:.*\] (?:min|max|mean|median|percentile): .*\n?)+)", text, re.MULTILINE
    )
    if not blocks:
        return None
    values = dict(re.findall(r"\] (min|max|mean|median): (\S+) ms\s*$", blocks[-1], re.MULTILINE))
    percentiles = re.findall(r"\] percentile: (\S+) ms at (\d+)%\s*$", blocks[-1], re.MULTILINE)
    return _checked(values, {int(percent): float(value) for value, percent in percentiles})


def _checked(values: Mapping[str, str], percentiles: Mapping[int, float]) -> Summary | None:
    numbers = {
        name: number for name in ("min", "max", "mean", "median") if (number := _float(values.get(name))) is not None
    }
    if not 0 < numbers.get("median", math.nan) < math.inf:
        return None
    return Summary(
        median_ms=numbers["median"],
        min_ms=numbers.get("min"),
        max_ms=numbers.get("max"),
        mean_ms=numbers.get("mean"),
        percentiles_ms=percentiles,
    )


def _bindings(text: str) -> dict[str, tuple[int, ...]]:
    """Read ``Created input binding for NAME with dimensions 1x3x320x320``."""
    found = re.findall(r"Created input binding for (.+) with dimensions ([\dx]+)\s*$", text, re.MULTILINE)
    return {name: tuple(int(side) for side in sides.split("x") if side) for name, sides in found}


def _is_profiled(text: str, command: str) -> bool:
    if "profiler is enabled" in text:  # 8.4 to 10.x, which then print no summary
        return True
    return "--separateProfileRun" not in command and re.search(r"--(dump|export)Profile\b", command) is not None


def _number(match: re.Match[str] | None) -> float | None:
    return _float(match[1]) if match else None


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
