"""What a run opens before its first trial."""

import errno
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, event

from search.driver.open_and_drive import create_stores
from search.driver.search import run_search
from search.study.database.storage import open_storage, optuna_path
from search.study.errors import StorageError
from search.study.read_study import study_names
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, Runs, ScriptedExecutor, StandInDevice
from trials.data import DatasetError
from trials.latency.cache import LatencyCacheError

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


def test_who_reads_a_folder_whose_database_is_being_created_waits_for_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YOLORET_NAS_STORAGE", raising=False)
    begun, may_end = threading.Event(), threading.Event()

    def pause(connection: Any, cursor: Any, statement: str, *others: object) -> None:
        if threading.current_thread().name.startswith("creator") and "CREATE TABLE trials" in statement:
            begun.set()
            may_end.wait(PATIENCE_S)

    event.listen(Engine, "before_cursor_execute", pause)
    try:
        with (
            ThreadPoolExecutor(1, thread_name_prefix="creator") as creator,
            ThreadPoolExecutor(1, thread_name_prefix="reader") as reader,
        ):
            created = creator.submit(open_storage, tmp_path)
            assert begun.wait(PATIENCE_S)
            names = reader.submit(study_names, tmp_path)
            wait([names], timeout=0.5)
            may_end.set()
            assert names.result(PATIENCE_S) == []
            created.result(PATIENCE_S)
    finally:
        may_end.set()
        event.remove(Engine, "before_cursor_execute", pause)


@pytest.mark.parametrize("refused", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_only_be_read_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    monkeypatch.delenv("YOLORET_NAS_STORAGE", raising=False)
    open_storage(tmp_path)
    (tmp_path / "creation.lock").unlink()
    opened = Path.open

    def refuse(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode != "r":
            raise OSError(refused, os.strerror(refused), str(path))
        return opened(path, mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert study_names(tmp_path) == []


def test_a_store_of_which_half_was_created_is_created_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow does not open a file with a part of its tables again."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("YOLORET_NAS_STORAGE", raising=False)

    def fill_disk(connection: Any, cursor: Any, statement: str, *others: object) -> None:
        if "CREATE UNIQUE INDEX unique_secret_name" in statement:
            raise sqlite3.OperationalError("database or disk is full")

    event.listen(Engine, "before_cursor_execute", fill_disk)
    try:
        with pytest.raises(StorageError, match="database or disk is full"):
            create_stores(tmp_path)
    finally:
        event.remove(Engine, "before_cursor_execute", fill_disk)
    assert not list(tmp_path.glob("*mlflow*"))
    (tmp_path / ".mlflow-killed").mkdir()
    (tmp_path / ".mlflow-killed" / "mlflow.db").touch()
    create_stores(tmp_path)
    assert [path.name for path in tmp_path.glob("*mlflow*")] == ["mlflow.db"]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (1,)


def test_a_user_s_own_file_is_created_with_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run at a time: two that migrate it together fail."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/own.db")
    create_stores(tmp_path)
    assert (tmp_path / "own.db").is_file()
    assert not (tmp_path / "mlflow.db").exists()


# --- what is no property of an architecture is found before the first trial -----------------------------------------


@pytest.fixture
def write_yolo(tmp_path: Path) -> Callable[..., Path]:
    """Writes four images for training and two for validation, as PNG, with an object each where not told otherwise."""

    def write(*, without_objects: str = "") -> Path:
        root = tmp_path / "data"
        for split, count in (("train", 4), ("val", 2)):
            (root / "images" / split).mkdir(parents=True)
            (root / "labels" / split).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "images" / split / f"{split}{number}.png")
                text = "" if split == without_objects else "0 0.5 0.5 0.4 0.4\n"
                (root / "labels" / split / f"{split}{number}.txt").write_text(text)
        (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [thing]\n")
        return root

    return write


def damage_pixels(path: Path) -> None:
    """Break a PNG inside: neither its header nor its end tells."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"IDAT")
    data[begin + 40 : begin + 400] = bytes(360)
    path.write_bytes(data)


def refused(settings: Any, error: type[Exception], match: str) -> tuple[Exception, RecordingView]:
    """Run a search that must be refused before anything of it is recorded."""
    executor, view = ScriptedExecutor(), RecordingView()
    with pytest.raises(error, match=match) as caught:
        run_search(settings, executor=executor, view=view)
    assert executor.started == view.began == []
    assert study_names(settings.root) == []
    return caught.value, view


def test_a_broken_image_ends_the_search_before_there_is_a_study(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, write_yolo: Callable[..., Path]
) -> None:
    root = write_yolo()
    path = root / "images" / "train" / "train1.png"
    whole = path.read_bytes()
    damage_pixels(path)
    error, view = refused(
        settings(dataset=str(root)), DatasetError, r"^data: images/train/train1\.png: the image cannot"
    )
    assert "--skip-broken" in str(getattr(error, "hint", ""))
    assert view.decoded == [(done, 6) for done in range(7)]
    assert tracking.status == tracking.started == []
    path.write_bytes(whole)  # repaired: the same command goes through, and only this file is decoded
    executor, view = ScriptedExecutor(), RecordingView()
    assert len(run_search(settings(dataset=str(root)), executor=executor, view=view).summary.records) == 4
    assert view.decoded == [(0, 1), (1, 1)]
    assert executor.started[0].broken_images == ()


def test_a_skipped_image_is_said_and_every_trial_leaves_it_out(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, write_yolo: Callable[..., Path]
) -> None:
    root = write_yolo()
    damage_pixels(root / "images" / "train" / "train1.png")
    executor, view = ScriptedExecutor(), RecordingView()
    run_search(settings(dataset=str(root), skip_broken=True, budget=2), executor=executor, view=view)
    assert [request.broken_images for request in executor.started] == [("images/train/train1.png",)] * 2
    assert any(notice.startswith("left out: images/train/train1.png: the image cannot") for notice in view.notices)


def test_images_in_both_splits_are_said(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, write_yolo: Callable[..., Path]
) -> None:
    root = write_yolo()  # its images of the same number are the same
    view = RecordingView()
    run_search(settings(dataset=str(root), budget=1), executor=ScriptedExecutor(), view=view)
    leakage = [notice for notice in view.notices if "leakage" in notice]
    assert len(leakage) == 1
    assert leakage[0].startswith("leakage: 2 images of val show the same picture as one of train (2 are the same file)")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_objects_is_said_once_before_anything_is_measured(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, write_yolo: Callable[..., Path], split: str
) -> None:
    root = write_yolo(without_objects=split)
    count = {"train": 4, "val": 2}[split]
    words = f"^data: its {split} split has {count} images? and no object\n"  # then the hint
    _, view = refused(settings(dataset=str(root)), DatasetError, words)
    assert view.decoded == []
    assert device.measured == []


def test_a_latency_cache_that_is_garbage_is_said_before_there_is_a_study(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings()
    chosen.latency_cache.write_bytes(b"garbage" * 1000)
    error, _ = refused(chosen, LatencyCacheError, r"latency\.db, which holds measured latencies, cannot be used")
    assert f"rm {chosen.latency_cache}" in str(getattr(error, "hint", ""))
    assert device.measured == []
