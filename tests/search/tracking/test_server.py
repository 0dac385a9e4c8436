"""Studies on an MLflow server: one that asks for a password and keeps its runs in PostgreSQL, and one that goes away."""

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from search.driver.search import run_search
from search.study.errors import StudyError
from search.study.settings import StudySettings
from search.tracking import tracking
from search.tracking.runs import FRONT_TAG, STATE_TAG, TRIAL_TAG, StudyRuns
from search.tracking.shared_view import VIEW_TAG
from search.tracking.store import shown_uri
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, ScriptedExecutor, StandInDevice
from tests.search.tracking.servers import TrackingServer, find_postgresql, postgresql, tracking_server
from trials.trial_result import DETECTIONS_FILE

USER, PASSWORD = "admin", "a pass/w@rd: 12"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """A server that asks for a password, on PostgreSQL."""
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("guarded")
    login = folder / "basic_auth.ini"
    login.write_text(
        f"[mlflow]\ndatabase_uri = sqlite:///{folder}/users.db\nadmin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "default_permission = READ\n"
        "auth_cache_ttl_seconds = 60\n"  # checking a password anew with every request takes the most time
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(login), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test"}
    with (
        postgresql(programs) as database,
        tracking_server(folder, database.uri, options=("--app-name", "basic-auth"), environment=environment) as server,
    ):
        yield server


def runs_on(client: MlflowClient, name: str) -> tuple[Run, dict[int, Run]]:
    """Give the study's run and those of its trials by number, one each."""
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    children = {int(run.data.tags[TRIAL_TAG]): run for run in found if TRIAL_TAG in run.data.tags}
    (parent,) = [run for run in found if TRIAL_TAG not in run.data.tags]
    assert len(children) == len(found) - 1
    return parent, children


def leave_pictures(settings: StudySettings) -> None:
    for number in range(settings.budget):
        settings.trial_folder(number).mkdir(parents=True)
        (settings.trial_folder(number) / DETECTIONS_FILE).write_bytes(b"a picture")


def test_a_search_writes_to_a_server_on_postgresql_that_asks_for_a_password(
    settings: MakeSettings, device: StandInDevice, guarded: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, view = settings(budget=3), RecordingView()
    leave_pictures(chosen)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    result = run_search(chosen, executor=ScriptedExecutor(), view=view)
    assert view.notices == []

    client = MlflowClient()
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    assert VIEW_TAG in experiment.tags
    parent, children = runs_on(client, "study")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["hypervolume"] == pytest.approx(result.summary.hypervolume)
    assert {number: run.data.tags[STATE_TAG] for number, run in children.items()} == dict.fromkeys(range(3), "complete")
    front = {record.number for record in result.summary.front}
    assert {number for number, run in children.items() if run.data.tags[FRONT_TAG] == "yes"} == front
    assert {path.path for path in client.list_artifacts(parent.info.run_id)} >= {"front.png", "front.html"}
    run_id, here = children[0].info.run_id, chosen.root / "downloaded"
    here.mkdir()
    assert Path(client.download_artifacts(run_id, DETECTIONS_FILE, str(here))).read_bytes() == b"a picture"
    assert [run.data.metrics["ap"] for _, run in sorted(children.items())] == [
        record.result.ap for record in result.summary.records
    ]


def test_the_password_may_stand_in_the_address(
    settings: MakeSettings, guarded: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{login}@{guarded.address}")
    opened = StudyRuns(settings(name="by-address"))
    opened.begin("a study", {})
    assert MlflowClient().get_experiment(opened.experiment_id).name == "by-address"
    assert shown_uri(settings().root) == f"http://***@{guarded.address}"


@pytest.mark.parametrize("password", ["mistaken", ""])
def test_a_wrong_password_is_one_clear_message_without_it(
    settings: MakeSettings,
    device: StandInDevice,
    guarded: TrackingServer,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
) -> None:
    login = f"{USER}:{password}@" if password else ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{login}{guarded.address}")
    with pytest.raises(StudyError, match=r"MLflow store http://.* cannot be used: it refuses the user or") as caught:
        run_search(settings(), executor=ScriptedExecutor(), view=RecordingView())
    assert guarded.address in caught.value.message
    assert "mistaken" not in caught.value.message
    assert "MLFLOW_TRACKING_PASSWORD" in caught.value.hint


def test_a_server_killed_and_started_again_in_the_middle_of_a_search_lacks_nothing_at_its_end(
    settings: MakeSettings, device: StandInDevice, tmp_path: Path, empty_stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    store = tmp_path / "server" / "mlflow.db"
    store.write_bytes((empty_stores / "mlflow.db").read_bytes())
    monkeypatch.setattr(tracking, "_RETRY_S", 0.1)
    monkeypatch.setattr(tracking, "_PATIENCE_IN_TROUBLE_S", 60.0)
    chosen, view = settings(budget=6), RecordingView()
    with tracking_server(tmp_path / "server", f"sqlite:///{store}") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        was_away: list[int] = []

        def lose_server() -> Literal["no"]:
            if len(view.ended) == 2 and not was_away:
                server.kill()
            if len(view.ended) in (3, 4) and not server.is_up():
                was_away.append(len(view.ended))
            if len(view.ended) == 5 and not server.is_up():
                server.start()
            return "no"

        result = run_search(chosen, executor=ScriptedExecutor(), view=view, stop_requested=lose_server)
        assert set(was_away) == {3, 4}
        assert len(result.summary.records) == 6
        assert not [notice for notice in view.notices if "lacks" in notice]
        parent, children = runs_on(MlflowClient(), "study")
        assert parent.info.status == "FINISHED"
        assert parent.data.metrics["trials_complete"] == 6.0
        assert {number: run.info.status for number, run in children.items()} == dict.fromkeys(range(6), "FINISHED")
        for record in result.summary.records:
            run = children[record.number]
            assert run.data.metrics["ap"] == record.result.ap
            curve = MlflowClient().get_metric_history(run.info.run_id, "val_ap")
            assert sorted(point.step for point in curve) == [1, 2]
