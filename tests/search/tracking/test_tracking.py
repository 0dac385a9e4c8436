"""A store that is slow, lost or refuses: the search never waits for it, and what it misses is written later."""

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from search.credentials import without_credentials
from search.driver.search import run_search
from search.study.database.storage import open_storage
from search.study.errors import StorageError, StudyError
from search.study.lock import driver_lock
from search.study.settings import StudySettings
from search.tracking import runs, tracking
from search.tracking.location import shown_uri, store_path
from search.tracking.runs import STATE_TAG, TRIAL_TAG
from search.tracking.store import experiment_pages, open_client, tracking_uri
from search.tracking.tracking import Tracking
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, ScriptedExecutor, StandInDevice
from tests.search.records import record, summary
from trials.progress import Progress

PROGRESS = Progress(phase="train", epoch=1, loss=1.0, ap=0.3)


@dataclass
class Store:
    """Comes between `StudyRuns` and MLflow's client of a real store."""

    is_down: bool = False
    is_refusing: Sequence[str] = ()
    """Calls that fail although others succeed."""
    is_free: threading.Event = field(default_factory=threading.Event)
    """While it is clear, calls hang."""
    calls: list[str] = field(default_factory=list)

    def open(self, root: Path, *, own: str = "") -> "Store":
        self._client = open_client(root, own=own)
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.is_free.wait(30.0)
            self.calls.append(name)
            if self.is_down:
                raise ConnectionError("http://me:secret@server/api?token=secret is away")
            if name in self.is_refusing:
                raise MlflowException(f"{name} is refused")
            return getattr(self._client, name)(*args, **kwargs)

        return call


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of all studies of the test; tries follow each other at once."""
    found = Store()
    found.is_free.set()
    monkeypatch.setattr(runs, "open_client", found.open)
    monkeypatch.setattr(tracking, "_RETRY_S", 0.01)
    monkeypatch.setattr("search.reports.write_front.draw_front", lambda summary, path, *, title: path.touch())
    yield found
    found.is_free.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that stays lost is not waited for."""
    monkeypatch.setattr(tracking, "_PATIENCE_IN_TROUBLE_S", 0.3)


def track(settings: StudySettings, notices: list[str], *, is_hurried: bool = False) -> Tracking:
    return Tracking(settings, notice=notices.append, is_hurried=lambda: is_hurried)


def children(settings: StudySettings) -> dict[int, Run]:
    """Give the runs of trials in the real store."""
    client = MlflowClient(tracking_uri=tracking_uri(settings.root))
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    found = [run for run in client.search_runs([experiment.experiment_id]) if TRIAL_TAG in run.data.tags]
    by_number = {int(run.data.tags[TRIAL_TAG]): run for run in found}
    assert len(by_number) == len(found)
    return by_number


def test_what_a_lost_store_misses_is_written_when_it_is_back(settings: MakeSettings, store: Store) -> None:
    notices: list[str] = []
    trials = [record(number, 0.4, 20.0, history=((1, 1.0, 0.3, 0.5),)) for number in range(2)]
    with track(settings(), notices) as tracked:
        tracked.begin("one", {"space": "some"})
        tracked.started(0, trials[0].architecture)
        store.is_down = True
        for trial in trials:
            tracked.started(trial.number, trial.architecture)
            tracked.scored(trial.number, PROGRESS)
            tracked.finished(trial, seconds=1.0)
        until = time.monotonic() + 60.0
        while store.calls.count("get_experiment_by_name") < 4:  # it was tried again, in vain
            assert time.monotonic() < until, "it is not tried again"
            time.sleep(0.01)
        tracked.update(summary(*trials))
        store.is_down = False
        tracked.close(summary(*trials), status="FINISHED", files=[])
    found = children(settings())
    assert {number: run.info.status for number, run in found.items()} == {0: "FINISHED", 1: "FINISHED"}
    assert {run.data.metrics["ap"] for run in found.values()} == {0.4}
    assert "cannot be used now; the search continues without it" in notices[0]
    assert not [notice for notice in notices if "lacks" in notice]
    assert not [notice for notice in notices if "secret" in notice]


def test_a_search_whose_store_stays_lost_ends_well_and_its_command_writes_what_is_missing(
    settings: MakeSettings, store: Store, impatient: None, device: StandInDevice
) -> None:
    chosen, view = settings(budget=3), RecordingView()

    def lose_store() -> str:
        store.is_down = len(view.ended) >= 1
        return "no"

    result = run_search(chosen, executor=ScriptedExecutor(), view=view, stop_requested=lose_store)  # type: ignore[arg-type]
    assert len(result.summary.records) == 3
    assert result.ending == "done"
    assert view.notices[-1].startswith(f"MLflow store {result.tracking_uri} lacks ")
    assert re.search(r"lacks .*trial 2, .*the front \(", view.notices[-1])
    assert "the same command writes it from the study" in view.notices[-1]
    assert "secret" not in "".join(view.notices)

    store.is_down = False
    again = RecordingView()
    run_search(chosen, executor=ScriptedExecutor(), view=again)
    assert again.notices == []
    assert {number: run.data.tags[STATE_TAG] for number, run in children(chosen).items()} == dict.fromkeys(
        range(3), "complete"
    )
    assert {run.info.status for run in children(chosen).values()} == {"FINISHED"}


def test_a_store_that_hangs_holds_up_neither_trials_nor_an_interrupt(
    settings: MakeSettings, store: Store, impatient: None, device: StandInDevice
) -> None:
    view = RecordingView()

    def stop() -> str:
        store.is_free.clear()
        return "now" if len(view.ended) == 2 else "no"

    result = run_search(settings(), executor=ScriptedExecutor(), view=view, stop_requested=stop)  # type: ignore[arg-type]
    assert result.ending == "interrupted"
    assert len(result.summary.records) == 2
    assert "lacks the study's run, earlier trials, trial 0" in view.notices[-1]


def test_a_write_that_is_refused_does_not_hold_up_the_others(settings: MakeSettings, store: Store) -> None:
    chosen, notices = settings(), list[str]()
    trials = [record(number, 0.4, 20.0) for number in range(2)]
    chosen.trial_folder(0).mkdir(parents=True)
    (chosen.trial_folder(0) / "result.json").write_text("{}")
    store.is_refusing = ("log_artifact",)
    with track(chosen, notices) as tracked:
        tracked.begin("one", {})
        for trial in trials:
            tracked.finished(trial, seconds=1.0)
    assert {number: run.info.status for number, run in children(chosen).items()} == {0: "RUNNING", 1: "FINISHED"}
    assert f"MLflow store {tracked.uri} lacks trial 0; nothing is lost: once the store takes it, " in notices[-1]


def test_a_store_that_takes_nothing_for_a_while_gets_everything_then(settings: MakeSettings, store: Store) -> None:
    """Its disk is full: it opens, and refuses the study's run whenever it is begun again."""
    chosen, notices, trial = settings(), list[str](), record(0, 0.4, 20.0)
    with track(chosen, notices) as tracked:
        store.is_refusing = ("set_experiment_tag",)
        tracked.begin("one", {})
        tracked.finished(trial, seconds=1.0)
        until = time.monotonic() + 60.0
        while store.calls.count("set_experiment_tag") < 8 and time.monotonic() < until:
            time.sleep(0.01)
        store.is_refusing = ()
    assert {number: run.info.status for number, run in children(chosen).items()} == {0: "FINISHED"}
    assert not [notice for notice in notices if "lacks" in notice]


def test_a_run_created_although_its_answer_was_lost_is_not_created_twice(settings: MakeSettings, store: Store) -> None:
    chosen, notices = settings(), list[str]()
    create, trial = MlflowClient.create_run, record(0, 0.4, 20.0)
    lost = [False, False]  # the parent's answer arrives, the trial's does not

    def create_and_lose_answer(self: MlflowClient, *args: Any, **kwargs: Any) -> Run:
        made = create(self, *args, **kwargs)
        lost.pop()
        if len(lost) == 0:
            raise ConnectionError("reset by peer")
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", create_and_lose_answer)
        with track(chosen, notices) as tracked:
            tracked.begin("one", {})
            tracked.started(0, trial.architecture)
            tracked.finished(trial, seconds=1.0)
    (run,) = children(chosen).values()
    assert run.info.status == "FINISHED"
    assert run.data.params["architecture"] == trial.architecture.key


def test_many_missing_trials_are_counted(settings: MakeSettings, store: Store, impatient: None) -> None:
    notices: list[str] = []
    with track(settings(), notices, is_hurried=True) as tracked:
        store.is_down = True
        for number in range(20):
            tracked.started(number, record(0, 0.4, 20.0).architecture)
    assert "lacks trial 0, trial 1, trial 2, trial 3, trial 4, trial 5, trial 6, trial 7 and 12 more" in notices[-1]


@pytest.mark.parametrize("uri", ["http://me:s/e@cret@127.0.0.1:{port}?token=secret", "gopher://me:secret@nowhere"])
def test_a_store_that_cannot_be_used_is_refused_before_anything_is_measured_and_without_its_password(
    settings: MakeSettings, device: StandInDevice, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=closed.getsockname()[1]))
        monkeypatch.setattr(
            "search.driver.preparation.reference_latency.slowest_latency_ms", lambda *args, **kwargs: 1 / 0
        )
        with pytest.raises(StudyError, match=r"MLflow store \w+://\*\*\*@[\w.:]+.* cannot be used: ") as caught:
            run_search(settings(), executor=ScriptedExecutor(), view=RecordingView())
    assert "check MLFLOW_TRACKING_URI" in caught.value.hint
    assert not re.search("cret", caught.value.message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(https://u:p@host:80/x?a=1&token=t 'x')", "(https://***@host:80/x?a=***&token=*** 'x')"),
        ("postgresql+psycopg://u:p/w@d@host/db", "postgresql+psycopg://***@host/db"),
        ("https://TOKEN@host", "https://***@host"),
        ("sqlite+pysqlite:////home/me/runs/mlflow.db", "sqlite+pysqlite:////home/me/runs/mlflow.db"),
    ],
)
def test_credentials_are_replaced_in_texts(text: str, expected: str) -> None:
    assert without_credentials(text) == expected


def test_an_empty_variable_is_none(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    chosen = settings()
    opened = runs.StudyRuns(chosen)
    opened.begin("its id", {})
    assert tracking_uri(chosen.root).endswith("/mlflow.db")
    assert shown_uri(chosen.root) == str(store_path(chosen.root))
    experiment = open_client(chosen.root).get_experiment(opened.experiment_id)
    assert experiment.artifact_location == (chosen.root / "mlartifacts" / "study").as_uri()


def test_a_copied_folder_of_studies_keeps_its_artifacts_to_itself(settings: MakeSettings, tmp_path: Path) -> None:
    chosen, copied = settings(), settings(root=tmp_path / "mlartifacts" / "copy %41")
    (chosen.root / "file").write_text("first")

    def attach(to: StudySettings, name: str) -> set[str]:
        to.folder.mkdir(exist_ok=True)
        _artifact_repos_cache.clear()  # MLflow keeps them by run, of whatever store: a copy is used by another process
        (tmp_path / name).write_text(name)
        opened = runs.StudyRuns(to)
        opened.begin("one", {})
        opened.end(summary(), status="FINISHED", files=[tmp_path / name])
        return {entry.path for entry in open_client(to.root).list_artifacts(opened.parent_run_id)}

    assert attach(chosen, "first") == {"first"}
    shutil.copytree(chosen.root, copied.root)
    assert attach(copied, "second") == {"first", "second"}
    assert len(list(chosen.root.glob("mlartifacts/study/*/artifacts/*"))) == 1
    assert len(list(copied.root.glob("mlartifacts/study/*/artifacts/*"))) == 2
    assert attach(chosen, "third") == {"first", "third"}


def test_a_moved_folder_of_studies_keeps_its_registered_models(settings: MakeSettings, tmp_path: Path) -> None:
    chosen, moved = settings(), settings(root=tmp_path / "moved")
    chosen.folder.mkdir()
    opened = runs.StudyRuns(chosen)
    opened.begin("one", {})
    client = open_client(chosen.root)
    uri = client.get_run(opened.parent_run_id).info.artifact_uri
    client.create_registered_model("detector")
    client.create_model_version("detector", source=f"{uri}/detector-1", run_id=opened.parent_run_id)
    shutil.copytree(chosen.root, moved.root)
    shutil.rmtree(chosen.root)
    found = open_client(moved.root)
    there = found.get_run(opened.parent_run_id).info.artifact_uri
    assert there.startswith((moved.root / "mlartifacts").as_uri())
    assert found.get_model_version("detector", "1").source == f"{there}/detector-1"
    assert found.get_model_version_download_uri("detector", "1") == f"{there}/detector-1"


def test_a_search_that_knows_the_folder_by_another_path_keeps_its_artifacts(
    settings: MakeSettings, tmp_path: Path
) -> None:
    """In a container, for example, while a command outside it reads."""
    chosen, outside = settings(), tmp_path / "outside"
    chosen.folder.mkdir()
    opened = runs.StudyRuns(chosen)
    opened.begin("one", {})
    uri = open_client(chosen.root).get_run(opened.parent_run_id).info.artifact_uri
    chosen.root.rename(outside)  # as if it were mounted there
    with driver_lock(outside / "study"):
        experiment_pages(outside)
        assert open_client(outside).get_run(opened.parent_run_id).info.artifact_uri == uri
        again = runs.StudyRuns(settings(root=outside))  # the driver itself
        again.begin("one", {})
        there = open_client(outside).get_run(opened.parent_run_id).info.artifact_uri
    assert there.startswith((outside / "mlartifacts").as_uri())


@pytest.mark.parametrize("location", ["s3://bucket/mlartifacts/study", "file:///data/mlartifacts/7"])
def test_an_experiment_of_the_user_s_keeps_its_place(settings: MakeSettings, location: str) -> None:
    root = settings().root
    settings().folder.mkdir()
    own = open_client(root).create_experiment("own", artifact_location=location)
    assert open_client(root).get_experiment(own).artifact_location == location


def test_a_file_that_is_no_store_is_named(root: Path) -> None:
    (root / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match=r"mlflow\.db cannot be used: file is not a database"):
        experiment_pages(root)


@pytest.mark.parametrize("name", ["a?b=1", "a%20b", "{a} #ü"])
def test_a_folder_may_have_any_name(settings: MakeSettings, root: Path, name: str) -> None:
    root.rename(root.with_name(name))
    chosen = settings(root=root.with_name(name))
    opened = runs.StudyRuns(chosen)
    opened.begin("one", {})
    open_storage(chosen.root).create_new_study([], "study")  # type: ignore[arg-type]
    assert open_client(chosen.root).get_run(opened.parent_run_id).info.status == "RUNNING"
    assert [path.name for path in root.parent.iterdir()] == [name]
    assert {path.name for path in chosen.root.iterdir()} >= {"optuna.db", "mlflow.db"}
