"""The front's table in the terminal."""

import io
from dataclasses import replace

from rich.console import Console

from search.study.estimate import Estimate
from search.study.summary import Summary
from tests.search.records import record, summary
from yoloret_nas.terminal.trial_lines import front_table


def lines(shown: Summary) -> list[str]:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(front_table(shown, knee=shown.knee, title="front"))
    return console.export_text().splitlines()


def test_estimates_stand_beside_the_scores_and_decide_the_knee() -> None:
    scored = summary(record(0, 0.1, 10.0), record(1, 0.436, 20.0), record(2, 0.45, 30.0), record(3, 0.6, 90.0))
    believed = {0: 0.1, 1: 0.3, 2: 0.41, 3: 0.415}
    judged = replace(scored, estimates={number: Estimate(ap=ap, std=0.008) for number, ap in believed.items()})
    assert "estimated" in lines(judged)[1]
    assert "0.4360  0.300 ± 0.008" in lines(judged)[3]
    assert [line.endswith("← knee") for line in map(str.rstrip, lines(judged)[2:])] == [False, False, True, False]
    assert "≈ 2" in lines(judged)[5]

    assert "estimated" not in lines(scored)[1]
    assert [line.endswith("← knee") for line in map(str.rstrip, lines(scored)[2:])] == [False, True, False, False]
