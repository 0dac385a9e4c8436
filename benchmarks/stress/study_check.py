"""Whether a finished study holds what it should: in its database, in MLflow, and in its files.

`benchmarks.stress.kill_campaign` and the tests of kills call this; every violation is a sentence.
"""

import csv
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import mlflow.entities
import onnx
import optuna
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from search.front.record import TrialRecord
from search.strategy.accuracy.estimates import with_estimates
from search.study.database.storage import open_storage
from search.study.kept_weights import WEIGHTS
from search.study.lock import is_driven
from search.study.read_study import ReadStudy, read_study
from search.tracking.runs import FRONT_TAG, RANK_TAG, REASON_TAG, STATE_TAG, TRIAL_TAG
from search.tracking.store import open_client
from trials.training import CHECKPOINT_FILE, read_checkpoint
from trials.trial_result import ARCHITECTURE_FILE, DETECTIONS_FILE, ONNX_FILE, RESULT_FILE

_STATUS = {"failed": "FAILED"}
_CLOSE = 1e-9


def violations(root: Path, name: str, *, budget: int) -> list[str]:
    """Return what is wrong with a study whose search has come to its end, without failed trials.

    Args:
        root: Folder of the studies; MLFLOW_TRACKING_URI is as it was in the search.
        name: The study.
        budget: Of its search.
    """
    study = read_study(root, name)
    return [
        *_in_study(study, budget),
        *_in_files(study),
        *_in_mlflow(study, open_client(root)),
        *([f"study {name} is locked"] if is_driven(root / name) else []),
    ]


def _in_study(study: ReadStudy, budget: int) -> Iterator[str]:
    trials = optuna.load_study(study_name=study.name, storage=open_storage(study.root)).get_trials(deepcopy=False)
    if running := [trial.number for trial in trials if trial.state == TrialState.RUNNING]:
        yield f"trials {running} run in the study"
    records = study.summary.records
    if len(records) != budget:
        yield f"{len(records)} trials are finished, the budget is {budget}"
    for key, count in Counter(record.architecture.key for record in records).items():
        if count > 1:
            yield f"architecture {key} has {count} trials"
    for record in records:
        if record.result.state == "failed":
            yield f"trial {record.number} failed: {record.result.reason}"


def _in_files(study: ReadStudy) -> Iterator[str]:
    for path in study.root.rglob("*.partial*"):
        yield f"half a file is left: {path}"
    for path in sorted(study.root.glob("*.db")):
        with closing(sqlite3.connect(path)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            yield f"{path.name}: {verdict}"
    finished = {f"{record.number:04d}" for record in study.summary.records}
    for folder in sorted((study.root / study.name / "trials").iterdir()):
        if folder.name not in finished:
            yield f"{folder} is of no finished trial"
    front = {record.number for record in study.summary.front}
    for record in study.summary.records:
        yield from _in_folder(study.trial_folder(record.number), record, is_kept=record.number in front)
    for table in ("front.csv", "trials.csv"):
        with (study.root / study.name / table).open(encoding="utf-8") as file:
            numbers = [int(row["trial"]) for row in csv.DictReader(file)]
        expected = study.summary.records if table == "trials.csv" else study.summary.front
        if sorted(numbers) != sorted(record.number for record in expected):
            yield f"{table} has trials {numbers}"


def _in_folder(folder: Path, record: TrialRecord, *, is_kept: bool) -> Iterator[str]:
    """Read each file of a trial; weights stay on the front only."""
    try:
        result = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        if (result["state"], result["ap"]) != (record.result.state, record.result.ap):
            yield f"{folder / RESULT_FILE} has state {result['state']}, AP {result['ap']}"
        if is_kept:
            onnx.checker.check_model(onnx.load(str(folder / ONNX_FILE)))
            read_checkpoint(folder / CHECKPOINT_FILE)
        elif left := {path.name for path in folder.iterdir()} & set(WEIGHTS):
            yield f"{folder} still has {left}"
        if record.result.state == "complete" and cv2.imread(str(folder / DETECTIONS_FILE)) is None:
            yield f"{folder / DETECTIONS_FILE} is no picture"
    except Exception as error:  # of whichever library reads the file
        yield f"{folder}: {error!r}"


def _in_mlflow(study: ReadStudy, client: MlflowClient) -> Iterator[str]:
    experiment = client.get_experiment_by_name(study.name)
    if experiment is None:
        yield f"MLflow has no experiment {study.name}"
        return
    runs = list(client.search_runs([experiment.experiment_id], max_results=10_000))
    parents = [run for run in runs if TRIAL_TAG not in run.data.tags]
    children = {int(run.data.tags[TRIAL_TAG]): run for run in runs if TRIAL_TAG in run.data.tags}
    if len(parents) != 1 or len(children) + 1 != len(runs):
        yield f"MLflow has {len(parents)} runs of the study, and {len(runs) - len(parents)} of {len(children)} trials"
    if children.keys() != {record.number for record in study.summary.records}:
        yield f"MLflow has the trials {sorted(children)}"
        return
    summary = with_estimates(study.summary)
    parent = parents[0]
    values = {"hypervolume": summary.hypervolume, "front_size": len(summary.front)}
    values |= {f"trials_{state}": count for state, count in summary.states.items()}
    yield from _unequal("the study's run", parent, values)
    yield from _other_files(
        client, parent, study.root / study.name, {"front.csv", "front.png", "front.html", "trials.csv"}
    )
    if parent.info.status != "FINISHED":
        yield f"the study's run is {parent.info.status}"
    ranks = {record.number: f"{rank:03}" for rank, record in enumerate(summary.front, start=1)}
    for record in summary.records:
        run = children[record.number]
        figures = _figures(record)
        if estimate := summary.estimates.get(record.number):
            figures |= {"ap_estimate": estimate.ap, "ap_std": estimate.std}
        yield from _unequal(f"trial {record.number}", run, figures)
        yield from _other_words(run, record, rank=ranks.get(record.number, ""))
        yield from _other_curves(client, run, record)
        yield from _other_files(client, run, study.trial_folder(record.number), _expected_files(record, ranks))


def _figures(record: TrialRecord) -> dict[str, float | None]:
    result = record.result
    figures: dict[str, float | None] = {"ap": result.ap, "ap50": result.ap50} if result.state == "complete" else {}
    if result.latency is not None:
        figures |= {"latency_ms": result.latency.median_ms, "latency_p99_ms": result.latency.p99_ms}
    if result.macs is not None and result.params is not None:
        figures |= {"macs_m": result.macs / 1e6, "params_m": result.params / 1e6}
    return figures


def _unequal(name: str, run: Run, values: Mapping[str, float | None]) -> Iterator[str]:
    for metric, value in values.items():
        there = run.data.metrics.get(metric)
        if there is None or value is None or abs(there - value) > _CLOSE * max(1.0, abs(value)):
            yield f"{metric} of {name} is {value} in the study, {there} in MLflow"


def _other_words(run: Run, record: TrialRecord, *, rank: str) -> Iterator[str]:
    result, tags = record.result, run.data.tags
    front = ("yes" if rank else "no") if result.state == "complete" else ""
    for tag, value in {STATE_TAG: result.state, REASON_TAG: result.reason, FRONT_TAG: front, RANK_TAG: rank}.items():
        if tags.get(tag, "") != value:
            yield f"{tag} of trial {record.number} is {value!r} in the study, {tags.get(tag)!r} in MLflow"
    for axis, chosen in record.architecture.to_dict().items():
        if run.data.params.get(axis) != str(chosen):
            yield f"{axis} of trial {record.number} is {chosen} in the study, {run.data.params.get(axis)} in MLflow"
    if run.info.status != _STATUS.get(result.state, "FINISHED"):
        yield f"the run of trial {record.number} is {run.info.status}"


def _other_curves(client: MlflowClient, run: Run, record: TrialRecord) -> Iterator[str]:
    losses = {epoch: loss for epoch, loss, _, _ in record.result.history}
    for name, values in {"train_loss": losses, "val_ap": dict(record.curve)}.items():
        points: Sequence[mlflow.entities.Metric] = client.get_metric_history(run.info.run_id, name)
        if {(point.step, point.value) for point in points} != set(values.items()):
            yield f"{name} of trial {record.number} is {values} in the study, {points} in MLflow"


def _expected_files(record: TrialRecord, ranks: dict[int, str]) -> set[str]:
    names = {ARCHITECTURE_FILE, RESULT_FILE}
    if record.result.state == "complete":
        names.add(DETECTIONS_FILE)
    return names | (set(WEIGHTS) if record.number in ranks else set())


def _other_files(client: MlflowClient, run: Run, folder: Path, needed: set[str]) -> Iterator[str]:
    """Compare what MLflow keeps of a run with the files that it was given."""
    there = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    for name in sorted(needed - there):
        yield f"MLflow lacks {name} of {folder.name}"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with TemporaryDirectory() as copies:
        for name in sorted(needed & there):
            copy = Path(client.download_artifacts(run.info.run_id, name, copies))
            if (folder / name).exists() and copy.read_bytes() != (folder / name).read_bytes():
                yield f"{name} of {folder.name} is another file in MLflow"
