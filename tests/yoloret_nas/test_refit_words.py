"""What is said of retraining the front; the trainings are played."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.strategy.repeats import Repeats
from search.study.settings import StudySettings
from tests.search.driver.scripted import SPACE
from tests.search.records import STAIRCASE, record, summary
from trials.training import TrainingError, TrainSettings
from yoloret_nas.api import refit as module

FAILED: dict[str, Any] = {"state": "failed", "reason": "the loss is nan"}


def full(number: int, trial: int, ap: float | None, latency_ms: float | None, **changes: Any) -> TrialRecord:
    return replace(record(trial, ap, latency_ms, **changes), number=number, label=f"trial {trial}")


def say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *records: TrialRecord,
    of: Summary | None = None,
    num_repeats: int = 3,
    **changes: Any,
) -> tuple[str, Repeats]:
    """Retrain a study's front with these full trainings as outcome; return what is printed, and the repeats asked for."""
    asked: list[Repeats] = []

    def play(*_: object, repeats: Repeats, **__: object) -> list[TrialRecord]:
        asked.append(repeats)
        return list(records)

    monkeypatch.setattr(module, "run_variants", play)
    settings = StudySettings(
        name="s", space=SPACE, dataset="shapes", device="cpu", train=TrainSettings(epochs=3), budget=9, root=tmp_path
    )
    console = Console(file=StringIO(), width=160)
    try:
        module.refit(
            replace(settings, **changes), of or summary(*STAIRCASE), epochs=9, num_repeats=num_repeats, console=console
        )
    finally:
        assert isinstance(console.file, StringIO)
        said = console.file.getvalue()
    return said, asked[0]


APART = (full(0, 0, 0.3, 10.0), full(1, 2, 0.5, 30.0), full(2, 6, 0.7, 60.0))


def test_fewer_repeats_than_allowed_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, repeats = say(tmp_path, monkeypatch, *APART)
    assert "9 epochs each, then up to 3 repeats: up to " in said
    assert (
        "0 of 3 repeats trained: more are not expected to change which networks are the best within a latency" in said
    )
    assert repeats == Repeats(count=3, max_latency_ms=100.0)
    said, repeats = say(tmp_path, monkeypatch, *APART, full(3, 2, 0.52, 30.0), num_repeats=1, max_latency_ms=70.0)
    assert "not expected to change" not in said
    assert repeats == Repeats(count=1, max_latency_ms=70.0)
    said, _ = say(tmp_path, monkeypatch, *APART, num_repeats=0)
    assert "9 epochs each: about " in said
    assert "repeats trained" not in said


def test_trainings_that_failed_are_not_taken_for_repeats_that_were_needless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, _ = say(tmp_path, monkeypatch, *APART, full(3, 2, None, None, **FAILED))
    assert "not expected to change" not in said
    assert "full training 3 failed: the loss is nan" in said
    failed = [full(number, trial, None, None, **FAILED) for number, trial in enumerate((0, 2, 6))]
    with pytest.raises(TrainingError, match="no training of s-refit-9 is complete"):
        say(tmp_path, monkeypatch, *failed)
