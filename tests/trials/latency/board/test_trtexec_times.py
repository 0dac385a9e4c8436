from pathlib import Path

import pytest

from trials.latency.board.trtexec_times import parse_times

REAL = Path(__file__).parents[4] / "../shared/trtexec-logs/40-8.5EA-exportTimes-first5.json"


def test_a_real_file() -> None:
    if not REAL.is_file():
        pytest.skip("the real files are not here")
    assert parse_times(REAL.read_text(), warm_up_ms=0) == (0.484512, 0.4704, 0.474944, 0.474944, 0.474464)


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
