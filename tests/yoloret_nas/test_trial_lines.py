"""The front's table in the terminal."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.front.estimate import Estimate
from search.front.summary import Summary
from search.reports.effects import Effect
from search.study.refit import compare_refit
from tests.search.records import record, summary
from yoloret_nas.commands.report import _effects_table
from yoloret_nas.terminal.live_view import LiveView
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


@pytest.mark.parametrize("width", [80, 100, 143, 144, 250])
def test_a_trial_s_line_shows_its_architecture_in_any_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    view, best = LiveView(console), record(0, 0.3, 10.0, seconds={"train": 12.3})
    view.opened(summary(best), budget=2)
    _, header, line = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, (header, line))) <= width
    assert header.startswith("trial  state")
    assert "(★ " in header
    assert header.endswith(" or reason")
    assert "10.000 ms" in line
    assert "12.3 s" in line
    assert f"  ★ {best.architecture.short[:20]}" in line
    assert ("p99" in header, "MACs" in header, "params" in header, "AP50" in header) == (width >= 144,) * 4


@pytest.mark.parametrize("width", [80, 250])
def test_a_reason_is_never_cut(width: int) -> None:
    reason = "the training needs more memory than there is; " * 4 + "give a smaller --batch-size"
    failed = record(0, None, None, state="failed", reason=reason)
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    LiveView(console).finished(failed, summary(failed))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert reason in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= width


def test_no_terminal_is_too_narrow_for_the_figures_of_effects() -> None:
    effects = [
        Effect(
            axis=axis,
            value=value,
            trials=12,
            ap=ap,
            ap_range=(ap - 0.01, ap + 0.01),
            latency=1.25,
            latency_range=(1, 2),
        )
        for axis, value, ap in (
            ("backbone", "mobilenetv4_conv_small_050 cut at block 12 of 18", 0.021),
            ("scale_set and neck", "8+16+32@16>8+16+32", -0.034),
        )
    ]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(_effects_table(effects))
    shown = console.export_text()
    for figures in ("12", "+0.021", "+0.011 to +0.031", "×1.25", "-0.034", "-0.044 to -0.024"):
        assert figures in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
