"""Where studies are kept: files under one folder, or a tracking server of the user's."""

import os
from pathlib import Path


def tracking_uri(root: Path) -> str:
    """Give where MLflow records: MLFLOW_TRACKING_URI where it is set, else a SQLite file in the studies' folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def artifact_root(root: Path) -> Path:
    """Give where artifacts of the SQLite store lie."""
    return (root / "mlartifacts").resolve()


def optuna_path(root: Path) -> Path:
    """Give Optuna's database; MLflow's is another file, since both own a table of the same name."""
    return root / "optuna.db"
