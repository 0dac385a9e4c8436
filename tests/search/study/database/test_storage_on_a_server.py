"""A study whose record is on a real PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from search.driver.search import run_search
from search.study.database.storage import STORAGE_VARIABLE, optuna_path, server_storage
from search.study.errors import StorageError, StudyError
from search.study.read_study import read_study, study_names
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, Runs, ScriptedExecutor, StandInDevice
from tests.search.tracking.servers import find_postgresql, postgresql

PROGRAMS = find_postgresql()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a database of its own."""
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgresql(PROGRAMS) as database:
        own = database.create_database("optuna")
        yield own
        server_storage(own).engine.dispose()
        server_storage.cache_clear()


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
