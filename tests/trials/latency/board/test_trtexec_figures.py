"""Figures of a log, on short texts in trtexec's formats."""

from collections.abc import Callable

import pytest

from trials.latency.board.trtexec_log import parse_log, parse_times


def summary_of_7(median: str) -> str:
    """Return the end of a 7.x log: a value is followed by its unit, one value on each line."""
    return f"""\
[01/12/2021-17:36:31] [I] Throughput: 0 qps
[01/12/2021-17:36:31] [I] GPU Compute
[01/12/2021-17:36:31] [I] min: 55.07 ms
[01/12/2021-17:36:31] [I] max: 57.47 ms
[01/12/2021-17:36:31] [I] mean: 55.24 ms
[01/12/2021-17:36:31] [I] median: {median} ms
[01/12/2021-17:36:31] [I] percentile: 57.47 ms at 99%
[01/12/2021-17:36:31] [I] total compute time: 3.09 s
"""


def summary_of_8(median: str) -> str:
    return f"[07/28/2022-16:00:55] [I] GPU Compute Time: min = 0.2 ms, max = 9 ms, median = {median} ms, mean = 3 ms\n"


@pytest.mark.parametrize("summary", [summary_of_7, summary_of_8])
@pytest.mark.parametrize(
    ("median", "expected"), [("55.2", 55.2), ("0.5", 0.5), ("0", None), ("inf", None), ("nan", None), ("5x", None)]
)
def test_the_median_is_a_time(summary: Callable[[str], str], median: str, expected: float | None) -> None:
    assert parse_log(summary(median)).median_ms == expected


@pytest.mark.parametrize("summary", [summary_of_7, summary_of_8])
def test_of_several_summaries_the_last_counts(summary: Callable[[str], str]) -> None:
    runs = [summary(str(median)) for median in (7.5, 8.5, 9.5)]
    assert parse_log("[I] Starting inference\n".join(runs)).median_ms == 9.5


def test_a_median_of_another_block_is_none_of_gpu_compute() -> None:
    text = summary_of_7("1").replace("GPU Compute", "Host Latency")
    assert parse_log(text).median_ms is None
    assert parse_log(text + summary_of_7("2")).median_ms == 2


def test_how_a_run_ended() -> None:
    passed, failed = "&&&& PASSED TensorRT.trtexec # x\n", "&&&& FAILED TensorRT.trtexec # x\n"
    ends = {text: parse_log(text) for text in (passed, failed, passed + failed, "nothing")}
    assert [one.has_passed for one in ends.values()] == [True, False, False, False]
    assert [one.has_failed for one in ends.values()] == [False, True, True, False]
    assert [one.text for one in ends.values()] == list(ends)


@pytest.mark.parametrize(("text", "expected"), [("0", None), ("0.75", 0.75), ("318.007", 318.007)])
def test_a_throughput_of_zero_is_unknown(text: str, expected: float | None) -> None:
    for word in ("throughput", "Throughput"):
        assert parse_log(f"[01/12/2021-17:36:31] [I] {word}: {text} qps\n").throughput_per_s == expected


def test_the_variation_is_a_share() -> None:
    assert parse_log("[W] * GPU compute time is unstable, with coefficient of variance = 2.5%.").variation == 0.025
    assert parse_log("[W] * GPU compute time is unstable, with coefficient of variation = 12%.").variation == 0.12
    assert parse_log("[W] * GPU compute time is unstable.").variation is None


def test_shapes_of_all_bindings_are_read() -> None:
    lines = [
        "Created input binding for images with dimensions 1x3x32x64",
        "Created input binding for x y with dimensions 7",
        "Input binding for newer with dimensions 1x3x64x64 is created.",  # from 8.6 on
        "Output binding for out with dimensions 1x8 is created.",
        "Input binding for newest with dimensions 1x3x8x8 and type FP32 is created.",
    ]
    log = parse_log("".join(f"[01/02/2026-03:04:05] [I] {line}\n" for line in lines))
    assert log.bindings == {
        "images": (1, 3, 32, 64),
        "x y": (7,),
        "newer": (1, 3, 64, 64),
        "newest": (1, 3, 8, 8),
    }


def test_a_time_is_above_zero_and_finite() -> None:
    query = '[{"startComputeMs": 10, "computeMs": %s}]'
    assert parse_times(query % "0.25", warm_up_ms=10) == (0.25,)
    assert parse_times(query % "Infinity", warm_up_ms=10) == ()
