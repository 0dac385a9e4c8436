"""Optuna's database of a folder of studies: a SQLite file in it, or a server's that the user names."""

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from search.credentials import without_credentials
from search.study.database.sqlite_url import sqlite_url, typed_sqlite_url
from search.study.errors import StorageError
from search.study.lock import creation_lock

STORAGE_VARIABLE = "YOLORET_NAS_STORAGE"
"""Environment variable with the URL of a server's database, such as ``postgresql+psycopg://user:password@host/name``."""

_FILE_HINT = (
    "free disk space, or give this user the right to write there, then run the same command again: it resumes; "
    "a file that is no database any more is replaced by a copy of yours, or moved away to begin anew"
)
_SERVER_HINT = "bring the server back or correct {variable}, then run the same command again: it resumes"
_MISSING_HINT = "install the driver that the URL names: for postgresql+psycopg it is in 'yoloret-nas[cluster]'"

_MOST_COLLISIONS = 2
"""Of two processes that create the tables of a server together: Optuna's, then that with their version."""
_COLLISION_PAUSE_S = 1.0
"""In which the other one creates the rest."""


def users_storage() -> str | None:
    """Return the URL of the user's server; None where none is named."""
    return os.environ.get(STORAGE_VARIABLE) or None


def optuna_path(root: Path) -> Path:
    """Return the path of the SQLite file; MLflow's is another file, since both own a table of the same name."""
    return root / "optuna.db"


def has_storage(root: Path) -> bool:
    """Return whether there is a database to read."""
    return users_storage() is not None or optuna_path(root).is_file()


def open_storage(root: Path) -> RDBStorage:
    """Open the database of a folder of studies; create its tables where they are missing, after other processes that do.

    Raises:
        StorageError: it cannot be opened: a file is damaged or a server is away, for example.
    """
    with named_storage_errors(root), _named_version(root):
        if url := users_storage():
            _check_url(url)
            return server_storage(url)
        path = optuna_path(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        with creation_lock(root):
            return RDBStorage(sqlite_url(path), engine_kwargs={"connect_args": {"timeout": 60}})


def _check_url(url: str) -> None:
    """Refuse what is no URL, without quoting it: where its password ends is not known.

    Raises:
        StorageError: with the form that it should have.
    """
    try:
        found = make_url(url)
        is_usable = "://" in url and "@" not in (found.host or "")
    except (ArgumentError, ValueError):  # ValueError: the port is no number
        is_usable = False
    if not is_usable:
        raise StorageError(
            f"{STORAGE_VARIABLE} is no URL of a database",
            hint="it takes postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; write @ / : in a password as %40 %2F %3A",
        )


def shown_storage(root: Path) -> str:
    """Return where the database is, for display, without credentials."""
    url = users_storage()
    return str(optuna_path(root)) if url is None else without_credentials(url)


@cache
def server_storage(url: str) -> RDBStorage:
    """Return this process's only storage of a server, whose connections are used again."""
    for _ in range(_MOST_COLLISIONS):
        try:
            return _make_server_storage(url)
        except DBAPIError as error:
            if not _is_collision(error):
                raise
        time.sleep(_COLLISION_PAUSE_S)
    return _make_server_storage(url)


def _make_server_storage(url: str) -> RDBStorage:
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _is_collision(error: DBAPIError) -> bool:
    """Return whether another process may have created what this one was about to create."""
    return isinstance(error, ProgrammingError | IntegrityError) or "already exists" in str(error)


@contextmanager
def _named_version(root: Path) -> Iterator[None]:
    """Say whose tables Optuna refuses, and what to do: a study of an earlier version may have them."""
    try:
        yield
    except RuntimeError as error:
        url = without_credentials(users_storage() or typed_sqlite_url(optuna_path(root)))
        raise StorageError(
            f"{shown_storage(root)} is of another version of Optuna: {error}",
            hint=f"make a copy of it, then run: optuna storage upgrade --storage {shlex.quote(url)}; one of a later version "
            "needs that version: pip install --upgrade optuna",
        ) from error


@contextmanager
def named_storage_errors(root: Path) -> Iterator[None]:
    """Say what the database said, where Optuna supposes that invalid data was committed.

    Raises:
        StorageError: the database cannot be read or written: the disk is full, for example.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        raise _named(
            root, getattr(cause, "orig", None) or cause or error
        ) from error  # `orig`: without SQLAlchemy's frame
    except ImportError as error:  # of the driver, which Optuna imports
        if users_storage() is None:
            raise
        raise _named(root, error, hint=_MISSING_HINT) from error


def _named(root: Path, said: Any, *, hint: str = "") -> StorageError:
    if (url := users_storage()) is None:
        return StorageError(f"{optuna_path(root)} cannot be used: {said}", hint=_FILE_HINT)
    if isinstance(said, ArgumentError):
        hint = f"{STORAGE_VARIABLE} takes postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    return StorageError(
        f"{without_credentials(url)} cannot be used: {without_credentials(str(said)).strip()}",
        hint=hint or _SERVER_HINT.format(variable=STORAGE_VARIABLE),
    )
