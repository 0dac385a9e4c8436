"""What full trainings take over from the study that their networks are of."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from search.study.experiment import ExperimentSettings
from search.study.read_study import ReadStudy
from search.study.settings import StudySettings
from tests.search.driver.scripted import SPACE
from tests.search.records import STAIRCASE, summary
from trials.training import TrainSettings
from yoloret_nas.api import refit, train_trial

TRAIN = TrainSettings(epochs=3)
CONSOLE = Console(file=StringIO())


class TakenError(Exception):
    """Ends a command once it is known what it trains."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[ExperimentSettings]:
    """The settings of full trainings that would have begun."""
    found: list[ExperimentSettings] = []

    def take(settings: ExperimentSettings, *_: object, **__: object) -> None:
        found.append(settings)
        raise TakenError

    monkeypatch.setattr(refit, "run_variants", take)
    monkeypatch.setattr(train_trial, "run_variants", take)
    return found


def test_latencies_of_a_refit_have_the_scale_of_the_study(tmp_path: Path, taken: list[ExperimentSettings]) -> None:
    settings = StudySettings(
        name="s", space=SPACE, dataset="shapes", device="cpu", train=TRAIN, budget=9, root=tmp_path
    )
    with pytest.raises(TakenError):
        refit.refit(settings, summary(*STAIRCASE), epochs=9, num_repeats=0, console=CONSOLE)
    assert [one.scales for one in taken] == [{"cpu": STAIRCASE[0].result.latency}]


def test_those_of_a_full_training_before_an_export_have_it_too(tmp_path: Path, taken: list[ExperimentSettings]) -> None:
    opened = ReadStudy(name="s", root=tmp_path, summary=summary(*STAIRCASE), device="cpu", dataset="x", train=TRAIN)
    with pytest.raises(TakenError):
        train_trial.train_trial(opened, STAIRCASE[2], epochs=9, console=CONSOLE)
    assert [one.scales for one in taken] == [{"cpu": STAIRCASE[0].result.latency}]
