"""The campaign of kills, and the check of a study, where something is wrong from the start."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.stress import kill_campaign
from benchmarks.stress.kill_campaign import Campaign
from benchmarks.stress.study_check import _figures, _in_mlflow
from search.front.record import TrialRecord
from spaces.presets import PRESETS
from trials.trial_result import TrialResult


class RefusedStart:
    """A search that ends at once with an error."""

    num_starts = 0
    died = pace_s = age_s = 0.0
    driver = SimpleNamespace(pid=0)

    def __init__(self, *_: object, **__: object) -> None:
        type(self).num_starts += 1
        assert self.num_starts < 5, "it is started again and again"

    def wait(self, seconds: float) -> bool:
        return False

    def trials(self) -> list[Any]:
        return []

    def finish(self) -> tuple[int, str]:
        return 2, "no such data"


def test_a_campaign_ends_where_a_search_refuses_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_campaign, "Start", RefusedStart)
    campaign = Campaign(rng=random.Random(0), data="none", epochs=1, budget=2)
    campaign.kill(3, store="file")
    assert campaign.violations == ["search: study-1 ended with 2: no such data"]


def test_a_trial_that_failed_before_it_was_measured_has_no_figures_to_compare() -> None:
    result = TrialResult(state="failed", reason="no room")
    assert _figures(TrialRecord(number=0, architecture=PRESETS["yoloret-m0.75"], result=result)) == {}


def test_a_study_that_mlflow_lacks_is_a_violation() -> None:
    study: Any = SimpleNamespace(name="mine", root=Path())
    client: Any = SimpleNamespace(get_experiment_by_name=lambda name: None)
    assert list(_in_mlflow(study, client)) == ["MLflow has no experiment mine"]
