"""What a driver needs before its first trial: the lock, the dataset, the device's identity."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from search.driver.driver import Driver, RunResult, StopRequest
from search.driver.executor import Executor
from search.driver.lock import driver_lock
from search.driver.view import View
from search.driver.work import Work
from search.study.settings import RunSettings
from search.tracking.runs import Tracking
from trials.data import Dataset, open_dataset
from trials.latency import DeviceIdentity
from trials.latency.open_device import open_device

_FIRST_PATIENCE_S = 15.0
"""An unreachable device is reported soon when a run begins; one that goes away later is waited for longer."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The data and the device of a run."""

    dataset: Dataset
    identity: DeviceIdentity


@contextmanager
def locked(settings: RunSettings, executor: Executor) -> Iterator[None]:
    """Hold the run's folder, and close the executor at the end.

    Raises:
        StudyError: another process drives it.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    with driver_lock(settings.folder), closing(executor):
        yield


def open_data_and_device(settings: RunSettings, view: View) -> Opened:
    """Open the dataset and reach the device; their notes go to the view.

    Raises:
        DatasetError: the data cannot be read.
        DeviceError: a device does not exist, or cannot be reached.
    """
    dataset = open_dataset(settings.dataset, on_broken="skip" if settings.skip_broken else "stop")
    for note in (*dataset.notes, *(f"left out: {line}" for line in dataset.left_out)):
        view.noticed(note)
    for spec in settings.also_measure:
        open_device(spec).close()  # refuses what names no device
    with closing(open_device(settings.device, patience_s=_FIRST_PATIENCE_S)) as device:
        return Opened(dataset=dataset, identity=device.identity())


def drive(
    work: Work, opened: Opened, executor: Executor, *, view: View, stop_requested: Callable[[], StopRequest]
) -> RunResult:
    """Run a `Work` to its end, with its runs in MLflow."""
    settings, dataset, train = work.settings, opened.dataset, work.settings.train
    tracking = Tracking(
        settings,
        study_id=work.id,
        description={
            "dataset": f"{settings.dataset}: {len(dataset.splits['train'])} train, {len(dataset.splits['val'])} val",
            "classes": ", ".join(dataset.class_names),
            "device": str(opened.identity),
            "training": f"{train.recipe}, {train.epochs} epochs, batch {train.batch_size}",
            **work.description,
        },
    )
    title = f"{settings.name} · {dataset.name} · {opened.identity.board}"
    return Driver(work, executor, view=view, tracking=tracking, title=title).run(stop_requested)
