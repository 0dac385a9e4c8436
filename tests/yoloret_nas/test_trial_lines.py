"""The front's table in the terminal."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.front.estimate import Estimate
from search.front.summary import Summary
from search.study.refit import compare_refit
from tests.search.records import record, summary
from yoloret_nas.terminal.refit_table import agreement_words, show_refit
from yoloret_nas.terminal.training_view import TrainingView
from yoloret_nas.terminal.trial_lines import front_table


def lines(shown: Summary, width: int = 160) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(front_table(shown, knee=shown.knee, title="front", width=width))
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


@pytest.mark.parametrize("width", [80, 100, 120, 160, 250])
def test_no_terminal_is_too_narrow_for_the_marks(width: int) -> None:
    scored = summary(record(0, 0.1, 10.0), record(1, 0.436, 20.0), record(2, 0.45, 30.0), record(3, 0.6, 90.0))
    believed = {0: 0.1, 1: 0.3, 2: 0.41, 3: 0.415}
    judged = replace(scored, estimates={number: Estimate(ap=ap, std=0.008) for number, ap in believed.items()})
    shown = lines(judged, width)
    assert max(map(len, shown)) <= width
    assert shown[4].rstrip().endswith("← knee")
    assert shown[5].rstrip().endswith("≈ 2")
    assert ("p99" in shown[1]) == (width > 150)


def test_full_trainings_of_equal_scores_are_not_too_few() -> None:
    short = summary(*(record(number, 0.4, 10.0 + number) for number in range(3)))
    full = [replace(record(number, 0.0, 10.0), label=f"trial {number}") for number in range(3)]
    assert "are all equal" in agreement_words(compare_refit("s-refit-9", short, full))
    assert "too few" in agreement_words(compare_refit("s-refit-9", short, full[:2]))


@pytest.mark.parametrize("width", [80, 100, 120, 250])
def test_no_terminal_is_too_narrow_for_full_trainings(width: int) -> None:
    short = summary(record(0, 0.4, 10.0), record(1, 0.6, 20.0))
    full = [replace(record(number, 0.5 + number / 10, 10.0), label=f"trial {number}") for number in (0, 1)]
    found = compare_refit("s-refit-9", short, full)
    console = Console(width=width, file=io.StringIO(), record=True)
    show_refit(found, console, root=Path("odd dir"))
    shown = console.export_text().splitlines()
    assert shown[1].split()[:2] == ["full", "trial"]
    assert ("seeds" in shown[1]) == (width == 250)
    assert "AP full" in shown[1]
    assert "0.5000" in shown[2]
    assert "10.000 ms" in shown[2]
    assert shown[-1] == "next: yoloret-nas export --study s-refit-9 --dir 'odd dir'"


def test_the_time_left_of_trainings_is_known_after_trainings() -> None:
    console = Console(width=120, file=io.StringIO(), force_terminal=True)
    view = TrainingView(console)
    view.opened(summary(), budget=4)
    with view.showing():
        pass
    assert "time left known after 2 trainings" in console.file.getvalue()  # type: ignore[attr-defined]
