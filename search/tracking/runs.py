"""A study's runs in MLflow: a parent run for the study, a child run for each trial.

`search.tracking.tracking` calls this, and waits for MLflow so that the driver need not. Optuna's database is the record of
what finished; MLflow is what people look at. So every run can be written again from the study, and is, for trials whose
driver was killed before it wrote them here. Each write may be repeated: one that failed halfway is tried again whole.
"""

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from mlflow.entities import Dataset, DatasetInput, Experiment, Metric, Param, Run, RunStatus, RunTag, ViewType
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.errors import StudyError
from search.study.kept_weights import WEIGHTS
from search.study.settings import RunSettings, StudySettings
from search.tracking.location import artifact_root, users_uri
from search.tracking.shared_view import VIEW_TAG, view_state
from search.tracking.store import naming_the_store, open_client
from spaces import Architecture
from trials.progress import Progress
from trials.trial_result import ARCHITECTURE_FILE, DETECTIONS_FILE, RESULT_FILE, TRACEBACK_FILE, State

TRIAL_TAG = "yoloret.trial"
STATE_TAG = "yoloret.state"
REASON_TAG = "yoloret.reason"
WHY_TAG = "yoloret.why"
FRONT_TAG = "yoloret.front"
RANK_TAG = "yoloret.rank"
"""The place on the front, from the fastest: ``001``, ``002``; MLflow sorts tags as texts."""
KIND_TAG = "yoloret.kind"
STUDY_TAG = "yoloret.study_id"
SHARED_LOSS = "shared_weights_loss"
"""Metric of a one-shot study's run, by epoch of its shared weights."""
_PARENT_KIND = "study"
_LONGEST_TAG = 8000
"""Characters that MLflow's tables have for a tag; a database that keeps to it, as PostgreSQL does, refuses more."""
_FRONT_EVERY = 5
"""Trials between two updates of the front's tags."""
_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "infeasible": "FINISHED", "failed": "FAILED"}


class StudyRuns:
    """A study's runs in MLflow, with the store's experiment open.

    Args:
        settings: The study or experiment.

    Raises:
        StudyError: the experiment was deleted.
        Exception: the store cannot be used; its libraries raise errors of many kinds, here and in every write.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._client = open_client(settings.root, own=settings.name)
        self._named = self._find_named()
        self.experiment_id = self.parent_run_id = ""
        self._children: dict[int, Run] = {}
        self._data: DatasetInput | None = None
        self._ranks: dict[int, str] = {}  # of the trials that are tagged as the front's members

    def begin(self, study_id: str, description: Mapping[str, str]) -> None:
        """Find the study's runs, or create its parent run.

        Args:
            study_id: The study's own id, by which its parent run is found again: a shared store may hold others of its name.
            description: What the study is, by short names; parameters of its run. ``fingerprint`` is the data's.
        """
        self._data = _dataset_input(self._settings.dataset, description.get("fingerprint", ""))
        self.experiment_id = self._open_experiment(study_id)
        self._client.set_experiment_tag(self.experiment_id, VIEW_TAG, view_state(self._settings.open_axes))
        self.parent_run_id = self._open_parent(study_id, description)
        self._children = {}
        for run in self._find(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.parent_run_id}'"):
            tag = run.data.tags.get(TRIAL_TAG, "")
            if not re.fullmatch("[0-9]{1,9}", tag):  # the user's own, nested under the study's
                continue
            number = int(tag)
            if former := self._children.get(number):  # a deleted experiment that is restored brings deleted runs back
                self._client.delete_run(former.info.run_id)
            self._children[number] = run
        self._ranks = {
            number: run.data.tags.get(RANK_TAG, "")
            for number, run in self._children.items()
            if run.data.tags.get(FRONT_TAG) == "yes"
        }

    def catch_up(self, summary: Summary) -> None:
        """Write what is missing of finished trials and of the study's curves, and delete the runs of interrupted trials."""
        for record in summary.records:
            run = self._children.get(record.number)
            if run is None or _is_running(run) or run.data.tags.get(STATE_TAG) != record.result.state:
                # anew where it ended otherwise: a training tried again
                self.started(record.number, record.architecture)
                self.finished(record, seconds=None)
        known = {record.number for record in summary.records}
        for number, run in list(self._children.items()):
            if number not in known and _is_running(run):
                self.interrupted(number)
        written = {metric.step for metric in self._client.get_metric_history(self.parent_run_id, "front_size")}
        for count in range(1, len(summary.records) + 1):
            if count not in written:
                self._log_totals(replace(summary, records=summary.records[:count]))

    def started(self, number: int, architecture: Architecture, *, why: str = "") -> None:
        """Open a trial's run, with its axes as parameters, and the sampler's reason to try it as a tag."""
        run = self._children.get(number)
        if run is None or not _is_running(run):
            if run is not None:  # of an earlier try
                self._client.delete_run(run.info.run_id)
            tags = {MLFLOW_PARENT_RUN_ID: self.parent_run_id, TRIAL_TAG: str(number), STATE_TAG: "running"}
            run = self._client.create_run(
                self.experiment_id,
                run_name=f"#{number} {architecture.short}",
                tags={**tags, **({WHY_TAG: why} if why else {})},
            )
        params = [Param(axis, str(value)) for axis, value in architecture.to_dict().items()]
        self._client.log_batch(run.info.run_id, params=[*params, Param("architecture", architecture.key)])
        self._log_data(run.info.run_id)
        self._children[number] = run

    def scored(self, number: int, progress: Progress) -> None:
        """Add one epoch to a trial's curves; where its run could not be opened, `finished` opens it and adds them all."""
        if number not in self._children:
            return
        now_ms = _now_ms()
        values = {"train_loss": progress.loss, "val_ap": progress.ap}
        metrics = [Metric(name, float(v), now_ms, progress.epoch) for name, v in values.items() if v is not None]
        self._client.log_batch(self._children[number].info.run_id, metrics=metrics)

    def prepared(self, losses: Sequence[tuple[int, float]]) -> None:
        """Add epochs to the study's curve of the loss of its shared weights, those that it lacks.

        Args:
            losses: Epoch from 1 and mean loss.
        """
        written = {metric.step for metric in self._client.get_metric_history(self.parent_run_id, SHARED_LOSS)}
        now_ms = _now_ms()
        metrics = [Metric(SHARED_LOSS, loss, now_ms, epoch) for epoch, loss in losses if epoch not in written]
        self._client.log_batch(self.parent_run_id, metrics=metrics)

    def interrupted(self, number: int) -> None:
        """Delete the run of a trial that will be tried again, under another number, where it has one."""
        if run := self._children.pop(number, None):
            self._client.delete_run(run.info.run_id)

    def finished(self, record: TrialRecord, *, seconds: float | None) -> None:
        """Write a trial's objectives, state and files, and end its run."""
        if record.number not in self._children:
            self.started(record.number, record.architecture)
        run_id, state = self._children[record.number].info.run_id, record.result.state
        figures = _figures(record) | ({} if seconds is None else {"seconds": seconds})
        metrics = [Metric(name, value, _now_ms(), 0) for name, value in figures.items()]
        metrics += self._missing_curves(record)
        self._client.log_batch(run_id, metrics=metrics, tags=_tags(record))
        folder = self._settings.trial_folder(record.number)
        for name in (
            ARCHITECTURE_FILE,
            RESULT_FILE,
            TRACEBACK_FILE,
            *((DETECTIONS_FILE,) if state == "complete" else ()),
        ):
            if (folder / name).is_file():
                self._client.log_artifact(run_id, str(folder / name))
        self._client.set_terminated(run_id, status=_STATUS[state])
        self._children[record.number] = self._client.get_run(run_id)

    def update(self, summary: Summary) -> None:
        """Write the hypervolume after the newest trial onto the study's run; every few trials, tag the front's members."""
        self._log_totals(summary)
        if len(summary.records) % _FRONT_EVERY == 0:
            self._tag_front(summary)

    def _log_totals(self, summary: Summary) -> None:
        # The zeros, too: a training that failed is repeated, and then counts no more.
        states = {f"trials_{state}": float(summary.states[state]) for state in get_args(State)}
        values = {"front_size": float(len(summary.front)), **states}
        if isinstance(self._settings, StudySettings):  # trainings seek no front, and have no fixed reference point
            values["hypervolume"] = summary.hypervolume
        now_ms, step = _now_ms(), len(summary.records)
        self._client.log_batch(self.parent_run_id, metrics=[Metric(k, v, now_ms, step) for k, v in values.items()])

    def mark_front(self, summary: Summary) -> None:
        """Write the estimates of AP, mark the front's members, and add their weights to their runs."""
        for number in summary.estimates.keys() & self._children.keys():  # without runs that were deleted by hand
            estimate = summary.estimates[number]
            figures, now_ms = {"ap_estimate": estimate.ap, "ap_std": estimate.std}, _now_ms()
            # MLflow shows the value of the highest step; by time alone, a clock set back would hide the newest.
            metrics = [Metric(name, value, now_ms, len(summary.records)) for name, value in figures.items()]
            self._client.log_batch(self._children[number].info.run_id, metrics=metrics)
        for number in {record.number for record in summary.front} & self._children.keys():
            run_id, folder = self._children[number].info.run_id, self._settings.trial_folder(number)
            there = {entry.path: entry.file_size for entry in self._client.list_artifacts(run_id)}
            for path in (folder / name for name in WEIGHTS):
                # There with another size, if a driver was killed while it copied the file.
                if path.is_file() and there.get(path.name) != path.stat().st_size:
                    self._client.log_artifact(run_id, str(path))
        self._tag_front(summary)

    def _tag_front(self, summary: Summary) -> None:
        """Tag the front's members with their rank; only what has changed is written."""
        ranks = {record.number: f"{rank:03}" for rank, record in enumerate(summary.front, start=1)}
        for number in (ranks.keys() | self._ranks.keys()) & self._children.keys():
            rank, before, run_id = ranks.get(number), self._ranks.get(number), self._children[number].info.run_id
            if rank is None:
                if before:  # first: a member is what `begin` finds again after a failure
                    self._client.delete_tag(run_id, RANK_TAG)
                self._client.set_tag(run_id, FRONT_TAG, "no")
            elif rank != before:
                self._client.log_batch(run_id, tags=[RunTag(FRONT_TAG, "yes"), RunTag(RANK_TAG, rank)])
        self._ranks = ranks

    def end(self, summary: Summary, *, status: str, files: Sequence[Path]) -> None:
        """Write the front's files onto the study's run, and end it."""
        self.update(summary)
        for path in files:
            self._client.log_artifact(self.parent_run_id, str(path))
        self._client.set_terminated(self.parent_run_id, status=status)

    def _missing_curves(self, record: TrialRecord) -> list[Metric]:
        """Return what `scored` did not write: the loss of unscored epochs, and all that a killed driver missed."""
        run_id, now_ms = self._children[record.number].info.run_id, _now_ms()
        written = {metric.step for metric in self._client.get_metric_history(run_id, "train_loss")}
        return [
            Metric(name, value, now_ms, epoch)
            for epoch, loss, ap, _ in record.result.history
            for name, value in (("train_loss", loss), ("val_ap", ap))
            if epoch not in written and value is not None
        ]

    def _find_named(self) -> Experiment | None:
        name = _experiment_name(self._settings.name)
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise StudyError(
                f"MLflow experiment {name!r} is deleted",
                hint=f"restore it, with `mlflow experiments restore --experiment-id {found.experiment_id}` for example, or "
                "choose another name (--study; --name for trainings)",
            )
        return found

    def _open_experiment(self, study_id: str) -> str:
        found = self._named or find_experiment(self._client, self._settings.name, study_id)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if users_uri() is None:
            location = (artifact_root(self._settings.root) / self._settings.name).as_uri()
        name = _experiment_name(self._settings.name)
        return str(self._client.create_experiment(name, artifact_location=location))

    def _open_parent(self, study_id: str, description: Mapping[str, str]) -> str:
        if found := self._find(_parent_query(study_id)):
            run = found[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
        else:
            note = "\n".join(f"- **{name}**: {value}" for name, value in description.items())
            tags = {KIND_TAG: _PARENT_KIND, STUDY_TAG: study_id, MLFLOW_RUN_NOTE: note[:_LONGEST_TAG]}
            run = self._client.create_run(self.experiment_id, run_name=f"study {self._settings.name}", tags=tags)
        params = [Param(name, value[:6000]) for name, value in description.items() if name not in run.data.params]
        self._client.log_batch(run.info.run_id, params=params)
        self._log_data(run.info.run_id)
        return str(run.info.run_id)

    def _log_data(self, run_id: str) -> None:
        """Name the data of a run, for MLflow's column of datasets; written again it stays one."""
        if self._data is not None:
            self._client.log_inputs(run_id, [self._data])

    def _find(self, query: str) -> list[Run]:
        """Return the runs that a query finds, the newest last."""
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id],
                query,
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found


def find_experiment(client: MlflowClient, study: str, study_id: str) -> Experiment | None:
    """Return the experiment of a study: of its name, or the one with its run, which was renamed; None without one.

    Args:
        client: Of the store.
        study: The study's name.
        study_id: Its own id.
    """
    found = client.get_experiment_by_name(_experiment_name(study))
    if found is not None or os.environ.get("MLFLOW_EXPERIMENT_NAME"):  # a name of the user's is meant as it stands
        return found
    everywhere = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(everywhere, _parent_query(study_id), max_results=1)
    return client.get_experiment(runs[0].info.experiment_id) if runs else None


def find_trial_run(client: MlflowClient, study: str, study_id: str, number: int) -> Run | None:
    """Return the run of a study's trial; None where MLflow has none.

    Args:
        client: Of the store.
        study: The study's name.
        study_id: Its own id.
        number: The trial's.
    """
    parent = _find_parent_run(client, study, study_id)
    if parent is None:
        return None
    query = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}' and tags.`{TRIAL_TAG}` = '{number}'"
    return next(iter(client.search_runs([parent.info.experiment_id], query, max_results=1)), None)


def log_report(root: Path, study: str, study_id: str, path: Path) -> bool:
    """Attach a file to a study's run in MLflow.

    Returns:
        False where the study has no run.

    Raises:
        StudyError, StorageError: the store cannot be used.
    """
    with naming_the_store(root):
        client = open_client(root)
        parent = _find_parent_run(client, study, study_id)
        if parent is None:
            return False
        client.log_artifact(parent.info.run_id, str(path))
        return True


def _find_parent_run(client: MlflowClient, study: str, study_id: str) -> Run | None:
    """Return the run of a study itself; None where MLflow has none."""
    experiment = find_experiment(client, study, study_id)
    if experiment is None:
        return None
    found = client.search_runs([experiment.experiment_id], _parent_query(study_id), max_results=1)
    return found[0] if found else None


def _dataset_input(source: str, fingerprint: str) -> DatasetInput | None:
    """Return MLflow's form of a dataset; None without a fingerprint."""
    if not fingerprint:
        return None
    name = Path(source).name or source
    return DatasetInput(Dataset(name[:500], fingerprint[:36], "local", json.dumps({"uri": source})))


def _is_running(run: Run) -> bool:
    return bool(run.info.status == RunStatus.to_string(RunStatus.RUNNING))


def _experiment_name(study: str) -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or study


def _parent_query(study_id: str) -> str:
    return f"tags.`{KIND_TAG}` = '{_PARENT_KIND}' and tags.`{STUDY_TAG}` = '{study_id}'"


def _now_ms() -> int:
    return int(time.time() * 1000)


def _tags(record: TrialRecord) -> list[RunTag]:
    result, latency = record.result, record.result.latency
    values = {
        STATE_TAG: result.state,
        REASON_TAG: result.reason,
        WHY_TAG: record.why,
        FRONT_TAG: "no" if result.state == "complete" else "",  # until it is seen to be a member
        "yoloret.preset": record.label,
        "yoloret.training_precision": result.precision,
        "yoloret.trained_on": result.trained_on,
        "yoloret.notes": "; ".join(result.notes),
    }
    if latency is not None:
        values["yoloret.device"] = str(latency.device)
        values["yoloret.latency_notes"] = "; ".join(latency.notes)
        values["yoloret.engine"] = latency.engine
    return [RunTag(name, value) for name, value in values.items() if value]


def _figures(record: TrialRecord) -> dict[str, float]:
    result, latency = record.result, record.result.latency
    figures: dict[str, Any] = {
        "macs_m": result.macs / 1e6 if result.macs is not None else None,
        "params_m": result.params / 1e6 if result.params is not None else None,
        "inherited": result.inherited or None,
    }
    if result.state == "complete":
        figures |= {"ap": result.ap, "ap50": result.ap50}
    if latency is not None:
        figures |= {
            "latency_ms": latency.median_ms,
            "latency_p99_ms": latency.p99_ms,
            "latency_spread": latency.spread,
            "latency_reference_ms": latency.reference_ms,
            "latency_slowdown": latency.slowdown if latency.is_reference_in_turn else None,
            "throughput_per_s": latency.throughput_per_s,
            "build_seconds": latency.build_s,
            **{f"before_{name}": value for name, value in latency.before.items()},
            **{f"after_{name}": value for name, value in latency.after.items()},
        }
    for device, other in result.also.items():
        figures[f"latency_ms_{re.sub(r'[^A-Za-z0-9]+', '_', device).strip('_')}"] = other.median_ms
    return {name: float(value) for name, value in figures.items() if value is not None}
