"""Studies in a folder of the test's own, on stores that need not be made anew for each test."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.study.database.storage import optuna_path
from search.study.settings import StudySettings
from tests.search.driver.scripted import SPACE, RecordingTracking, Runs, StandInDevice, fake_latency_ms, latency
from trials.training import TrainSettings

MakeSettings = Callable[..., StudySettings]

DATASET = "shapes:train=4,val=2,size=32"


@pytest.fixture
def root(tmp_path: Path, empty_stores: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of studies, with empty stores; no variable of the user's points elsewhere."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "runs"
    folder.mkdir()
    for path in (optuna_path(empty_stores), empty_stores / "mlflow.db"):
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture
def settings(root: Path) -> MakeSettings:
    """Makes a study's settings, each as given or a test's default."""

    def make(**changes: Any) -> StudySettings:
        values: dict[str, Any] = {
            "name": "study",
            "space": SPACE,
            "dataset": DATASET,
            "device": "cpu",
            "train": TrainSettings(epochs=2),
            "budget": 4,
            "sampler": "tpe",
            "root": root,
        }
        return StudySettings(**{**values, **changes})

    return make


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> StandInDevice:
    """The device every search of the test opens; architectures have made-up latencies, the reference is 100 ms."""
    found = StandInDevice()
    monkeypatch.setattr("search.driver.devices.open_device", lambda spec, **options: found)
    monkeypatch.setattr("search.driver.preparation.reference_latency.slowest_latency_ms", lambda *args, **kwargs: 100.0)
    monkeypatch.setattr(
        "search.driver.devices.measure_architecture",
        lambda architecture, *args, **kwargs: (latency(fake_latency_ms(architecture)), False),
    )
    return found


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """What the searches of the test write to MLflow, replaced by a stand-in; with the picture, it costs the most."""
    runs = Runs()
    monkeypatch.setattr("search.reports.write_front.draw_front", lambda summary, path, *, title: path.touch())
    monkeypatch.setattr("search.driver.open_and_drive.Tracking", lambda settings, **_: RecordingTracking(runs))
    return runs
