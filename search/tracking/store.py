"""Where MLflow records: a server named by the environment, or a SQLite file beside the studies."""

import os
from pathlib import Path


def tracking_uri(root: Path) -> str:
    """Return MLflow's tracking URI: MLFLOW_TRACKING_URI where it is set, else a SQLite file in the studies' folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def artifact_root(root: Path) -> Path:
    """Return the folder of the SQLite store's artifacts."""
    return (root / "mlartifacts").resolve()


def create_store(root: Path) -> None:
    """Create MLflow's SQLite file where it is missing and no server is named."""
    if os.environ.get("MLFLOW_TRACKING_URI") or (root / "mlflow.db").exists():
        return
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=tracking_uri(root)).search_experiments(max_results=1)


def experiment_pages(uri: str) -> dict[str, str]:
    """Return the experiments of a store, newest first: name to the path of its runs in MLflow's UI.

    The path selects the view for model training; by default the UI opens on traces of language models.
    """
    from mlflow.tracking import MlflowClient  # here: `yoloret-nas ui` answers bad usage before it loads MLflow

    experiments = MlflowClient(tracking_uri=uri).search_experiments(order_by=["last_update_time DESC"])
    return {
        experiment.name: f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
        for experiment in experiments
        if experiment.name != "Default"
    }
