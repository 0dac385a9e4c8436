"""The URL by which SQLAlchemy, and so Optuna and MLflow, opens a SQLite file."""

from pathlib import Path

from sqlalchemy import URL


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file, with what has a meaning in URLs quoted: a folder's name may hold ``?`` or ``%``.

    The driver is named because MLflow reads a path out of URLs that begin with ``sqlite:///``, without unquoting it, and
    creates folders of that name.
    """
    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string()


def typed_sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file as a user types it, for Optuna's command: the driver is SQLAlchemy's own choice."""
    return URL.create("sqlite", database=str(path)).render_as_string()
