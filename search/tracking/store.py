"""The store where MLflow records, opened."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from search.credentials import without_credentials
from search.study.database.sqlite_url import sqlite_url
from search.study.errors import StorageError, StudyError
from search.study.lock import is_driven
from search.tracking.location import artifact_root, shown_uri, store_path, users_uri
from search.tracking.shared_view import CHARTS, SHARE_KEY, VIEW_TAG
from spaces import YoloRetError

_HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""`search.tracking.tracking` tries again by itself; MLflow's own seven retries take four minutes."""

_UNFINISHED = ".mlflow-"
"""Begins the names of folders in which a store is created."""

_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
"""What a store raises that cannot be used."""


def tracking_uri(root: Path) -> str:
    """Return MLflow's tracking URI, with the user's credentials in it: it is not for display."""
    return users_uri() or sqlite_url(store_path(root))


def create_store(root: Path) -> None:
    """Create MLflow's SQLite file where it is missing; the user's may be one too.

    MLflow cannot open a file again that it made only half of its tables in, so ours gets its place once they are all there.
    One process at a time may call this (`search.study.lock.creation_lock`).

    Raises:
        StudyError, StorageError: it cannot be created.
    """
    with naming_the_store(root):
        if users_uri() is None and not store_path(root).exists():
            for left in root.glob(f"{_UNFINISHED}*"):  # by processes that were killed here
                shutil.rmtree(left)
            # In a folder of its own: within a process MLflow keeps its connections to a path, whatever becomes of the file.
            with TemporaryDirectory(prefix=_UNFINISHED, dir=root) as folder:
                unfinished = Path(folder) / store_path(root).name
                MlflowClient(tracking_uri=sqlite_url(unfinished)).search_experiments(max_results=1)
                unfinished.rename(store_path(root))
        elif tracking_uri(root).startswith("sqlite") and users_uri():
            open_client(root).search_experiments(max_results=1)


def open_client(root: Path, *, own: str = "") -> MlflowClient:
    """Return a client of the store; a SQLite store that was moved or copied gets its artifacts' new paths first.

    Args:
        root: The folder of studies.
        own: The study that this process drives.
    """
    for name, value in _HTTP.items():
        os.environ.setdefault(name, value)
    if users_uri() is None and store_path(root).is_file():
        _bring_artifacts_along(root, own)
    return MlflowClient(tracking_uri=tracking_uri(root))


def unusable(root: Path, error: Exception) -> StudyError | StorageError:
    """Return the error that names a store which cannot be used, why, and what to check; one of the user's is wrong input."""
    said = f"MLflow store {shown_uri(root)} cannot be used: {why_unusable(error)}"
    if _is_login_refused(error):
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI=https://USER:PASSWORD@HOST"
        return StudyError(said, hint=hint)
    if users_uri():
        return StudyError(said, hint="check MLFLOW_TRACKING_URI")
    return StorageError(said, hint="free disk space, or move the file away: the same command makes a new one")


def why_unusable(error: Exception) -> str:
    """Return in words, without credentials, why a store cannot be used; its libraries raise errors of many kinds."""
    if _is_login_refused(error):
        return "it refuses the user or the password"
    if isinstance(error, YoloRetError):
        return error.message
    return without_credentials(str(error) if isinstance(error, _ERRORS) else repr(error))


def _is_login_refused(error: Exception) -> bool:
    return isinstance(error, MlflowException) and error.get_http_status_code() == 401  # type: ignore[no-untyped-call]


@contextmanager
def naming_the_store(root: Path) -> Iterator[None]:
    """Turn an error of MLflow in the block into one that names the store.

    Raises:
        StudyError, StorageError: the store cannot be used.
    """
    try:
        yield
    except YoloRetError:
        raise
    except Exception as error:  # MLflow's client checks no answer of a server: of another kind, it raises any error
        raise unusable(root, error) from error


def experiment_pages(root: Path) -> dict[str, dict[str, str]]:
    """Return the experiments of a store, newest first: name to the paths of its pages in MLflow's UI, by kind of page.

    The paths select the view for model training (by default the UI opens on traces of language models), prepared where the
    experiment has a shared view of ours.

    Raises:
        StudyError, StorageError: the store cannot be used.
    """
    with naming_the_store(root):
        experiments = open_client(root).search_experiments(order_by=["last_update_time DESC"])
    pages = {}
    for experiment in experiments:
        if experiment.name != "Default":
            page = f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
            page += SHARE_KEY if VIEW_TAG in experiment.tags else ""
            pages[experiment.name] = {"trials": page, "charts": page + CHARTS}
    return pages


_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database keeps absolute paths of artifacts."""


def _bring_artifacts_along(root: Path, own: str) -> None:
    """Point the studies of a store that was copied or moved to the artifacts beside it.

    MLflow records absolute paths and has no call to change them: without this, a copied folder of studies would write
    its artifacts into the original. Experiments that the user made in the same store keep their places, and so do those that
    another process drives: it knows the folder by its own path, in a container for example.
    """
    here = artifact_root(root)
    with closing(sqlite3.connect(store_path(root), timeout=60)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return  # another process is creating it
        for (old,) in connection.execute("SELECT artifact_location FROM experiments").fetchall():
            folder, _, name = str(old).rpartition("/")
            study = unquote(name)
            is_ours = folder.startswith("file:") and folder.endswith(f"/{here.name}") and (root / study).is_dir()
            if not is_ours or folder == here.as_uri() or (study != own and is_driven(root / study)):
                continue
            for table, column in _PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (f"{here.as_uri()}/{name}", len(old) + 1, len(old) + 1, f"{old}/"),
                )


def admitted(names: Sequence[str], port: int) -> dict[str, list[str]]:
    """Return the variables by which MLflow's server answers to names of this machine, to what each lists.

    It answers no other name, and takes requests that change something only from pages of names that are listed.

    Args:
        names: Host names and addresses, beside those that MLflow admits by itself.
        port: The server's.
    """
    from mlflow.server.security_utils import get_default_allowed_hosts  # takes a second

    hosts = [*names, *(f"{name}:{port}" for name in names)]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": [*hosts, *get_default_allowed_hosts()],  # the variable replaces these
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": [f"http://{name}:{port}" for name in names],
    }
