"""A whole search on a stand-in board behind a real sshd, a fifth of whose sessions fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.read_study import read_study
from tests.trials.board.loopback import LoopbackBoard


@pytest.mark.slow
def test_twenty_trials_finish_though_a_fifth_of_the_calls_fail(board: LoopbackBoard, tmp_path: Path) -> None:
    board.fail(failing=0.2)
    command = [sys.executable, "-m", "yoloret_nas", "search", "--device", "ssh://board", "--space", "tiny"]
    command += ["--data", "shapes:train=16,val=8,size=64", "--epochs", "1", "--budget", "20"]
    command += ["--study", "far", "--dir", str(tmp_path / "runs")]
    ended = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    records = read_study(tmp_path / "runs", "far").summary.records
    assert len({record.architecture.key for record in records}) == 20
    assert {record.result.state for record in records} <= {"complete", "pruned"}
    board.wait_until_quiet()
    kept = {Path(name).name.rpartition(".")[2] for name in board.files()}
    assert kept <= {"engine", "cache", "reference", "timed"}
