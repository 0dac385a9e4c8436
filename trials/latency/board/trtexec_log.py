"""Read what trtexec prints and writes: its log (build, input bindings, GPU compute time) and its times file.

A log that holds a median may still not be usable: a run can print a summary and fail, or pass without having measured what
was meant. `trials.latency.board.trtexec_failure` decides that.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces.documents import parse_json


@dataclass(frozen=True, kw_only=True)
class TrtexecLog:
    """One run of trtexec, standard output and error merged."""

    text: str
    """The whole log."""
    has_passed: bool
    """Whether it holds ``&&&& PASSED`` and no ``&&&& FAILED``."""
    has_failed: bool
    """Whether it holds ``&&&& FAILED``."""
    median_ms: float | None
    """Median GPU compute time of the performance summary; None without one."""
    throughput_per_s: float | None
    """Queries per second; None for unknown, which 7.x prints as 0."""
    bindings: Mapping[str, tuple[int, ...]]
    """Shapes of the input bindings by name, from 8.0 on."""
    build_s: float | None
    """Seconds of the build, from 8.0 on."""
    num_skipped_tactics: int
    """Tactics skipped for lack of memory: the engine may be slower than it could be."""
    ignores_graph: bool
    """Whether the network could not be recorded as a CUDA graph, which was asked for."""
    variation: float | None
    """The coefficient of variation that trtexec warned of, as a share."""


def parse_log(text: str) -> TrtexecLog:
    """Read a log of any version from 7.1 to 11; any other text gives a log without figures."""
    variation = _number(re.search(r"coefficient of varia\w+ = ([\d.]+)%", text))
    bindings = re.findall(
        r"(?:Created i|I)nput binding for (.+) with dimensions (\d{1,9}(?:x\d{1,9})*)"
        r"(?:(?: and type \S+)? is created\.)?\s*$",  # from 8.6 on
        text,
        re.MULTILINE,
    )
    throughput = _number(re.search(r"^.*\bthroughput: (\S+) qps\s*$", text, re.MULTILINE | re.IGNORECASE))
    return TrtexecLog(
        text=text,
        has_passed="&&&& PASSED" in text and "&&&& FAILED" not in text,
        has_failed="&&&& FAILED" in text,
        median_ms=_median(text),
        throughput_per_s=throughput or None,
        bindings={name: tuple(int(side) for side in sides.split("x")) for name, sides in bindings},
        build_s=_number(re.search(r"Engine built in ([\d.]+) sec", text)),
        num_skipped_tactics=len(re.findall(r"Skipping tactic", text)),
        ignores_graph="useCudaGraph flag has been ignored" in text,
        variation=None if variation is None else variation / 100,
    )


def parse_times(text: str, *, warm_up_ms: float) -> tuple[float, ...]:
    """Read the GPU compute times from a times file (``--exportTimes``), one object per query, in order, in milliseconds.

    Files of 8.4 and before include the warm-up: the queries that started within it, which is how trtexec itself tells them
    apart (sampleReporting.cpp).

    Args:
        text: The file's content.
        warm_up_ms: The warm-up that trtexec was started with.

    Returns:
        Empty for a file that is cut off, has another format, or holds a value that is not a time.
    """
    try:
        queries = parse_json(text)
    except ValueError:
        return ()
    if not isinstance(queries, list) or not all(isinstance(query, dict) for query in queries):
        return ()
    timed = [query for query in queries if _value(query, "startComputeMs") >= warm_up_ms]
    samples = tuple(_value(query, "computeMs") for query in timed)
    return samples if all(0 < sample < math.inf for sample in samples) else ()


def read_float(text: str) -> float | None:
    """Return the finite number that a text spells; None if it spells none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _median(text: str) -> float | None:
    """Read the median of the last summary of the GPU compute time.

    8.x and later print ``GPU Compute Time: min = … ms, …, median = … ms, …`` on one line; 7.x prints ``GPU Compute`` and
    below it ``median: 55.14 ms``, one value per line. A value counts only with its unit: a terminal may have cut the line in
    the middle of a number.
    """
    lines = re.findall(r"^.*\bGPU Compute Time: (min = .*)$", text, re.MULTILINE)
    values = re.findall(r"median = (\S+) ms(?:,|\s*$)", lines[-1]) if lines else []
    if not values:
        block = r"^.*\] GPU Compute\s*$\n((?:.*\] (?:min|max|mean|median|percentile): .*\n?)+)"
        blocks = re.findall(block, text, re.MULTILINE)
        values = re.findall(r"\] median: (\S+) ms\s*$", blocks[-1], re.MULTILINE) if blocks else []
    median = read_float(values[-1]) if values else None
    return median if median is not None and 0 < median < math.inf else None


def _number(match: re.Match[str] | None) -> float | None:
    return read_float(match[1]) if match else None


def _value(query: dict[str, Any], name: str) -> float:
    value = query.get(name)
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # of a whole number of hundreds of digits
        return math.nan
