"""A few kills at fixed moments; `benchmarks/kill_campaign.py` makes hundreds at random ones."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.kill_campaign import QUICK_DATA, Start, count_results, fill_cache
from benchmarks.study_check import violations

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


def wait_until(happened: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, "it did not come so far"
        time.sleep(0.01)


def test_a_search_whose_processes_are_killed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    root = tmp_path / "runs"
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "temporary").mkdir()
    fill_cache(tmp_path / "space.yaml", root / "latency.db")
    command = [sys.executable, "-m", "yoloret_nas", "search", "--study", "few", "--dir", str(root), "--epochs", "1"]
    command += ["--space", str(tmp_path / "space.yaml"), "--data", QUICK_DATA, "--budget", str(BUDGET), "--refit", "0"]
    command += ["--workers", "1", "--sampler", "random"]

    def start() -> Start:
        return Start(
            command, tmp_path, mark=f"{os.getpid()}-{time.monotonic()}", environment={}, folder=root / "few/trials"
        )

    search = start()
    wait_until(search.trials)
    (lost,) = search.trials()
    assert search.kill_trial()
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
