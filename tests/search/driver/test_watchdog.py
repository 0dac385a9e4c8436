"""How long a trial may be silent."""

from search.driver.watchdog import MIN_SILENCE_S, longest_silence_s
from search.front.record import TrialRecord
from tests.search.records import record


def test_what_counts_as_hung_follows_from_how_long_trials_take() -> None:
    def took(number: int, hours: float) -> TrialRecord:
        return record(number, 0.5, 9.0, seconds={"train": hours * 3600})

    assert longest_silence_s([], "train") == MIN_SILENCE_S
    assert longest_silence_s([took(0, 0.1)], "train") == MIN_SILENCE_S
    assert longest_silence_s([took(0, 3), took(1, 1), took(2, 40)], "train") == 2 * 3 * 3600
    measuring_s = longest_silence_s([took(0, 0.1)], "measure", devices=["cpu"])
    assert MIN_SILENCE_S < measuring_s < longest_silence_s([], "measure", devices=["cpu", "ssh://nano"])
    in_queue_s = longest_silence_s([], "measure", devices=["ssh://nano?queue_limit_s=43200", "cpu"])
    assert in_queue_s > 43200 + 2400  # the board's queue, and the build of an engine
    assert longest_silence_s([], "train", devices=["ssh://nano?queue_limit_s=43200"]) == MIN_SILENCE_S
