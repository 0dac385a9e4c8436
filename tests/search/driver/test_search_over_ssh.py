"""Whole searches on a stand-in board behind a real sshd, with everything going wrong that can."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from search.front.record import TrialRecord
from search.study.read_study import read_study
from tests.trials.latency.board.loopback import LoopbackBoard

CACHES = {"engine", "cache", "reference", "timed"}
FINISHED = {"complete", "pruned"}


def start_search(root: Path, *, budget: int, device: str = "ssh://board") -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "yoloret_nas", "search", "--device", device, "--space", "tiny"]
    command += ["--data", "shapes:train=16,val=8,size=64", "--epochs", "1", "--budget", str(budget)]
    command += ["--study", "far", "--dir", str(root)]
    return subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(search: "subprocess.Popen[str]", *, status: int = 0) -> str:
    output, errors = search.communicate(timeout=900)
    assert search.returncode == status, errors[-2000:]
    return output + errors


def read_records(root: Path, *, budget: int) -> tuple[TrialRecord, ...]:
    """Read the trials, which must be as many as the budget says and of as many architectures, each failure with a reason."""
    records = read_study(root, "far").summary.records
    assert len(records) == len({record.architecture.key for record in records}) == budget
    assert all(record.result.reason for record in records if record.result.state == "failed")
    assert all(record.result.latency for record in records if record.result.state != "failed")
    return records


def check_board(board: LoopbackBoard) -> None:
    """Nothing runs there any more, and only the caches are left."""
    assert board.wait_until_quiet() == []
    assert {Path(name).name.rpartition(".")[2] for name in board.files()} <= CACHES


def wait_for_trials(root: Path, count: int) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if len(list(root.glob("far/trials/*/result.json"))) >= count:
            return
        time.sleep(0.2)
    raise TimeoutError(f"no {count} trials in {root}")


@pytest.mark.slow
def test_twenty_trials_finish_though_a_fifth_of_the_calls_fail(board: LoopbackBoard, tmp_path: Path) -> None:
    board.fail(failing=0.2)
    finish(start_search(tmp_path / "runs", budget=20))
    assert {record.result.state for record in read_records(tmp_path / "runs", budget=20)} <= FINISHED
    check_board(board)


@pytest.mark.slow
def test_each_fault_ends_at_most_its_own_trial(board: LoopbackBoard, tmp_path: Path) -> None:
    """The connection is cut in a build, the disk is full, a build hangs, the kernel kills one, garbage comes back."""
    faults = ["cut", "disk_full", "hang", "killed", "oom", "garbage", "truncated", "operator"]
    board.fail(build=["", "", *(one for fault in faults for one in (fault, ""))], time=["", "", "cut", "", "garbage"])
    finish(start_search(tmp_path / "runs", budget=14, device="ssh://board?build_limit_s=15&run_limit_s=60"))
    records = read_records(tmp_path / "runs", budget=14)
    states = Counter(record.result.state for record in records)
    assert states["failed"] <= len(faults)
    assert states["complete"] + states["pruned"] >= 14 - len(faults)
    left = json.loads((board.folder / "faults.json").read_text())
    assert (left["build"], left["time"]) == ([], [])  # every one of them struck
    check_board(board)


@pytest.mark.slow
def test_a_board_that_is_away_for_a_minute_is_waited_for(board: LoopbackBoard, tmp_path: Path) -> None:
    search = start_search(tmp_path / "runs", budget=6)
    wait_for_trials(tmp_path / "runs", 2)
    board.stop()
    time.sleep(60)
    board.start()
    finish(search)
    assert {record.result.state for record in read_records(tmp_path / "runs", budget=6)} <= FINISHED
    check_board(board)


@pytest.mark.slow
def test_a_board_away_for_longer_than_a_trial_waits_costs_no_budget(board: LoopbackBoard, tmp_path: Path) -> None:
    search = start_search(tmp_path / "runs", budget=5, device="ssh://board?patience_s=4")
    wait_for_trials(tmp_path / "runs", 1)
    board.stop()
    time.sleep(15)
    board.start()
    said = finish(search)
    assert "waits for its device and will be tried again" in said
    assert {record.result.state for record in read_records(tmp_path / "runs", budget=5)} <= FINISHED


@pytest.mark.slow
def test_a_board_that_never_comes_back_ends_the_search_which_goes_on_later(
    board: LoopbackBoard, tmp_path: Path
) -> None:
    device = "ssh://board?patience_s=1"
    search = start_search(tmp_path / "runs", budget=5, device=device)
    wait_for_trials(tmp_path / "runs", 1)
    board.stop()
    said = finish(search, status=1)
    assert "of 5 trials are finished, none was lost" in said
    assert "run the same command again" in said
    board.start()
    finish(start_search(tmp_path / "runs", budget=5, device=device))
    assert {record.result.state for record in read_records(tmp_path / "runs", budget=5)} <= FINISHED
