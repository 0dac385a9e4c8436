"""A few kills at fixed moments; `benchmarks/stress/kill_campaign.py` makes hundreds at random ones."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.stress.kill_campaign import QUICK_DATA, Start, count_results, fill_cache
from benchmarks.stress.study_check import violations

SPACE = """\
name: four
description: For tests.
backbones:
  mobilenetv3_small_050: {truncation: [9, 10], transfer: [0]}
scale_set: [none]
shortcut: [none]
rfcr_width: [16]
rfcr_channels: [32]
rfcr_kernel: [3]
head: [plain]
head_width: [16, 24]
input_size: [64]
"""
BUDGET = 3
PATIENCE_S = 300.0
Happened = TypeVar("Happened")


def wait_until(happened: Callable[[], Happened]) -> Happened:
    until = time.monotonic() + PATIENCE_S
    while not (what := happened()):
        assert time.monotonic() < until, "it did not come so far"
        time.sleep(0.01)
    return what


def test_a_program_that_the_server_runs_while_it_imports_is_no_trial(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = "'forkserver'; import os, subprocess, time; subprocess.Popen(['sleep', '600']); os.fork(); time.sleep(600)"
    driver = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {server!r}])"]
    (tmp_path / "temporary").mkdir()
    search = Start(driver, tmp_path, mark=tmp_path.name, environment={}, folder=tmp_path)
    request.addfinalizer(search.kill_group)
    program = wait_until(lambda: [one for one in search.processes() if one.command.startswith("sleep")])
    (forked,) = wait_until(search.trials)
    assert forked.parent == program[0].parent
    assert forked not in program


def test_a_search_whose_processes_are_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    root = tmp_path / "runs"
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "temporary").mkdir()
    fill_cache(tmp_path / "space.yaml", root / "latency.db")
    command = [sys.executable, "-m", "yoloret_nas", "search", "--study", "few", "--dir", str(root), "--epochs", "1"]
    command += ["--space", str(tmp_path / "space.yaml"), "--data", QUICK_DATA, "--budget", str(BUDGET), "--refit", "0"]
    command += ["--workers", "1", "--sampler", "random"]

    def start() -> Start:
        mark = f"{os.getpid()}-{time.monotonic()}"
        started = Start(command, tmp_path, mark=mark, environment={}, folder=root / "few/trials")
        request.addfinalizer(lambda: started.driver.poll() is None and started.kill_group())  # where the test fails
        return started

    search = start()
    (lost,) = wait_until(search.trials)
    wait_until(search.kill_trial)  # what was seen may have been a program that the server is about to run
    wait_until(lambda: search.trials() not in ([], [lost]))
    assert search.kill_fork_server()
    wait_until(lambda: count_results(root / "few/trials"))
    wait_until(search.trials)
    assert search.kill_driver()
    wait_until(lambda: not search.processes())
    code, said = start().finish()
    assert code == 0, said
    assert violations(root, "few", budget=BUDGET) == []
    assert list((tmp_path / "temporary").iterdir()) == []
