"""What a run opens before its first trial."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from search.driver.opening import create_stores
from search.study.storage import optuna_path

PATIENCE_S = 120.0


def _create_at_once(root: Path, barrier: Barrier) -> None:
    barrier.wait(PATIENCE_S)
    create_stores(root)


def test_two_first_runs_of_a_folder_create_its_stores_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    context = multiprocessing.get_context("forkserver")
    barrier = context.Barrier(2)
    both = [context.Process(target=_create_at_once, args=(tmp_path, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in both] == [0, 0]
    assert optuna_path(tmp_path).is_file()
    assert (tmp_path / "mlflow.db").is_file()


def test_a_user_s_own_file_is_created_with_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run at a time: two that migrate it together fail."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/own.db")
    create_stores(tmp_path)
    assert (tmp_path / "own.db").is_file()
    assert not (tmp_path / "mlflow.db").exists()
