"""The latency devices of a run, as the driver uses them: on this machine here, on a cluster in `search.cluster`."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from search.driver.interruption import StopRequest, ended_by_user
from search.study.settings import RunSettings, StudySettings
from spaces import Architecture
from spaces.space import Space
from trials.latency import DeviceIdentity, Latency
from trials.latency.cache import LatencyCache
from trials.latency.compatibility import Report, judge_of, judge_space
from trials.latency.measure import measure_architecture
from trials.latency.measurement_lock import MeasurementLock
from trials.latency.open_device import open_device
from trials.scratch import temporary_folder
from trials.trial_result import Measured

FIRST_PATIENCE_S = 15.0
"""An unreachable device is reported soon when a run begins; one that goes away later is waited for longer."""


@dataclass(frozen=True, kw_only=True)
class SpaceVerdict:
    """What a device's TensorRT says of a space."""

    judge: str
    """Who was asked."""
    report: Report
    """Of a few networks that together have every choice of the space."""


class Devices(Protocol):
    """Reaches the devices of a run and measures on them. Every method raises `DeviceError` where one cannot be used."""

    def reach(self, settings: RunSettings) -> DeviceIdentity:
        """Return the identity of the run's device; refuse further devices that do not exist."""

    def judge(self, settings: StudySettings, *, num_classes: int) -> SpaceVerdict | None:
        """Ask the device's TensorRT about the study's space; None for a device without TensorRT."""

    def measure(
        self,
        architecture: Architecture,
        settings: StudySettings,
        *,
        num_classes: int,
        scale: Latency | None = None,
        stop_requested: Callable[[], StopRequest] = lambda: "no",
    ) -> Latency:
        """Return an architecture's latency on the study's device as it is now, measured or from the cache.

        Args:
            architecture: A legal architecture.
            settings: Name the device and the cache.
            num_classes: Classes of the detector.
            scale: An earlier latency of the study, to whose scale this one is brought; None for the cache's own.
            stop_requested: Whether the user wants to end.

        Raises:
            UnsupportedNetworkError: the device's TensorRT cannot take it.
            ProposalStoppedError: the user ended the run meanwhile.
        """


class LocalDevices:
    """Devices that this machine has or reaches by itself."""

    def reach(self, settings: RunSettings) -> DeviceIdentity:
        """Open all devices; ask the first."""
        for spec in settings.also_measure:
            open_device(spec).close()  # refuses what names no device
        with closing(open_device(settings.device, patience_s=FIRST_PATIENCE_S)) as device:
            return device.identity()

    def judge(self, settings: StudySettings, *, num_classes: int) -> SpaceVerdict | None:
        """Ask our tables, and the parser of an installed TensorRT."""
        return judge_here(settings.space, settings.device, num_classes=num_classes)

    def measure(
        self,
        architecture: Architecture,
        settings: StudySettings,
        *,
        num_classes: int,
        scale: Latency | None = None,
        stop_requested: Callable[[], StopRequest] = lambda: "no",
    ) -> Latency:
        """Measure while this machine's trainings wait; an interrupt that ends the run at once also ends the measurement."""
        cache = LatencyCache(settings.latency_cache, scale=scale)
        with ended_by_user(stop_requested):
            return measure_here(architecture, settings.device, cache, num_classes=num_classes).latency


def judge_here(space: Space, device: str, *, num_classes: int) -> SpaceVerdict | None:
    """Ask a device's TensorRT about a space, from this machine; None for a device without TensorRT.

    Args:
        space: Where architectures come from.
        device: As the user typed it.
        num_classes: Classes of the detector.

    Raises:
        DeviceError: the device cannot be used.
    """
    with closing(open_device(device)) as opened:
        judge = judge_of(opened)
    if judge is None:
        return None
    return SpaceVerdict(judge=str(judge), report=judge_space(space, judge, num_classes=num_classes))


def measure_here(architecture: Architecture, device: str, cache: LatencyCache, *, num_classes: int) -> Measured:
    """Measure an architecture from this machine, or find it in the cache; this machine's trainings wait meanwhile.

    Args:
        architecture: A legal architecture.
        device: As the user typed it.
        cache: Earlier measurements.
        num_classes: Classes of the detector.

    Raises:
        DeviceError: the device cannot measure it.
        UnsupportedNetworkError: the device's TensorRT cannot take it.
    """
    with (
        MeasurementLock().shared() as lock,
        closing(open_device(device)) as opened,
        temporary_folder() as folder,
    ):
        path = Path(folder) / "candidate.onnx"
        latency, is_cached = measure_architecture(
            architecture, opened, cache, lock=lock, num_classes=num_classes, onnx_path=path
        )
        return Measured(latency=latency, opset=opened.opset, is_cached=is_cached)
