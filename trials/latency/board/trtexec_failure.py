"""Why a run of trtexec gave no latency, with a message and a hint for the user."""

import re
from dataclasses import dataclass
from typing import Literal

from trials.latency.board.trtexec_log import TrtexecLog

FailureKind = Literal[
    "disk_full",
    "garbage",
    "killed",
    "no_implementation",
    "other",
    "other_version",
    "out_of_memory",
    "refused",
    "timeout",
    "truncated",
    "unknown_flag",
    "unsupported_operator",
    "wrong_shape",
]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The cause of a run without a latency."""

    kind: FailureKind
    message: str
    """One sentence."""
    hint: str = ""
    """The remedy, where one is known."""


def find_failure(
    log: TrtexecLog,
    *,
    exit_status: int | None,
    is_timed: bool,
    shape: tuple[int, ...] | None = None,
    limit_s: float | None = None,
) -> Failure | None:
    """Return why a run must not be used; None for a successful run.

    Args:
        log: Its log.
        exit_status: Its exit status; None if only the log is known.
        is_timed: Whether it should give a latency.
        shape: Shape of the network's only input; compared with the binding in the log (from 8.0 on).
        limit_s: Its time limit in seconds, for the message.
    """
    is_complete = log.has_passed and exit_status in (0, None) and (log.median_ms is not None or not is_timed)
    if not is_complete and exit_status == 124:  # whatever it complained of before: builds that succeed do, too
        return _timeout(limit_s, is_timed=is_timed)
    if not is_complete:
        return _explain(log, exit_status)
    for name, dimensions in log.bindings.items():
        if shape is not None and dimensions != shape:
            return _wrong_shape(name, dimensions, shape)
    return None


def _explain(log: TrtexecLog, exit_status: int | None) -> Failure:
    for pattern, kind, message, hint in _SIGNS:
        if match := re.search(pattern, log.text, re.MULTILINE):
            return Failure(kind=kind, message=_fill(message, match), hint=hint)
    for name, dimensions in log.bindings.items():
        if dimensions[2:] and all(side == 1 for side in dimensions[2:]):
            return _wrong_shape(name, dimensions, None)
    if exit_status == 137 or re.search(r"^Killed\s*$", log.text, re.MULTILINE):
        return Failure(
            kind="killed", message="the kernel killed trtexec, probably for lack of memory", hint=_FREE_MEMORY
        )
    if log.has_failed or exit_status not in (0, None):
        return Failure(
            kind="other",
            message=f"trtexec failed (exit status {exit_status}): {last_words(log.text) or 'no reason given'}",
        )
    if "trtexec" not in log.text and " [I] " not in log.text:
        return Failure(kind="garbage", message=f"the output is not trtexec's: {last_words(log.text)!r}")
    return Failure(kind="truncated", message=f"trtexec's output is cut off after: {last_words(log.text) or 'nothing'}")


def _timeout(limit_s: float | None, *, is_timed: bool) -> Failure:
    setting = "run_limit_s" if is_timed else "build_limit_s"
    longer = "" if limit_s is None else f"={2 * limit_s:.0f}"
    return Failure(
        kind="timeout",
        message="trtexec did not end within " + ("its time limit" if limit_s is None else f"{limit_s:.0f} s"),
        hint=f"give it more time with the device's {setting}, as in ssh://nano?{setting}{longer}",
    )


def last_words(text: str) -> str:
    """Return the last error, or else the last line, without its time stamp, at most 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line or line.startswith("ERROR")]
    chosen = (errors or lines or [""])[-1]
    return re.sub(r"^(\[[\d/]+-[\d:]+\]\s*)?(\[[A-Z]\]\s*)?(\[TRT\]\s*)?", "", chosen)[:300]


def _wrong_shape(name: str, dimensions: tuple[int, ...], shape: tuple[int, ...] | None) -> Failure:
    got = "×".join(map(str, dimensions))
    wanted = f", not at {'×'.join(map(str, shape))}" if shape else ""
    return Failure(
        kind="wrong_shape",
        message=f"trtexec measured input {name} at {got}{wanted}",
        hint="trtexec measures a file with dynamic shapes at one pixel without a warning: export static shapes",
    )


def _fill(message: str, match: re.Match[str]) -> str:
    flags = sorted(set(re.findall(r"Unknown option: (\S+)", match.string)))
    sizes = re.findall(r"(?:Requested size was|GPU memory \()\s*(\d{1,18}) bytes", match.string)
    requested = f" ({max(map(int, sizes)) / 2**20:.0f} MiB requested)" if sizes else ""
    groups = (group.strip() for group in match.groups(""))
    return message.format(*groups, flags=", ".join(flags), requested=requested, words=last_words(match[0]))


_FREE_MEMORY = "close the desktop and other programs on the board, or search a space of smaller networks"
_OTHER_OPERATORS = "choose a space without it, or a board with a newer TensorRT"
_NO_OPERATOR = "this TensorRT has no operator {0}"
_REFUSES = "TensorRT refuses the network: {words}"

_SIGNS: tuple[tuple[str, FailureKind, str, str], ...] = (
    (r"Unknown option: ", "unknown_flag", "this board's trtexec does not know {flags}", ""),
    (
        r"No space left on device|Saving engine to file failed",
        "disk_full",
        "the board's disk is full",
        "free some space on the board (df -h)",
    ),
    (r"could not find plugin:? (\w+)", "unsupported_operator", _NO_OPERATOR, _OTHER_OPERATORS),
    (r"No importer registered for op: (\w+)", "unsupported_operator", _NO_OPERATOR, _OTHER_OPERATORS),
    (
        r"In function import(?!FallbackPlugin)(\w+):\n(?:\[\d+\] )?(.*)",
        "unsupported_operator",
        "this TensorRT cannot take the operator {0} as the network uses it: {1}",
        _OTHER_OPERATORS,
    ),
    (
        r"incompatible serialization version|kPLAN_MAGIC_TAG|compiled with (a )?different|not compatible with this version",
        "other_version",
        "the engine was built by another version of TensorRT, or for another GPU",
        "an engine is valid for one board and one version: build it again on this board",
    ),
    (
        r"Requested amount of GPU memory|OutOfMemory|\(out of memory\)|std::bad_alloc",
        "out_of_memory",
        "the board ran out of GPU memory{requested}",
        _FREE_MEMORY,
    ),
    (
        r"Could not find any implementation for node (.+?)\.\)",
        "no_implementation",
        "TensorRT found no implementation for the node {0}",
        "usually the workspace or the board's free memory is too small: close other programs on the board",
    ),
    (r"^.*Error Code \d+: .*$(?=[\s\S]*Failed to parse onnx file)", "refused", _REFUSES, ""),
    (r"^.*\n.*(?=Failed to parse onnx file)", "refused", _REFUSES, ""),
)
"""Pattern in a failed run's log, kind, message and hint, the most specific first; a successful run's log may match some of
them too. `_fill` puts what the log holds into the message: the pattern's groups by number, and more by name."""
