"""Fixtures that tests of several packages share."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.file_server import FileServer, serve_files
from tests.trials.latency.board.loopback import LoopbackBoard, loopback_board, missing
from trials.latency.measurement_lock import FOLDER_VARIABLE

PutUpBoard = Callable[..., LoopbackBoard]

hypothesis.settings.register_profile("without a clock", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("without a clock")


@pytest.fixture(scope="session", autouse=True)
def users_data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests decode out of the user's folder, which remembers it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLORET_NAS_DATA", str(tmp_path_factory.mktemp("data-home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def measurement_lock_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests and their processes from waiting for what else is measured on this machine, and from holding it up.

    The two processes of `make test` share a folder: one does not train while the other measures.
    """
    with pytest.MonkeyPatch.context() as patch:
        if FOLDER_VARIABLE not in os.environ:
            patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture
def own_locks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a test that asks who holds the measurement lock apart from the other process of `make test`."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("own-locks")))


@pytest.fixture
def put_up_board(tmp_path: Path) -> Iterator[PutUpBoard]:
    """Puts up stand-in boards behind a real sshd on loopback; takes them down at the end."""
    if reason := missing():
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:

        def put_up(name: str = "board", **settings: Any) -> LoopbackBoard:
            return stack.enter_context(loopback_board(tmp_path / name, **settings))

        yield put_up


@pytest.fixture
def board(put_up_board: PutUpBoard, monkeypatch: pytest.MonkeyPatch) -> LoopbackBoard:
    """A stand-in Jetson Nano with TensorRT 8.2.1 that ``ssh://board`` reaches, in this process and its children."""
    found = put_up_board()
    monkeypatch.setenv("YOLORET_NAS_SSH_CONFIG", str(found.config))
    return found


@pytest.fixture(scope="session")
def empty_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both databases, their tables made and empty: making them takes seconds, copying them does not."""
    from mlflow.tracking import MlflowClient
    from sqlalchemy import Engine, event

    from search.study.database.storage import open_storage

    @event.listens_for(Engine, "connect")
    def need_not_last(connection: Any, record: Any) -> None:
        """Spare the databases of tests the wait for the disk."""
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    root = tmp_path_factory.mktemp("stores")
    MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").search_experiments()
    open_storage(root)
    return root


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A web server of files on this machine."""
    with serve_files() as state:
        yield state
