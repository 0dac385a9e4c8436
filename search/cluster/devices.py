"""The latency devices of a cluster, on the host that reaches them.

Each has two Ray actors there: one measures the networks of trials, one after the other, and one answers the driver. As on
one machine, the measurement lock or the board's queue has them measure in turn, and what hangs in one of them keeps the
other waiting for no longer than these allow. Ray starts none again by itself: whoever asked one that has ended asks another.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.cluster.connection import ClusterError, last_line, named_losses
from search.driver.devices import FIRST_PATIENCE_S, SpaceVerdict, judge_here, measure_here
from search.driver.interruption import StopRequest
from search.driver.watchdog import longest_silence_s
from search.study.errors import ProposalStoppedError
from search.study.settings import RunSettings, StudySettings
from spaces import Architecture, YoloRetError
from spaces.space import Space
from trials.latency import DeviceAwayError, DeviceIdentity, Latency
from trials.latency.cache import LatencyCache, LatencyCacheError
from trials.latency.open_device import open_device
from trials.trial_result import Measured

_PLACING_S = 600.0
"""Longest wait for a host that has the resource which the user named."""
_GLANCE_S = 1.0
"""How often the driver looks whether the host is still there, and whether the user wants to end."""
_MOST_ENDED = 3
"""Actors in a row that end while they answer the driver, before what it asked counts as the cause."""
_SHARE = 0.001
"""Of a resource such as ``node:10.0.0.7`` or ``nano``; what matters is where the actor is."""


class Meter:
    """Measures on one device; the class of a Ray actor, which does one thing at a time."""

    def __init__(self, device: str) -> None:
        self._device = device

    def is_there(self) -> bool:
        """Return True; waits until the actor has a host."""
        return True

    def check(self) -> None:
        """Refuse a device that its host does not have; a board is not contacted."""
        open_device(self._device).close()

    def identity(self) -> DeviceIdentity:
        """Return what its latencies are valid for."""
        with closing(open_device(self._device, patience_s=FIRST_PATIENCE_S)) as device:
            return device.identity()

    def judge(self, space: Space, *, num_classes: int) -> SpaceVerdict | None:
        """Ask the device's TensorRT about a space; None for a device without TensorRT."""
        return judge_here(space, self._device, num_classes=num_classes)

    def measure(
        self, architecture: Architecture, cache: str, *, num_classes: int, scale: Latency | None = None
    ) -> Measured | YoloRetError:
        """Measure a network; an error of the device or the network is returned, since a trial's end tells them apart.

        One of this host's own, such as a full disk, is raised.

        Args:
            architecture: The network.
            cache: The driver's cache; this host has one of its own for each.
            num_classes: Classes of the detector.
            scale: An earlier latency of the run, to whose scale this one is brought; None for the cache's own.
        """
        try:
            here = LatencyCache(_cache_here(cache), scale=scale)
            return measure_here(architecture, self._device, here, num_classes=num_classes)
        except LatencyCacheError:
            raise
        except YoloRetError as error:
            return error


@dataclass(frozen=True)
class ClusterDevices:
    """`Devices` on the hosts of a cluster.

    Args:
        host: Ray resource of the host that measures, such as ``nano`` or ``node:10.0.0.7``; None for the driver's own
            node, or the cluster's head where the driver is not on a node.
    """

    host: str | None
    _meters: dict[str, Any]
    """Device to the actor that answers the driver."""
    _ahead: dict[str, Any] = field(default_factory=dict)
    """Device to the actor that measures the networks of trials."""

    @classmethod
    def on(cls, host: str | None) -> "ClusterDevices":
        """Return devices whose actors are made when they are first needed."""
        return cls(host, {})

    def meter(self, device: str) -> Any:
        """Return the actor of a device that answers the driver.

        Raises:
            ClusterError: no node has the resource.
        """
        if device not in self._meters:
            self._meters[device] = self._place(device)
        return self._meters[device]

    def ask(
        self, device: str, architecture: Architecture, cache: Path, *, num_classes: int, scale: Latency | None
    ) -> Any:
        """Have a trial's network measured after those that wait; return the reference of the answer."""
        if device not in self._ahead:
            self._ahead[device] = self._make(device)
        options = {"num_classes": num_classes, "scale": scale}
        return self._ahead[device].measure.remote(architecture, str(cache.absolute()), **options)

    def end_meter(self, device: str) -> None:
        """End the actor that measures for trials with all that it was asked; another measures as soon as the host has it.

        That is not waited for here, where the driver ends a trial.
        """
        self._ahead[device] = self._make_instead(self._ahead[device], device)

    def missing_host(self) -> str | None:
        """Return the resource of the host that measures if no node has it now."""
        import ray

        return None if self._resource in ray.cluster_resources() else self._resource

    def own_fault(self, device: str, error: Exception) -> ClusterError | None:
        """Return what is wrong with the host itself, its disk or its latency cache, where that is why Ray raised an error.

        It says nothing about the device, the network, or the node that would train it.
        """
        cause = getattr(error, "cause", None)
        if not isinstance(cause, OSError | LatencyCacheError):
            return None
        cure = f" ({cause.hint})" if isinstance(cause, LatencyCacheError) else ""
        return ClusterError(
            f"the host of device {device} ({self._resource}) cannot measure: {cause}{cure}",
            hint="remove the cause on that host, then run the same command again: it resumes",
        )

    @property
    def _resource(self) -> str:
        return self.host or _own_node()

    @named_losses()
    def reach(self, settings: RunSettings) -> DeviceIdentity:
        """Ask the device's host; refuse further devices that do not exist there."""
        for spec in settings.also_measure:
            self._answer(spec, lambda meter: meter.check.remote())
        return self._answer(settings.device, lambda meter: meter.identity.remote())  # type: ignore[no-any-return]

    @named_losses()
    def judge(self, settings: StudySettings, *, num_classes: int) -> SpaceVerdict | None:
        """Ask the TensorRT of the device, and that of its host."""
        return self._answer(  # type: ignore[no-any-return]
            settings.device, lambda meter: meter.judge.remote(settings.space, num_classes=num_classes)
        )

    def measure(
        self,
        architecture: Architecture,
        settings: StudySettings,
        *,
        num_classes: int,
        scale: Latency | None = None,
        stop_requested: Callable[[], StopRequest] = lambda: "no",
    ) -> Latency:
        """Measure on the study's device, in turn with the trials; who wants to end does not wait for it."""
        cache, options = str(settings.latency_cache.absolute()), {"num_classes": num_classes, "scale": scale}

        def ask(meter: Any) -> Any:
            return meter.measure.remote(architecture, cache, **options)

        with named_losses(DeviceAwayError):  # which says nothing of the network
            measured = self._answer(settings.device, ask, stop_requested=stop_requested)
        if isinstance(measured, YoloRetError):
            raise measured
        return measured.latency  # type: ignore[no-any-return]

    def _answer(
        self,
        device: str,
        question: Callable[[Any], Any],
        *,
        stop_requested: Callable[[], StopRequest] = lambda: "no",
    ) -> Any:
        """Return what a device's host answers the driver; the errors of our own keep their class.

        Args:
            device: The device as the user typed it.
            question: Asks an actor; returns the reference of its answer. It is asked again where the actor has ended.
            stop_requested: Whether the user wants to end.

        Raises:
            DeviceAwayError: the host is gone, or has a fault of its own.
            ProposalStoppedError: the user ended the run meanwhile.
            ClusterError: the host hangs, or failed in another way.
        """
        import ray

        num_ended = 0
        while True:
            reference = question(self.meter(device))
            self._await(device, reference, stop_requested=stop_requested)
            try:
                return ray.get(reference)
            except ray.exceptions.RayActorError as error:
                self._meters[device] = self._make_instead(self._meters[device], device)
                num_ended += 1
                if num_ended == _MOST_ENDED:
                    ended = f"{num_ended} of its processes in a row ended, the last one: {last_line(error)}"
                    raise ClusterError(f"the host of device {device} failed: {ended}") from error
            except ray.exceptions.RayError as error:
                if (fault := self.own_fault(device, error)) is not None:
                    raise DeviceAwayError(fault.message, hint=fault.hint) from error
                cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else None
                if isinstance(cause, YoloRetError):
                    raise cause from error
                raise ClusterError(f"the host of device {device} failed: {last_line(error)}") from error

    def _await(self, device: str, reference: Any, *, stop_requested: Callable[[], StopRequest]) -> None:
        """Wait for an answer, for as long as a trial may be silent while it is measured.

        Raises:
            DeviceAwayError: the host is gone.
            ProposalStoppedError: the user ended the run meanwhile.
            ClusterError: the host hangs; what it did is ended.
        """
        import ray

        waited_s, limit_s = 0.0, longest_silence_s((), "measure", devices=(device,))
        while not ray.wait([reference], timeout=_GLANCE_S)[0]:
            if stop_requested() != "no":
                raise ProposalStoppedError
            if (resource := self.missing_host()) is not None:
                raise DeviceAwayError(f"the host of the device is gone: no node has the resource {resource!r}")
            waited_s += _GLANCE_S  # no clock: this process may have been stopped meanwhile
            if waited_s >= limit_s:
                self._meters[device] = self._make_instead(self._meters[device], device)
                raise ClusterError(
                    f"the host of device {device} hangs, and what it did was ended: it answered nothing for "
                    f"{limit_s / 60:.0f} min",
                    hint="look for the cause on the device's host; the same command resumes",
                )

    def _place(self, device: str) -> Any:
        import ray

        check_host(self._resource)
        meter = self._make(device)
        try:
            ray.get(meter.is_there.remote(), timeout=_PLACING_S)
        except ray.exceptions.RayError as error:  # a time-out, too
            raise ClusterError(
                f"the host of device {device} ({self._resource}) did not answer within {_PLACING_S:.0f} s",
                hint="it may be busy, or gone; run the same command again: it resumes",
            ) from error
        return meter

    def _make_instead(self, meter: Any, device: str) -> Any:
        """End an actor, if it has not ended; return another one, which waits for the host where that is gone."""
        import ray

        ray.kill(meter)
        return self._make(device)

    def _make(self, device: str) -> Any:
        import ray

        options = {"num_cpus": 0, "resources": {self._resource: _SHARE}}
        return ray.remote(Meter).options(**options).remote(device)


@named_losses()
def check_host(resource: str) -> None:
    """Refuse a host that the cluster lacks.

    Raises:
        ClusterError: no node has the resource.
    """
    import ray

    there = ray.cluster_resources()
    if resource not in there:
        raise ClusterError(
            f"no node of the cluster has the resource {resource!r} (--device-host)",
            hint=f"start the host that measures with: ray start --address HEAD:6379 --resources '{{\"{resource}\": 1}}', "
            f"or name one of: {', '.join(_named_resources(there))}",
        )


def _own_node() -> str:
    """Return the resource that only the driver's node has; through Ray's client, the head's."""
    import ray

    return (
        f"node:{ray.util.get_node_ip_address()}" if not ray.util.client.ray.is_connected() else "node:__internal_head__"
    )


def _named_resources(resources: Mapping[str, float]) -> list[str]:
    return sorted(name for name in resources if name not in ("CPU", "GPU", "memory", "object_store_memory"))


def _cache_here(cache: str) -> Path:
    """Return this host's file for a cache of the driver's: one folder for each of the driver's, with a scale of its own."""
    name = hashlib.sha256(str(Path(cache).parent).encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "yoloret-nas" / "cluster" / name / Path(cache).name
