"""Optuna's database of a folder of studies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from search.study.errors import StorageError
from search.study.sqlite_url import sqlite_url


def optuna_path(root: Path) -> Path:
    """Return the path of Optuna's database; MLflow's is another file, since both own a table of the same name."""
    return root / "optuna.db"


def open_storage(root: Path) -> RDBStorage:
    """Open Optuna's SQLite database of a folder of studies; create it where it is missing.

    Raises:
        StorageError: it cannot be opened: it is damaged, for example.
    """
    path = optuna_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_storage_errors(root):
        return RDBStorage(sqlite_url(path), engine_kwargs={"connect_args": {"timeout": 60}})


@contextmanager
def named_storage_errors(root: Path) -> Iterator[None]:
    """Say what SQLite said, where Optuna supposes that invalid data was committed.

    Raises:
        StorageError: the database cannot be read or written: the disk is full, for example.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        said = getattr(cause, "orig", None) or cause or error  # `orig`: without SQLAlchemy's frame
        raise StorageError(
            f"{optuna_path(root)} cannot be used: {said}",
            hint="free disk space, or give this user the right to write there, then run the same command again: it resumes; "
            "a file that is no database any more is replaced by a copy of yours, or moved away to begin anew",
        ) from error
