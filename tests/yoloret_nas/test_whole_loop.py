"""The command as a user runs it, in processes of its own: interrupted, killed, resumed, exported, tried on an image."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState
from PIL import Image

from search.study.kept_weights import WEIGHTS
from search.study.read_study import read_study
from search.study.study import open_storage
from search.tracking.runs import STATE_TAG, TRIAL_TAG
from spaces.counted import counted
from tests.yoloret_nas.conftest import SHAPES, SPACE_YAML, Call
from trials.trial_result import RESULT_FILE, read_result

HOME = Path(__file__).parents[2]
PATIENCE_S = 240.0
BUDGET = 3
SEARCH = (
    *("search", "--budget", str(BUDGET), "--data", SHAPES, "--space", "handful.yaml", "--study", "loop"),
    *("--epochs", "4", "--max-latency", "999ms", "--workers", "1"),
)


class Command:
    """`yoloret-nas` in a session of its own, its output piped; as in a terminal, signals go to the whole session."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "yoloret_nas", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, happened: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not happened():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until, "it did not come so far"
            time.sleep(0.02)

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def wait_until_nothing_is_left(self) -> None:
        until = time.monotonic() + 10.0
        while self.processes():
            assert time.monotonic() < until, f"still there after 10 s: {self.processes()}"
            time.sleep(0.05)

    def processes(self) -> list[int]:
        """Give what runs in its session; a process that is over and only not waited for does not."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(int(entry.name))
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts commands in the test's folder, and leaves none behind."""
    (tmp_path / "handful.yaml").write_text(SPACE_YAML, encoding="utf-8")
    commands = []

    def run(*arguments: str) -> Command:
        commands.append(Command(tmp_path, *arguments))
        return commands[-1]

    yield run
    for command in commands:
        for pid in command.processes():
            os.kill(pid, signal.SIGKILL)
        command.process.communicate()


def check_stores(root: Path) -> None:
    """Hold Optuna and MLflow to exactly the budget: as many trials finished, none twice, none left running."""
    trials = optuna.load_study(study_name="loop", storage=open_storage(root)).get_trials()
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    finished = [trial for trial in trials if "result" in trial.user_attrs]
    keys = [trial.user_attrs["architecture"] for trial in finished]
    assert len(finished) == len({str(sorted(key.items())) for key in keys}) == BUDGET

    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("loop")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if TRIAL_TAG not in run.data.tags]
    children = [run for run in runs if TRIAL_TAG in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    states = Counter(run.data.tags[STATE_TAG] for run in children)
    assert states["complete"] == BUDGET
    assert len(children) == BUDGET  # one run a trial: those of interrupted ones are deleted
    complete = [run for run in children if run.data.tags[STATE_TAG] == "complete"]
    assert {int(run.data.tags[TRIAL_TAG]) for run in complete} == {trial.number for trial in finished}
    assert len({run.data.params["architecture"] for run in complete}) == BUDGET
    assert {run.info.status for run in complete} == {"FINISHED"}
    front = {record.number for record in read_study(root, "loop").summary.front}
    for run in complete:
        number = int(run.data.tags[TRIAL_TAG])
        assert {"ap", "ap50", "latency_ms", "latency_p99_ms", "macs_m", "params_m"} <= set(run.data.metrics)
        artifacts = {entry.path for entry in client.list_artifacts(run.info.run_id)}
        assert "result.json" in artifacts
        # The weights of the front's members stay, and only theirs.
        kept = {path.name for path in (root / "loop" / "trials" / f"{number:04d}").iterdir()}
        for name in WEIGHTS:
            assert (name in artifacts) == (name in kept) == (number in front)
    artifacts = {entry.path for entry in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"front.png", "front.csv", "front.html", "trials.csv"}


def test_a_search_that_is_killed_resumed_exported_and_tried(
    start: Callable[..., Command], call: Call, tmp_path: Path
) -> None:
    trials = tmp_path / "runs" / "loop" / "trials"

    # Killed in the midst of its second trial: nothing of it is left running.
    killed = start(*SEARCH)
    killed.wait_until((trials / "0001" / "model.onnx").is_file)
    assert not (trials / "0001" / RESULT_FILE).exists()
    assert len(killed.processes()) >= 2
    killed.process.kill()
    killed.process.wait()
    killed.wait_until_nothing_is_left()

    # The same command goes on to exactly the budget.
    code, out, err = start(*SEARCH).finish()
    assert code == 0, err
    assert "resuming the study: 1 trial is finished" in out
    assert len(re.findall(r"^ *\d+ +complete ", out, flags=re.MULTILINE)) == BUDGET
    assert not {"\x1b", "\r", "\b"} & set(out + err)
    check_stores(tmp_path / "runs")
    study = read_study(tmp_path / "runs", "loop")
    summary = study.summary
    for record in summary.records:
        result = read_result(trials / f"{record.number:04d}", study_id=study.id, architecture=record.architecture)
        assert result is not None
        assert (result.state, result.ap) == ("complete", record.result.ap)

    # Two processes less: these two commands have nothing that runs beside them.
    called = call("export", "--study", "loop", "--best", "--dir", tmp_path / "runs", "--out", "best")
    assert called.code == 0, called.said
    assert f"trial {summary.front[-1].number}:" in called.out
    Image.effect_noise((100, 70), 80).convert("RGB").save("image.jpg")
    called = call("predict", "best", "image.jpg")
    assert called.code == 0, called.said
    with Image.open("predictions/image.png") as picture:
        assert picture.size == (100, 70)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_search_ends_cleanly_and_says_how_to_go_on(
    start: Callable[..., Command], tmp_path: Path, times: int
) -> None:
    trials = tmp_path / "runs" / "loop" / "trials"
    interrupted = start(*SEARCH)
    interrupted.wait_until((trials / "0001" / "model.onnx").is_file)
    for _ in range(times):
        os.killpg(interrupted.process.pid, signal.SIGINT)
        time.sleep(0.1)  # two signals at once are one
    code, out, err = interrupted.finish()
    assert code == 130, err
    assert "ending after the running trial; Ctrl-C again ends now" in err
    assert "Traceback" not in err
    done = 2 if times == 1 else 1
    assert f"{done} of {BUDGET} trials are finished; the same command resumes loop" in out
    interrupted.wait_until_nothing_is_left()

    code, out, err = start(*SEARCH).finish()
    assert code == 0, err
    assert f"resuming the study: {counted(done, 'trial(s) is|are')} finished" in out
    check_stores(tmp_path / "runs")
