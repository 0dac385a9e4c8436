"""Excerpts of real logs, each with its origin on its first line, and our own in the same format."""

from pathlib import Path

import pytest

from trials.latency.board.trtexec_failure import FailureKind, find_failure
from trials.latency.board.trtexec_log import parse_log, parse_times

LOGS = Path(__file__).parent / "logs"
WHOLE_LOGS = Path(__file__).parents[4] / "../shared/trtexec-logs"
"""The logs that the excerpts are of; beside the project on some machines."""

# File: median, throughput, build seconds, input bindings, kind of failure (None: the figure may be used).
REAL: dict[str, tuple[float | None, float | None, float | None, dict[str, tuple[int, ...]], str | None]] = {
    "01-8.0.1-jetson-nano.txt": (39.875, 24.7474, None, {"input": (1, 3, 640, 640)}, None),
    "03-8.2.1-jetson-nano-build-and-run.txt": (90.0183, 11.0613, 184.708, {"input": (1, 3, 288, 800)}, None),
    "05-8.2.1-xavier-nx.txt": (0.564087, 27207.0, None, {}, "truncated"),
    "07-8.5.2-agx-xavier-truncated-lines.txt": (0.369873, 43073.6, None, {}, "truncated"),
    "10-10.3.0-jetson-jetpack6-noDataTransfers.txt": (3.14062, 318.007, None, {}, None),
    "11-7.1.3-jetson-int8-resnet50.txt": (55.2111, 18.0758, None, {}, None),
    "12-7.1.x-jetson-yolov4-throughput0.txt": (4.40088, None, None, {}, None),
    "14-8.4-desktop-unstable-warning.txt": (1.38037, 716.632, None, {}, "truncated"),
    "20-FAIL-10.3.0-jetson-unknown-options.txt": (None, None, None, {}, "unknown_flag"),
    "21-FAIL-8.0.3-unsupported-op-plugin.txt": (None, None, None, {}, "unsupported_operator"),
    "22-FAIL-8.2.0-desktop-no-implementation.txt": (None, None, None, {}, "no_implementation"),
    "24-FAIL-10.0.1-engine-version-mismatch.txt": (None, None, None, {}, "other_version"),
    "26-WARN-8.2-jetson-nano-low-memory.txt": (None, None, None, {}, "truncated"),
    "28-FAIL-oom-runtime.txt": (None, None, None, {}, "out_of_memory"),
    "30-FAIL-jetson-nano-killed.txt": (None, None, None, {}, "killed"),
    "32-FAIL-7.2.2-parser.txt": (None, None, None, {}, "unsupported_operator"),
    "34-TRAP-8.5.2-agx-xavier-dynamic-shape-1px.txt": (
        None, None, None, {"pixel_values": (1, 3, 1, 1)}, "wrong_shape",
    ),
    "35-FORMAT-11.x-synthetic-from-source.txt": (None, None, None, {}, "refused"),
}  # fmt: skip

WORDS = {
    "20": "does not know --buildOnly, --explicitBatch, --workspace",
    "21": "this TensorRT has no operator Round",
    "22": "found no implementation for the node ArgMax_260",
    "24": "built by another version of TensorRT",
    "28": r"ran out of GPU memory \(19200 MiB requested\)",
    "30": "the kernel killed trtexec",
    "32": "cannot take the operator Pad as the network uses it: Assertion failed: inputs.at",
    "34": "measured input pixel_values at 1×3×1×1",
    "35": "must have same input types",
}


def _real(name: str) -> str:
    return (LOGS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("folder", [LOGS, WHOLE_LOGS], ids=["excerpt", "whole"])
def test_real_logs(name: str, folder: Path) -> None:
    if not folder.is_dir():
        pytest.skip("the whole logs are not here")
    median, throughput, build_s, bindings, kind = REAL[name]
    log = parse_log((folder / name).read_text(encoding="utf-8"))
    assert (log.median_ms, log.throughput_per_s, log.build_s, log.bindings) == (median, throughput, build_s, bindings)
    failure = find_failure(log, exit_status=None, is_timed=True)
    assert (failure.kind if failure else None) == kind


@pytest.mark.parametrize("number", WORDS)
def test_failures_are_told_in_words(number: str) -> None:
    name = next(name for name in REAL if name.startswith(number))
    failure = find_failure(parse_log(_real(name)), exit_status=None, is_timed=True)
    assert failure is not None
    import re

    assert re.search(WORDS[number], failure.message)


def test_every_real_log_is_listed() -> None:
    assert {path.name for path in LOGS.glob("*.txt")} == set(REAL)


def test_no_figure_from_a_run_with_another_exit_status() -> None:
    log = parse_log(_real("01-8.0.1-jetson-nano.txt"))
    failure = find_failure(log, exit_status=1, is_timed=True)
    assert failure is not None
    assert failure.kind == "other"


def test_what_the_low_memory_log_warns_of() -> None:
    assert parse_log(_real("26-WARN-8.2-jetson-nano-low-memory.txt")).num_skipped_tactics == 2


def test_the_variation_that_trtexec_complains_of() -> None:
    log = parse_log(_real("14-8.4-desktop-unstable-warning.txt"))
    assert log.variation == pytest.approx(0.0210486)


# ---- our own, in the same format ----

PASSED = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --loadEngine=a.engine
[01/02/2026-03:04:05] [I] Created input binding for images with dimensions 1x3x320x320
[01/02/2026-03:04:09] [I] === Performance summary ===
[01/02/2026-03:04:09] [I] Throughput: 40.5 qps
[01/02/2026-03:04:09] [I] Latency: min = 1 ms, max = 3 ms, mean = 2 ms, median = 2 ms, percentile(99%) = 3 ms
[01/02/2026-03:04:09] [I] GPU Compute Time: min = 20.5 ms, max = 22 ms, median = 21.25 ms, percentile(99%) = 22 ms
[01/02/2026-03:04:09] [I] Total GPU Compute Time: 3.1 s
&&&& PASSED TensorRT.trtexec [TensorRT v8201] # trtexec --loadEngine=a.engine
"""


def _kind(text: str, *, exit_status: int | None = 0, is_timed: bool = True, **more: object) -> FailureKind | None:
    failure = find_failure(parse_log(text), exit_status=exit_status, is_timed=is_timed, **more)  # type: ignore[arg-type]
    return failure.kind if failure else None


def test_a_run_that_passed() -> None:
    log = parse_log(PASSED)
    assert (log.median_ms, log.throughput_per_s) == (21.25, 40.5)
    assert _kind(PASSED, shape=(1, 3, 320, 320)) is None


def test_another_shape_is_refused() -> None:
    assert _kind(PASSED, shape=(1, 3, 416, 416)) == "wrong_shape"


@pytest.mark.parametrize(
    ("text", "exit_status", "kind"),
    [
        (PASSED.replace("&&&& PASSED", "&&&& FAILED"), 1, "other"),
        (PASSED.split("[01/02/2026-03:04:09]")[0], 0, "truncated"),
        (PASSED.split("&&&& PASSED")[0], 0, "truncated"),
        (PASSED.split("&&&& PASSED")[0], 124, "timeout"),
        (PASSED.split("&&&& PASSED")[0], 137, "killed"),
        (PASSED.replace("median = 21.25 ms, percentile", "median = 21.2"), 0, "truncated"),
        (PASSED.replace("median = 21.25 ms", "median = inf ms"), 0, "truncated"),
        (PASSED.replace("median = 21.25 ms", "median = nan ms"), 0, "truncated"),
        ("\x00\x01 nonsense", 0, "garbage"),
        ("", 0, "garbage"),
        ("write error: No space left on device", 1, "disk_full"),
        ("[E] Saving engine to file failed.\n[E] Engine set up failed", 1, "disk_full"),  # its own words, of 7 to 10
        (
            "[E] In node 3 (parseGraph): UNSUPPORTED_NODE: No importer registered for op: Frobnicate",
            1,
            "unsupported_operator",
        ),
        ("Segmentation fault", 139, "other"),
    ],
)
def test_runs_that_give_no_figure(text: str, exit_status: int, kind: str) -> None:
    assert _kind(text, exit_status=exit_status) == kind


def test_errors_in_a_run_that_succeeded_are_no_failure() -> None:
    noisy = PASSED.replace(
        "[01/02/2026-03:04:09] [I] === Perf",
        "[01/02/2026-03:04:06] [E] [TRT] NvMapMemAllocInternalTagged: 1075072515 error 12\n"
        "[01/02/2026-03:04:06] [W] [TRT] Skipping tactic 3 due to insufficient memory on requested size of 538\n"
        "[01/02/2026-03:04:09] [I] === Perf",
    )
    assert _kind(noisy) is None
    assert parse_log(noisy).num_skipped_tactics == 1


def test_a_build_needs_no_figure() -> None:
    text = "&&&& RUNNING TensorRT.trtexec # x\n[I] Engine built in 12.5 sec.\n&&&& PASSED TensorRT.trtexec # x\n"
    assert _kind(text, is_timed=False) is None
    assert _kind(text) == "truncated"
    assert parse_log(text).build_s == 12.5


# ---- the times file ----

TIMES = LOGS / "40-8.5EA-exportTimes-first5.json"


def test_a_real_times_file() -> None:
    assert parse_times(TIMES.read_text(), warm_up_ms=0) == (0.484512, 0.4704, 0.474944, 0.474944, 0.474464)


def test_the_warm_up_is_left_out() -> None:
    text = '[ { "startComputeMs" : 10, "computeMs" : 9 }\n, { "startComputeMs" : 1000, "computeMs" : 5.5 } ]'
    assert parse_times(text, warm_up_ms=1000) == (5.5,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1, 2]",
        "null",
        '[ { "startComputeMs" : 10, "computeMs" : 9 }',
        '[ { "startComputeMs" : 10, "computeMs" : 0 } ]',
        '[ { "startComputeMs" : 10, "computeMs" : -1 } ]',
        '[ { "startComputeMs" : 10, "computeMs" : NaN } ]',
        '[ { "startComputeMs" : 10, "computeMs" : "9" } ]',
        '[ { "startComputeMs" : 10 } ]',
    ],
)
def test_what_is_no_times_file_gives_nothing(text: str) -> None:
    assert parse_times(text, warm_up_ms=0) == ()


@pytest.mark.parametrize(
    "text",
    [
        f"Created input binding for images with dimensions 1x{'9' * 5000}",
        "* GPU compute time is unstable, with coefficient of variance = 1.2.3%.",
        "throughput: nan qps",
        "Engine built in 1.2.3 sec",
    ],
)
def test_a_figure_that_is_no_number_is_unknown(text: str) -> None:
    log = parse_log(text)
    assert (log.bindings, log.variation, log.throughput_per_s, log.build_s) == ({}, None, None, None)


@pytest.mark.parametrize("value", ["1" + "0" * 400, "[" * 100_000])
def test_a_times_file_that_was_made_to_break_its_reader_has_no_times(value: str) -> None:
    assert parse_times(f'[{{"startComputeMs": 300, "computeMs": {value}}}]', warm_up_ms=200) == ()


def test_a_size_of_thousands_of_digits_is_not_shown() -> None:
    log = parse_log(f"[E] Requested size was {'9' * 5000} bytes. std::bad_alloc\n&&&& FAILED TensorRT.trtexec # x")
    failure = find_failure(log, exit_status=1, is_timed=True)
    assert failure is not None
    assert failure.message == "the board ran out of GPU memory"


def test_a_run_ended_at_its_limit_is_no_lack_of_memory() -> None:
    """A low-memory build that succeeds prints such lines, too."""
    log = parse_log("[E] [TRT] Requested amount of GPU memory (536870912 bytes) could not be allocated.\n")
    failure = find_failure(log, exit_status=124, is_timed=False, limit_s=2400)
    assert failure is not None
    assert (failure.kind, failure.message) == ("timeout", "trtexec did not end within 2400 s")
    assert "build_limit_s=4800" in failure.hint
    timed = find_failure(log, exit_status=124, is_timed=True)
    assert timed is not None
    assert "run_limit_s" in timed.hint
