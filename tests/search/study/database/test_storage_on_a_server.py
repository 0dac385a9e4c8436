"""A study whose record is on a real PostgreSQL server."""

import gc
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, event

from search.driver.search import run_search
from search.study.database.storage import STORAGE_VARIABLE, optuna_path, server_storage
from search.study.errors import StorageError, StudyError
from search.study.read_study import read_study, study_names
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, Runs, ScriptedExecutor, StandInDevice
from tests.search.tracking.servers import PostgreSQL, find_postgresql, postgresql

PROGRAMS = find_postgresql()
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgresql(PROGRAMS) as found:
        yield found
        server_storage.cache_clear()


@pytest.fixture(scope="module")
def server(database: PostgreSQL) -> Iterator[str]:
    """The URL of a database of its own."""
    own = database.create_database("optuna")
    yield own
    server_storage(own).engine.dispose()


def test_a_study_on_a_server_is_resumed_and_read(
    server: str,
    settings: MakeSettings,
    device: StandInDevice,
    tracking: Runs,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, server)
    file_before = optuna_path(root).stat().st_mtime_ns if optuna_path(root).exists() else None
    run_search(settings(budget=2), executor=ScriptedExecutor(), view=RecordingView())
    for number in (0, 1):
        settings().trial_folder(number).mkdir(parents=True)
    executor = ScriptedExecutor()
    outcome = run_search(settings(budget=4), executor=executor, view=RecordingView())
    assert len(executor.started) == 2
    assert len(outcome.summary.records) == 4
    name = settings().name
    assert study_names(root) == [name]
    assert [one.number for one in read_study(root, name).summary.records] == [0, 1, 2, 3]
    assert (optuna_path(root).stat().st_mtime_ns if optuna_path(root).exists() else None) == file_before
    for number in (0, 1):
        settings().trial_folder(number).rmdir()
    with pytest.raises(StudyError, match=r"has a study '.*' with 4 trials, but their files are not in"):
        run_search(settings(budget=5), executor=ScriptedExecutor(), view=RecordingView())


def test_two_first_runs_of_a_server_create_its_tables_together(database: PostgreSQL) -> None:
    """The second one waits for the first one's tables, and is then told that they are there."""
    url = database.create_database("together")
    first_is_amid, second_is_amid = threading.Event(), threading.Event()

    def meet(connection: Any, cursor: Any, statement: str, *others: object) -> None:
        thread = threading.current_thread().name
        if thread.startswith("first") and "CREATE TABLE trials" in statement:
            first_is_amid.set()
            second_is_amid.wait(PATIENCE_S)
            time.sleep(0.5)  # until the server has got the second one's statement, whose answer waits
        elif thread.startswith("second") and "CREATE " in statement:
            second_is_amid.set()

    event.listen(Engine, "before_cursor_execute", meet)
    try:
        with (
            warnings.catch_warnings(action="ignore", category=ResourceWarning),  # of the second one's first connection
            ThreadPoolExecutor(1, thread_name_prefix="first") as first,
            ThreadPoolExecutor(1, thread_name_prefix="second") as second,
        ):
            opened = [first.submit(server_storage, url)]
            assert first_is_amid.wait(PATIENCE_S)
            opened.append(second.submit(server_storage, url))
            both = [one.result(PATIENCE_S) for one in opened]
            gc.collect()
    finally:
        second_is_amid.set()
        event.remove(Engine, "before_cursor_execute", meet)
    for storage in both:
        assert storage.get_all_studies() == []
        storage.engine.dispose()


def test_a_server_that_is_away_is_named_without_its_password(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.setenv(STORAGE_VARIABLE, "postgresql+psycopg://me:secret@127.0.0.1:9/studies?connect_timeout=2")
    with pytest.raises(
        StorageError, match=r"postgresql\+psycopg://\*\*\*@127\.0\.0\.1:9/studies.* cannot be used"
    ) as caught:
        run_search(settings(), executor=ScriptedExecutor(), view=RecordingView())
    assert "secret" not in str(caught.value)
    assert "bring the server back" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "no url",
        "POSTGRESQL+PSYCOPG:/me:SECRET@host/x",
        "postgresql+psycopg://me:SECRET@127.0.0.1:notaport/x",
        "postgresql+psycopg://me:12/sec@SECRET@127.0.0.1:9/x",
    ],
)
def test_what_is_no_url_of_a_database_is_refused_without_its_password(
    url: str, settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, url)
    with pytest.raises(StorageError, match="YOLORET_NAS_STORAGE is no URL of a database") as caught:
        run_search(settings(), executor=ScriptedExecutor(), view=RecordingView())
    assert "it takes postgresql" in caught.value.hint
    assert "SECRET" not in str(caught.value)


def test_a_database_without_a_driver_is_refused(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, "postgresql+nodriver://host/name")
    with pytest.raises(StorageError, match="cannot be used") as caught:
        run_search(settings(), executor=ScriptedExecutor(), view=RecordingView())
    assert "takes postgresql" in caught.value.hint
