"""An export as a version of a model in MLflow's registry, which ``mlflow models serve`` and `mlflow.pyfunc` load."""

import re
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from search.study.errors import StudyError
from search.tracking.package_versions import as_requirements
from search.tracking.runs import find_trial_run
from search.tracking.store import naming_the_store, open_client, tracking_uri
from trials.scratch import temporary_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_NEEDS = ("mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas")


def check_model_name(name: str) -> None:
    """Refuse a name that MLflow's registry does not take.

    Raises:
        StudyError: it is empty, or has other characters.
    """
    if not _NAME.fullmatch(name):
        raise StudyError(
            f"{name!r} cannot name a model in MLflow", hint="use letters, digits, spaces, dots, dashes and underscores"
        )


def check_run(root: Path, *, study: str, study_id: str, trial: int) -> None:
    """Refuse to register an export whose trial has no run, before the export is made.

    Raises:
        StudyError, StorageError: MLflow has no run of this trial, or its store cannot be used.
    """
    with naming_the_store(root):
        _find_run(open_client(root), study, study_id, trial)


def register_export(
    root: Path, folder: Path, *, name: str, study: str, study_id: str, trial: int, tags: Mapping[str, str]
) -> str:
    """Add an export to the run of its trial, and register it.

    Args:
        root: Folder of the studies.
        folder: The export.
        name: Of the registered model; a new one is created.
        study: The study's name.
        study_id: The study's own id.
        trial: The trial's number.
        tags: Figures of the version, by name.

    Returns:
        The version's number.

    Raises:
        StudyError, StorageError: MLflow has no run of this trial, its store cannot be used, or the name cannot name a model.
    """
    check_model_name(name)
    import numpy as np

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred")  # of MLflow's own classes
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    boxes = [("long", "image"), *(("double", side) for side in ("x1", "y1", "x2", "y2", "score")), ("string", "class")]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
        outputs=Schema([ColSpec(kind, column) for kind, column in boxes]),
        params=ParamSchema([ParamSpec("score_threshold", "double", 0.25), ParamSpec("nms_iou", "double", 0.5)]),
    )
    part = f"detector-{uuid.uuid4().hex[:8]}"  # each version keeps its own files
    with naming_the_store(root), temporary_folder() as temporary:
        client = open_client(root)
        run = _find_run(client, study, study_id, trial)
        mlflow.pyfunc.save_model(
            path=str(Path(temporary) / part),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"export": folder.resolve().as_uri()},
            signature=signature,
            input_example=np.zeros((1, 64, 64, 3), np.uint8),
            pip_requirements=as_requirements(_NEEDS),
        )
        # Not by the client, which remembers where a run's artifacts were before its folder was copied.
        repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=tracking_uri(root))
        repository.log_artifacts(str(Path(temporary) / part), part)  # type: ignore[no-untyped-call]
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        made = client.create_model_version(
            name, source=f"{run.info.artifact_uri}/{part}", run_id=run.info.run_id, tags=dict(tags)
        )
        return str(made.version)


def _find_run(client: MlflowClient, study: str, study_id: str, trial: int) -> Run:
    run = find_trial_run(client, study, study_id, trial)
    if run is None:
        raise StudyError(
            f"MLflow has no run of trial {trial} of study {study!r}", hint="run the search once more: it writes it"
        )
    return run
