"""The prepared page: what it names is what runs have, and it is where MLflow looks for it."""

import json
from pathlib import Path

import mlflow
import pytest

from search.driver.search import run_search
from search.tracking.shared_view import CHARTS, SHARE_KEY, VIEW_TAG, view_state
from search.tracking.store import experiment_pages, open_client
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, ScriptedExecutor, StandInDevice

PAGES = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"


def test_every_column_and_chart_is_something_that_runs_have(settings: MakeSettings, device: StandInDevice) -> None:
    chosen = settings(budget=10)
    run_search(chosen, executor=ScriptedExecutor(), view=RecordingView())
    client = open_client(chosen.root)
    (experiment,) = client.search_experiments(filter_string="name = 'study'")
    runs = client.search_runs([experiment.experiment_id])
    known = {"tags": set[str](), "metrics": set[str](), "params": set[str]()}
    for run in runs:
        for kind, names in known.items():
            names |= set(getattr(run.data, kind))
    state = json.loads(experiment.tags[VIEW_TAG])
    assert state == json.loads(view_state(chosen.space.open_axes))
    for column in [*state["selectedColumns"], state["orderByKey"]]:
        kind, name = column.split(".", 1)
        assert name.strip("`") in known[kind], column
    assert state["columnOrder"][1:] == state["selectedColumns"]
    assert state["columnWidths"].keys() == set(state["columnOrder"])
    scatter, curves, parallel = state["compareRunCharts"]
    assert {scatter["xaxis"]["key"], scatter["yaxis"]["key"], *parallel["selectedMetrics"]} <= known["metrics"]
    assert curves["metricKey"] in known["metrics"]
    assert set(parallel["selectedParams"]) == set(chosen.space.open_axes) <= known["params"]
    sections = [section["uuid"] for section in state["compareRunSections"]]
    assert sections == list(dict.fromkeys(chart["metricSectionId"] for chart in state["compareRunCharts"]))

    page = f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning{SHARE_KEY}"
    assert experiment_pages(chosen.root) == {"study": {"trials": page, "charts": page + CHARTS}}
    client.delete_experiment_tag(experiment.experiment_id, VIEW_TAG)
    assert SHARE_KEY not in experiment_pages(chosen.root)["study"]["trials"]  # a link to no view is an error there


def test_an_experiment_without_axes_has_no_chart_of_them() -> None:
    state = json.loads(view_state(()))
    assert [chart["type"] for chart in state["compareRunCharts"]] == ["SCATTER", "LINE"]
    assert len(state["compareRunSections"]) == 1


@pytest.mark.parametrize(
    "word", [VIEW_TAG.removesuffix("yoloret"), SHARE_KEY.strip("&").split("=")[0], "compareRunCharts", "columnWidths"]
)
def test_the_installed_mlflow_still_spells_it_so(word: str) -> None:
    assert any(word in path.read_text(encoding="utf-8", errors="replace") for path in PAGES.glob("main.*.js"))
