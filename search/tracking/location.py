"""Where MLflow records: at the user's MLFLOW_TRACKING_URI, or in a SQLite file beside the studies."""

import os
from pathlib import Path


def users_uri() -> str | None:
    """Return MLFLOW_TRACKING_URI; None where it is not set or empty."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def store_path(root: Path) -> Path:
    """Return the SQLite file of the runs in a folder of studies."""
    return (root / "mlflow.db").resolve()


def artifact_root(root: Path) -> Path:
    """Return the folder of the SQLite store's artifacts."""
    return (root / "mlartifacts").resolve()
