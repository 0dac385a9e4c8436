"""What stands in MLflow, on a real store in SQLite."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from search.driver.search import run_search
from search.front.estimate import Estimate
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.write_front import write_reports
from search.study.errors import StudyError
from search.study.experiment import ExperimentSettings
from search.study.settings import RunSettings
from search.tracking.runs import (
    FRONT_TAG,
    KIND_TAG,
    RANK_TAG,
    REASON_TAG,
    STATE_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    StudyRuns,
    find_trial_run,
    log_report,
)
from search.tracking.store import tracking_uri
from tests.search.conftest import DATASET, MakeSettings
from tests.search.driver.scripted import DriverKilledError, RecordingView, ScriptedExecutor, StandInDevice, kill_driver
from tests.search.records import record, summary
from trials.progress import Progress
from trials.training import CHECKPOINT_FILE, TrainSettings
from trials.trial_result import ARCHITECTURE_FILE, DETECTIONS_FILE, ONNX_FILE, RESULT_FILE

PARENT = "mlflow.parentRunId"
HISTORY = ((1, 2.0, None, None), (2, 1.0, 0.3, 0.5), (3, 0.9, None, None), (4, 0.8, 0.4, 0.6))


def open_runs(settings: RunSettings, *, study_id: str = "one") -> StudyRuns:
    opened = StudyRuns(settings)
    opened.begin(study_id, {"space": "some", "dataset": "shapes", "fingerprint": "f00d"})
    return opened


def end(opened: StudyRuns, whole: Summary, *, status: str, files: Sequence[Path] = ()) -> None:
    opened.mark_front(whole)
    opened.end(whole, status=status, files=files)


def client(settings: RunSettings) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri(settings.root))


def runs(settings: RunSettings, experiment: str = "study", *, study_id: str = "one") -> tuple[Run, dict[int, Run]]:
    """Give the study's run and those of its trials, the newest of each number."""
    found = client(settings).get_experiment_by_name(experiment)
    assert found is not None
    everything = client(settings).search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])
    studies = [run for run in everything if run.data.tags.get(KIND_TAG) == "study"]
    (parent,) = [run for run in studies if len(studies) == 1 or run.data.tags[STUDY_TAG] == study_id]
    children = [run for run in everything if run.data.tags.get(PARENT) == parent.info.run_id]
    assert len({run.data.tags[TRIAL_TAG] for run in children}) == len(children)
    return parent, {int(run.data.tags[TRIAL_TAG]): run for run in children}


def curve(settings: RunSettings, run: Run, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(settings).get_metric_history(run.info.run_id, name)]


def artifacts(settings: RunSettings, run: Run) -> set[str]:
    return {entry.path for entry in client(settings).list_artifacts(run.info.run_id)}


def leave_files(settings: RunSettings, number: int) -> None:
    folder = settings.trial_folder(number)
    folder.mkdir(parents=True)
    for name in (ARCHITECTURE_FILE, RESULT_FILE, ONNX_FILE, CHECKPOINT_FILE, DETECTIONS_FILE):
        (folder / name).write_text("{}")


def test_a_trial_has_its_axes_its_curves_its_objectives_and_its_files(settings: MakeSettings) -> None:
    chosen = settings()
    tracking, trial = open_runs(chosen), record(0, 0.4, 20.0, history=HISTORY, precision="bf16", trained_on="GPU 1")
    leave_files(chosen, 0)
    tracking.started(0, trial.architecture)
    assert runs(chosen)[1][0].data.tags[STATE_TAG] == "running"
    for epoch, loss, ap, _ in HISTORY:
        if ap is not None:
            tracking.scored(0, Progress(phase="train", epoch=epoch, loss=loss, ap=ap))
    tracking.finished(trial, seconds=12.5)

    run = runs(chosen)[1][0]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"#0 {trial.architecture.short}"
    axes = {name: str(value) for name, value in trial.architecture.to_dict().items()}
    assert run.data.params == {**axes, "architecture": trial.architecture.key}
    assert {name: run.data.metrics[name] for name in ("ap", "ap50", "latency_ms", "seconds")} == {
        "ap": 0.4,
        "ap50": 0.4,
        "latency_ms": 20.0,
        "seconds": 12.5,
    }
    assert run.data.metrics["macs_m"] == 3.0
    assert run.data.metrics["latency_p99_ms"] > 20.0
    assert run.data.tags[STATE_TAG] == "complete"
    assert run.data.tags["yoloret.device"] == "stand-in · none · fp32, threads 1"
    assert run.data.tags["yoloret.training_precision"] == "bf16"
    assert run.data.tags["yoloret.trained_on"] == "GPU 1"
    assert artifacts(chosen, run) == {ARCHITECTURE_FILE, RESULT_FILE, DETECTIONS_FILE}
    assert curve(chosen, run, "train_loss") == [(2, 1.0), (4, 0.8), (1, 2.0), (3, 0.9)]  # the scored ones came first
    assert curve(chosen, run, "val_ap") == [(2, 0.3), (4, 0.4)]


def test_what_a_board_tells_beside_the_figure_stands_there_too(settings: MakeSettings) -> None:
    chosen = settings()
    trial = record(0, 0.4, 20.0)
    assert trial.result.latency is not None
    told = replace(
        trial.result.latency,
        engine="e1",
        build_s=90.0,
        throughput_per_s=49.0,
        reference_ms=1.5,
        is_reference_in_turn=True,
        slowdown=1.25,
        before={"gpu_mhz": 921.6},
        after={"gpu_mhz": 920.0},
        notes=("measured again",),
    )
    tracking = open_runs(chosen)
    tracking.finished(replace(trial, result=replace(trial.result, latency=told)), seconds=1.0)
    run = runs(chosen)[1][0]
    wanted = {
        "build_seconds": 90.0,
        "throughput_per_s": 49.0,
        "latency_reference_ms": 1.5,
        "latency_slowdown": 1.25,
        "before_gpu_mhz": 921.6,
        "after_gpu_mhz": 920.0,
    }
    assert {name: run.data.metrics[name] for name in wanted} == wanted
    assert (run.data.tags["yoloret.engine"], run.data.tags["yoloret.latency_notes"]) == ("e1", "measured again")


def test_two_studies_of_one_name_in_one_store_have_runs_of_their_own(settings: MakeSettings) -> None:
    mine, yours = open_runs(settings()), open_runs(settings(), study_id="two")
    assert mine.experiment_id == yours.experiment_id
    assert mine.parent_run_id != yours.parent_run_id
    assert open_runs(settings()).parent_run_id == mine.parent_run_id


@pytest.mark.parametrize(
    ("trial", "status", "without"),
    [
        (record(0, None, 90.0, state="infeasible", reason="over the limit"), "FINISHED", {"ap", "ap50"}),
        (record(0, 0.1, 30.0, state="pruned", reason="hopeless"), "FINISHED", {"ap", "ap50"}),
        (record(0, None, None, state="failed", reason="out of memory"), "FAILED", {"ap", "ap50", "latency_ms"}),
    ],
    ids=["infeasible", "pruned", "failed"],
)
def test_other_ends_have_a_reason_and_no_objective(
    settings: MakeSettings, trial: TrialRecord, status: str, without: set[str]
) -> None:
    chosen = settings()
    leave_files(chosen, 0)
    (chosen.trial_folder(0) / "traceback.txt").write_text("Traceback …")
    tracking = open_runs(chosen)
    tracking.started(0, trial.architecture)
    tracking.finished(trial, seconds=1.0)
    run = runs(chosen)[1][0]
    assert run.info.status == status
    assert (run.data.tags[STATE_TAG], run.data.tags[REASON_TAG]) == (trial.result.state, trial.result.reason)
    assert not without & set(run.data.metrics)
    assert artifacts(chosen, run) == {ARCHITECTURE_FILE, RESULT_FILE, "traceback.txt"}  # and no ONNX of no use


def test_the_study_s_run_has_the_front_and_the_hypervolume_and_members_their_weights(
    settings: MakeSettings,
) -> None:
    chosen = settings()
    chosen.folder.mkdir()
    tracking = open_runs(chosen)
    first, second, third = record(0, 0.2, 30.0), record(1, 0.3, 50.0), record(2, 0.4, 20.0)
    for count, trial in enumerate((first, second), start=1):
        leave_files(chosen, trial.number)
        tracking.finished(trial, seconds=1.0)
        tracking.update(summary(*(first, second)[:count]))
    end(tracking, summary(first, second), status="KILLED")
    parent, children = runs(chosen)
    assert parent.info.status == "KILLED"
    assert {number: run.data.tags[FRONT_TAG] for number, run in children.items()} == {0: "yes", 1: "yes"}

    again = open_runs(chosen)
    assert runs(chosen)[0].info.status == "RUNNING"
    leave_files(chosen, 2)
    again.finished(third, seconds=1.0)
    whole = summary(first, second, third)
    again.update(whole)
    end(again, whole, status="FINISHED", files=write_reports(whole, chosen.folder, title="a study"))

    parent, children = runs(chosen)
    assert again.parent_run_id == tracking.parent_run_id == parent.info.run_id
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"space": "some", "dataset": "shapes", "fingerprint": "f00d"}
    for run in (parent, *children.values()):
        (data,) = [one.dataset for one in run.inputs.dataset_inputs]
        assert (data.name, data.digest) == (DATASET, "f00d")
    assert artifacts(chosen, parent) == {"front.png", "front.csv", "front.html", "trials.csv"}
    assert {step for step, _ in curve(chosen, parent, "hypervolume")} == {1, 2, 3}
    assert curve(chosen, parent, "hypervolume")[-1][1] == whole.hypervolume
    assert parent.data.metrics["trials_complete"] == 3.0
    assert parent.data.metrics["trials_failed"] == 0.0  # also where one had failed, and was trained again
    assert {number: run.data.tags[FRONT_TAG] for number, run in children.items()} == {0: "no", 1: "no", 2: "yes"}
    assert {CHECKPOINT_FILE, ONNX_FILE} <= artifacts(chosen, children[2])


def test_the_front_s_tags_follow_it_while_the_search_runs(settings: MakeSettings) -> None:
    chosen = settings()
    tracking = open_runs(chosen)
    trials = [record(number, 0.2 + 0.01 * number, 30.0) for number in range(6)]  # each beats those before it
    seen = []
    for count, trial in enumerate(trials, start=1):
        tracking.finished(trial, seconds=1.0)
        tracking.update(summary(*trials[:count]))
        seen.append("".join(run.data.tags[FRONT_TAG][0] for _, run in sorted(runs(chosen)[1].items())))
    assert seen == ["n", "nn", "nnn", "nnnn", "nnnny", "nnnnyn"]
    end(tracking, summary(*trials), status="FINISHED")
    assert [run.data.tags[FRONT_TAG] for _, run in sorted(runs(chosen)[1].items())] == ["no"] * 5 + ["yes"]


def test_members_of_the_front_have_their_rank_and_lose_it_with_their_place(settings: MakeSettings) -> None:
    chosen = settings()
    slow, fast, faster_and_better = record(0, 0.4, 50.0), record(1, 0.3, 20.0), record(2, 0.35, 10.0)
    first = open_runs(chosen)
    for trial in (slow, fast):
        first.finished(trial, seconds=1.0)
    first.mark_front(summary(slow, fast))
    ranks = {number: run.data.tags.get(RANK_TAG) for number, run in runs(chosen)[1].items()}
    assert ranks == {0: "002", 1: "001"}
    again = open_runs(chosen)
    again.finished(faster_and_better, seconds=1.0)
    for _ in range(2):  # written again, it stays the same
        again.mark_front(summary(slow, fast, faster_and_better))
    ranks = {number: run.data.tags.get(RANK_TAG) for number, run in runs(chosen)[1].items()}
    assert ranks == {0: "002", 1: None, 2: "001"}


def test_a_tag_of_the_front_whose_answer_was_lost_is_written_again(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings()
    beaten, better = record(0, 0.3, 20.0), record(1, 0.4, 10.0)
    first = open_runs(chosen)
    first.finished(beaten, seconds=1.0)
    first.mark_front(summary(beaten))
    first.finished(better, seconds=1.0)

    def lose_answer(self: MlflowClient, run_id: str, key: str) -> None:
        delete(self, run_id, key)
        raise ConnectionError("reset by peer")

    delete = MlflowClient.delete_tag
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_tag", lose_answer)
        with pytest.raises(ConnectionError, match="reset"):
            first.mark_front(summary(beaten, better))
    open_runs(chosen).mark_front(summary(beaten, better))
    tags = {number: run.data.tags for number, run in runs(chosen)[1].items()}
    assert {number: one[FRONT_TAG] for number, one in tags.items()} == {0: "no", 1: "yes"}
    assert {number: one.get(RANK_TAG) for number, one in tags.items()} == {0: None, 1: "001"}


def test_only_a_complete_trial_can_be_on_the_front_or_not(settings: MakeSettings) -> None:
    chosen = settings()
    tracking = open_runs(chosen)
    tracking.finished(record(0, 0.2, 30.0, state="pruned"), seconds=1.0)
    tracking.finished(record(1, None, None, state="failed"), seconds=1.0)
    assert all(FRONT_TAG not in run.data.tags for run in runs(chosen)[1].values())


def test_estimates_are_written_when_the_run_ends(settings: MakeSettings) -> None:
    chosen = settings()
    chosen.folder.mkdir()
    tracking = open_runs(chosen)
    trials = record(0, 0.2, 30.0), record(1, 0.3, 50.0), record(2, None, 60.0, state="infeasible")
    for trial in trials:
        tracking.finished(trial, seconds=1.0)
    estimates = {0: Estimate(ap=0.19, std=0.01), 1: Estimate(ap=0.26, std=0.02)}
    end(tracking, replace(summary(*trials), estimates=estimates), status="FINISHED")
    _, children = runs(chosen)
    metrics = {number: run.data.metrics for number, run in children.items()}
    assert [metrics[1][name] for name in ("ap", "ap_estimate", "ap_std")] == [0.3, 0.26, 0.02]
    assert "ap_estimate" not in metrics[2]


def test_the_note_of_a_study_with_many_classes_fits_into_a_database(settings: MakeSettings) -> None:
    opened = StudyRuns(settings())
    opened.begin("one", {"space": "some", "classes": ", ".join(f"class {number}" for number in range(1000))})
    note = runs(settings())[0].data.tags["mlflow.note.content"]
    assert note.startswith("- **space**: some\n- **classes**: class 0, class 1")
    assert len(note) == 8000  # PostgreSQL refuses more


def test_a_run_deleted_by_hand_leaves_the_others_their_marks(settings: MakeSettings) -> None:
    chosen = settings()
    chosen.folder.mkdir()
    tracking = open_runs(chosen)
    trials = record(0, 0.2, 30.0), record(1, 0.3, 50.0)
    for trial in trials:
        tracking.finished(trial, seconds=1.0)
    client(chosen).delete_run(runs(chosen)[1][0].info.run_id)
    estimates = {0: Estimate(ap=0.19, std=0.01), 1: Estimate(ap=0.26, std=0.02)}
    end(open_runs(chosen), replace(summary(*trials), estimates=estimates), status="FINISHED")
    parent, children = runs(chosen)
    assert parent.info.status == "FINISHED"
    assert children[1].data.metrics["ap_estimate"] == 0.26
    assert children[1].data.tags[RANK_TAG] == "002"


def test_the_newest_estimate_is_shown_though_the_clock_was_set_back(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings()
    chosen.folder.mkdir()
    tracking = open_runs(chosen)
    trials = record(0, 0.2, 30.0), record(1, 0.3, 50.0), record(2, 0.4, 60.0)
    now_s = time.time()
    for count, estimate in ((2, 0.26), (3, 0.22)):
        tracking.finished(trials[count - 1], seconds=1.0)
        monkeypatch.setattr(time, "time", lambda hours=count: now_s - 3600 * hours)
        tracking.finished(trials[0], seconds=1.0)
        tracking.mark_front(replace(summary(*trials[:count]), estimates={0: Estimate(ap=estimate, std=0.01)}))
    assert runs(chosen)[1][0].data.metrics["ap_estimate"] == 0.22


@pytest.mark.parametrize("tags", [{}, {TRIAL_TAG: "mine"}])
def test_a_run_that_the_user_nests_under_the_study_s_is_left_alone(
    settings: MakeSettings, tags: dict[str, str]
) -> None:
    chosen, trial = settings(), record(0, 0.4, 20.0)
    begun = open_runs(chosen)
    begun.finished(trial, seconds=5.0)
    nested = client(chosen).create_run(begun.experiment_id, tags={PARENT: begun.parent_run_id, **tags})
    client(chosen).log_metric(nested.info.run_id, "field_ap", 0.4)
    resumed = open_runs(chosen)
    resumed.catch_up(summary(trial))
    end(resumed, summary(trial), status="FINISHED")
    left = client(chosen).get_run(nested.info.run_id)
    assert (left.info.lifecycle_stage, left.data.metrics, left.data.tags.get(FRONT_TAG)) == (
        "active",
        {"field_ap": 0.4},
        None,
    )


def test_what_a_killed_driver_did_not_write_is_written_on_resume(settings: MakeSettings) -> None:
    chosen = settings()
    killed = open_runs(chosen)
    trials = [replace(record(number, 0.4, 20.0, history=HISTORY), why=f"reason {number}") for number in range(4)]
    killed.finished(trials[0], seconds=5.0)
    killed.started(1, trials[1].architecture)  # its result stands in the study, its end not here
    killed.scored(1, Progress(phase="train", epoch=2, loss=1.0, ap=0.3))
    killed.started(3, trials[3].architecture)  # it was interrupted: the study knows no result of it

    open_runs(chosen).catch_up(summary(*trials[:3]))  # number 2 is not here at all
    parent, children = runs(chosen)
    assert parent.info.status == "RUNNING"
    assert {number: run.info.status for number, run in children.items()} == dict.fromkeys(range(3), "FINISHED")
    for number in range(3):
        assert children[number].data.metrics["ap"] == 0.4
        assert children[number].data.tags["yoloret.why"] == f"reason {number}"
        assert sorted(curve(chosen, children[number], "train_loss")) == [(1, 2.0), (2, 1.0), (3, 0.9), (4, 0.8)]
        assert sorted(curve(chosen, children[number], "val_ap")) == [(2, 0.3), (4, 0.4)]
    assert children[0].data.metrics["seconds"] == 5.0

    before = {number: run.info.end_time for number, run in children.items()}
    open_runs(chosen).catch_up(summary(*trials[:3]))  # all is there: nothing is written again
    assert {number: run.info.end_time for number, run in runs(chosen)[1].items()} == before


def test_the_curves_of_the_study_that_a_killed_driver_did_not_write_are_written_on_resume(
    settings: MakeSettings,
) -> None:
    chosen, trials = settings(), [record(number, 0.2 + 0.1 * number, 30.0) for number in range(3)]
    killed, whole = open_runs(chosen), summary(*trials)
    killed.update(summary(*trials[:2]))
    for _ in range(2):
        open_runs(chosen).catch_up(whole)
    parent, _ = runs(chosen)
    assert sorted(curve(chosen, parent, "hypervolume")) == list(enumerate(whole.hypervolume_by_trial, 1))
    assert sorted(curve(chosen, parent, "trials_complete")) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_trainings_without_a_reference_point_of_their_own_have_no_hypervolume(settings: MakeSettings) -> None:
    root = settings().root
    chosen = ExperimentSettings(name="study", dataset=DATASET, device="cpu", train=TrainSettings(), root=root)
    open_runs(chosen).update(summary(record(0, 0.4, 20.0)))
    metrics = runs(chosen)[0].data.metrics
    assert metrics["front_size"] == 1.0
    assert "hypervolume" not in metrics


def test_a_training_tried_again_while_the_store_was_away_is_written_on_resume(settings: MakeSettings) -> None:
    chosen = settings()
    open_runs(chosen).finished(record(0, None, None, state="failed", reason="the loss is nan"), seconds=5.0)
    for _ in range(2):
        again = open_runs(chosen)
        again.catch_up(summary(record(0, 0.4, 20.0)))
    (experiment,) = client(chosen).search_experiments(filter_string="name = 'study'")
    found = client(chosen).search_runs([experiment.experiment_id], f"tags.`{TRIAL_TAG}` = '0'")
    (complete,) = found
    assert (complete.data.tags[STATE_TAG], complete.info.status) == ("complete", "FINISHED")
    assert complete.data.metrics["ap"] == 0.4
    assert REASON_TAG not in complete.data.tags


def test_a_search_ended_now_and_one_whose_driver_was_killed(settings: MakeSettings, device: StandInDevice) -> None:
    chosen = settings(budget=3)
    executor = ScriptedExecutor()
    run_search(
        chosen,
        executor=executor,
        view=RecordingView(),
        stop_requested=lambda: "now" if len(executor.started) > 1 else "no",
    )
    parent, children = runs(chosen)
    assert parent.info.status == "KILLED"
    assert {number: run.info.status for number, run in children.items()} == {0: "FINISHED"}

    numbers = [request.number for request in executor.started]
    killed = ScriptedExecutor(scripts={numbers[-1] + 1: kill_driver})
    with pytest.raises(DriverKilledError):
        run_search(chosen, executor=killed, view=RecordingView())
    assert runs(chosen)[1][2].info.status == "RUNNING"

    outcome = run_search(chosen, executor=ScriptedExecutor(), view=RecordingView())
    parent, children = runs(chosen)
    assert parent.info.status == "FINISHED"
    done = {number for number, run in children.items() if run.info.status == "FINISHED"}
    assert done == {trial.number for trial in outcome.summary.records}
    assert len(done) == 3
    assert {"command", "versions", "git", "seed", "fingerprint"} <= parent.data.params.keys()
    assert "torch 2." in parent.data.params["versions"]
    assert set(children) == done  # one run a trial
    keys = [children[number].data.params["architecture"] for number in done]
    assert sorted(keys) == sorted(trial.architecture.key for trial in outcome.summary.records)


def test_the_user_s_store_is_used_where_there_is_one(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings()
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    (tmp_path / "elsewhere.db").write_bytes((chosen.root / "mlflow.db").read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    tracking = open_runs(chosen)
    tracking.finished(record(0, 0.4, 20.0), seconds=1.0)
    assert MlflowClient(tracking_uri=elsewhere).get_run(tracking.parent_run_id).info.status == "RUNNING"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert client(chosen).get_experiment_by_name("study") is None


def test_studies_that_share_an_experiment_leave_each_other_alone(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "shared")
    one, other = settings(name="one"), settings(name="other")
    trial = record(0, 0.4, 20.0)
    running = open_runs(one)
    running.started(0, trial.architecture)
    second = open_runs(other, study_id="two")
    second.catch_up(summary(trial))
    end(second, summary(trial), status="FINISHED")
    parent, children = runs(one, "shared")
    assert parent.info.status == "RUNNING"
    assert children[0].info.status == "RUNNING"
    assert FRONT_TAG not in children[0].data.tags
    parent, children = runs(other, "shared", study_id="two")
    assert children[0].info.status == "FINISHED"
    assert children[0].data.tags[FRONT_TAG] == "yes"


def test_a_checkpoint_that_was_copied_halfway_is_copied_again(settings: MakeSettings) -> None:
    chosen, trial = settings(), record(0, 0.4, 20.0)
    chosen.trial_folder(0).mkdir(parents=True)
    (chosen.trial_folder(0) / CHECKPOINT_FILE).write_bytes(b"all of the weights")
    tracking = open_runs(chosen)
    tracking.finished(trial, seconds=1.0)
    run_id = runs(chosen)[1][0].info.run_id
    (chosen.root / "half" / CHECKPOINT_FILE).parent.mkdir()
    (chosen.root / "half" / CHECKPOINT_FILE).write_bytes(b"all of")
    client(chosen).log_artifact(run_id, str(chosen.root / "half" / CHECKPOINT_FILE))
    tracking.mark_front(summary(trial))
    copy = client(chosen).download_artifacts(run_id, CHECKPOINT_FILE)
    assert Path(copy).read_bytes() == b"all of the weights"


def test_a_deleted_experiment_is_named(settings: MakeSettings) -> None:
    chosen = settings()
    tracking = open_runs(chosen)
    client(chosen).delete_experiment(tracking.experiment_id)
    with pytest.raises(StudyError, match="MLflow experiment 'study' is deleted") as refused:
        open_runs(chosen)
    assert f"mlflow experiments restore --experiment-id {tracking.experiment_id}" in refused.value.hint


def test_an_experiment_that_was_restored_has_one_run_a_trial(settings: MakeSettings) -> None:
    """MLflow brings back all of its runs, those that were deleted before too."""
    chosen, trial = settings(), record(1, 0.4, 20.0)
    tracking = open_runs(chosen)
    tracking.started(0, trial.architecture)
    tracking.interrupted(0)
    tracking.finished(record(1, None, None, state="failed", reason="the loss is nan"), seconds=5.0)
    open_runs(chosen).catch_up(summary(trial))
    client(chosen).delete_experiment(tracking.experiment_id)
    client(chosen).restore_experiment(tracking.experiment_id)
    open_runs(chosen).catch_up(summary(trial))
    (run,) = runs(chosen)[1].values()
    assert run.data.tags[STATE_TAG] == "complete"


def test_a_renamed_experiment_is_found_by_its_study(settings: MakeSettings) -> None:
    chosen, trial = settings(), record(0, 0.4, 20.0)
    tracking = open_runs(chosen)
    client(chosen).rename_experiment(tracking.experiment_id, "cells, first try")
    again = open_runs(chosen)
    assert again.experiment_id == tracking.experiment_id
    again.finished(trial, seconds=1.0)
    assert set(runs(chosen, "cells, first try")[1]) == {0}
    assert find_trial_run(client(chosen), "study", "one", 0) is not None
    (chosen.root / "report.html").touch()
    assert log_report(chosen.root, "study", "one", chosen.root / "report.html")
    other = open_runs(chosen, study_id="two")  # another study of the former name has an experiment of its own
    assert other.experiment_id != tracking.experiment_id
    assert client(chosen).get_experiment(other.experiment_id).name == "study"
