"""Where MLflow records: at the user's MLFLOW_TRACKING_URI, or in a SQLite file beside the studies."""

import os
from pathlib import Path

from search.credentials import without_credentials


def users_uri() -> str | None:
    """Return MLFLOW_TRACKING_URI; None where it is not set or empty."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def store_path(root: Path) -> Path:
    """Return the SQLite file of the runs in a folder of studies."""
    return (root / "mlflow.db").resolve()


def shown_uri(root: Path) -> str:
    """Return where MLflow records, for display: the user's URI without credentials, or the path of the file."""
    uri = users_uri()
    return str(store_path(root)) if uri is None else without_credentials(uri)


def artifact_root(root: Path) -> Path:
    """Return the folder of the SQLite store's artifacts."""
    return (root / "mlartifacts").resolve()
