"""A run from its settings to its end: the lock, the dataset, the device's identity, then the driver."""

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from search.credentials import without_credentials
from search.driver.devices import Devices
from search.driver.driver import Driver, RunResult
from search.driver.executor import Executor
from search.driver.interruption import StopRequest
from search.driver.view import View
from search.driver.work import Work
from search.study.database.storage import named_storage_errors, open_storage
from search.study.lock import creation_lock, driver_lock
from search.study.settings import RunSettings
from search.tracking.git_state import describe_git
from search.tracking.package_versions import describe_versions
from search.tracking.store import create_store
from search.tracking.tracking import Tracking
from spaces.counted import counted
from trials.data import Dataset, DatasetError, open_dataset
from trials.data.copies import describe_copies, find_copies
from trials.data.image_check import check_images
from trials.data.trainable import why_untrainable
from trials.latency import DeviceIdentity
from trials.latency.cache import LatencyCache

AnyWork = TypeVar("AnyWork", bound=Work)

_PACKAGES = ("yoloret-nas", "torch", "lightning", "timm", "optuna", "onnxruntime", "mlflow")
"""Whose versions are recorded."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The data and the device of a run."""

    dataset: Dataset
    identity: DeviceIdentity
    broken_images: tuple[str, ...] = ()
    """Samples that are left out of `dataset`, since they do not decode; its trials leave them out, too."""


def open_and_drive(
    settings: RunSettings,
    make_work: Callable[[Opened], AnyWork],
    executor: Executor,
    *,
    devices: Devices,
    view: View,
    stop_requested: Callable[[], StopRequest],
    refuse: Callable[[Opened], None] = lambda opened: None,
) -> tuple[RunResult, AnyWork]:
    """Run a `Work` to its end, with its runs in MLflow, the only driver of its folder; close the executor.

    Args:
        settings: The run's.
        make_work: Makes the work from its data and device.
        executor: Where trials run.
        devices: Where latency is measured.
        view: Shows how the run goes.
        stop_requested: Called often: whether the user wants to end.
        refuse: Raises before anything of the run is recorded, if it cannot succeed.

    Raises:
        StudyError: another process drives the run, or MLflow's store cannot be used.
        StorageError: Optuna's database cannot be written, or MLflow's file cannot be used.
        DatasetError: the data cannot be read, an image of it is broken, or a split has no objects.
        LatencyCacheError: the file of measured latencies cannot be used.
        DeviceError: a device does not exist, or cannot be reached.
    """
    began = time.monotonic()
    settings.folder.mkdir(parents=True, exist_ok=True)
    with driver_lock(settings.folder), closing(executor), named_storage_errors(settings.root), ExitStack() as stack:
        opened = _open_data_and_device(settings, devices, view)
        refuse(opened)
        create_stores(settings.root)
        # Opened before the work, which may measure for minutes: a store that cannot be used is reported at once.
        with Tracking(settings, notice=view.noticed, is_hurried=lambda: stop_requested() == "now") as tracking:
            work = stack.enter_context(closing(make_work(opened)))
            dataset, train = opened.dataset, settings.train
            description = {
                "dataset": f"{settings.dataset}: {len(dataset.splits['train'])} train, {len(dataset.splits['val'])} val",
                "classes": ", ".join(dataset.class_names),
                "fingerprint": dataset.fingerprint,
                "device": str(opened.identity),
                "training": f"{train.recipe}, {counted(train.epochs, 'epoch(s)')}, batch {train.batch_size}",
                "seed": str(train.seed),
                "command": without_credentials(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
                "versions": describe_versions(_PACKAGES),
                "git": describe_git(),
                **work.description,
            }
            tracking.begin(work.id, description)
            title = f"{settings.name} · {dataset.name} · {opened.identity.board}"
            driver = Driver(work, executor, view=view, tracking=tracking, title=title, began=began)
            return driver.run(stop_requested), work


def create_stores(root: Path) -> None:
    """Create the SQLite files of a folder of studies where they are missing, one process at a time."""
    open_storage(root)
    with creation_lock(root):
        create_store(root)


def _open_data_and_device(settings: RunSettings, devices: Devices, view: View) -> Opened:
    """Open the dataset and reach the device; their notes go to the view.

    What would end each trial alike is found here, since it says nothing about the architectures. Decoding all images may
    take minutes, and so comes last.
    """
    dataset = open_dataset(settings.dataset, on_broken="skip" if settings.skip_broken else "stop")
    _check_objects(dataset)
    LatencyCache(settings.latency_cache).check()
    identity = devices.reach(settings)
    dataset, broken_images, looks = check_images(
        dataset, splits=("train", "val"), skip_broken=settings.skip_broken, report=view.checking_images
    )
    if broken_images:
        _check_objects(dataset)
    copies = describe_copies(dataset, looks, find_copies(dataset, looks))
    for note in (*dataset.notes, *copies, *(f"left out: {line}" for line in dataset.left_out)):
        view.noticed(note)
    return Opened(dataset=dataset, identity=identity, broken_images=broken_images)


def _check_objects(dataset: Dataset) -> None:
    if reason := why_untrainable(dataset):
        raise DatasetError(reason, hint="single images without objects are allowed, a split without any is not")
