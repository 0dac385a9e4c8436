"""Optuna's database of a folder of studies."""

from pathlib import Path

from optuna.storages import RDBStorage

from search.study.sqlite_url import sqlite_url


def optuna_path(root: Path) -> Path:
    """Return the path of Optuna's database; MLflow's is another file, since both own a table of the same name."""
    return root / "optuna.db"


def open_storage(root: Path) -> RDBStorage:
    """Open Optuna's SQLite database of a folder of studies; create it where it is missing."""
    path = optuna_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    return RDBStorage(sqlite_url(path), engine_kwargs={"connect_args": {"timeout": 60}})
