"""Where the trials of a search or an experiment run: on this machine's cores and GPUs, or on a cluster's."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from search.driver.devices import Devices, LocalDevices
from search.driver.executor import Executor
from search.driver.local_executor import LocalExecutor
from spaces.counted import counted
from yoloret_nas.machine import threads_of_each, trials_at_once, visible_gpus, why_no_gpu

if TYPE_CHECKING:
    from search.cluster import Resources
    from yoloret_nas.options.search import ClusterOptions

Notice = Callable[[str], None]


class Workers(Protocol):
    """Places for trials."""

    @property
    def at_once(self) -> int | None:
        """Trials at once; None where that varies."""

    @property
    def has_gpus(self) -> bool:
        """Whether trials train on GPUs."""

    @property
    def threads_of_each(self) -> int:
        """Cores of each trial."""

    @property
    def where(self) -> str:
        """In words, such as ``this CPU, 2 at once``."""

    def at_most(self, count: int) -> "Workers":
        """Return these, for no more than so many trials in all."""

    def open(self, notice: Notice) -> tuple[Executor, Devices]:
        """Return what runs the trials and what measures for them.

        Args:
            notice: Called with notes for the user.
        """


@dataclass(frozen=True, kw_only=True)
class LocalWorkers:
    """Processes of this machine."""

    at_once: int
    """Trials at once."""
    gpus: tuple[str, ...] = ()
    """As CUDA_VISIBLE_DEVICES names them; empty without one."""
    gpu_fault: str = ""
    """Why PyTorch cannot use further ones that the driver lists."""

    @property
    def has_gpus(self) -> bool:
        """Whether this machine has a GPU."""
        return bool(self.gpus)

    @property
    def threads_of_each(self) -> int:
        """A share of this machine's cores."""
        return threads_of_each(self.at_once)

    @property
    def where(self) -> str:
        """In words."""
        count = len(self.gpus)
        place = counted(count, "GPU(s)") if count else "this CPU"
        return place + (f", {self.at_once} at once" if self.at_once > 1 else "")

    def at_most(self, count: int) -> "LocalWorkers":
        """Return these for so many trials."""
        return replace(self, at_once=max(1, min(count, self.at_once)))

    def open(self, notice: Notice) -> tuple[Executor, Devices]:
        """Return an executor of processes."""
        if self.gpu_fault:
            place = counted(len(self.gpus), "other GPU(s)") if self.gpus else "the CPU"
            notice(f"PyTorch cannot use a GPU that the driver lists: {self.gpu_fault}; trials train on {place}")
        if self.gpu_fault and not self.gpus:  # Lightning would ask the driver; trials inherit it
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return LocalExecutor(workers=self.at_once, gpus=self.gpus), LocalDevices()


@dataclass(frozen=True, kw_only=True)
class ClusterWorkers:
    """Slots on the nodes of the Ray cluster that this process is connected to."""

    each: "Resources"
    """What a trial takes of a node."""
    fit_now: int
    """How many fit at once on the nodes that there are now."""
    at_once: int | None
    """Trials at once; None for as many as fit, nodes that join later included."""
    device_host: str | None
    """Ray resource of the host that measures latency; None for the driver's node."""

    @property
    def has_gpus(self) -> bool:
        """Whether a trial takes a GPU."""
        return self.each.gpus > 0

    @property
    def threads_of_each(self) -> int:
        """The cores that a trial takes."""
        return max(1, int(self.each.cpus))

    @property
    def where(self) -> str:
        """In words."""
        gpus = f" and {self.each.gpus:g} GPU" if self.each.gpus else ""
        room = f"{self.at_once} at once" if self.at_once else f"{self.fit_now} at once now"
        return f"a Ray cluster, {self.each.cpus:g} CPU{gpus} for each trial, {room}"

    def at_most(self, count: int) -> "ClusterWorkers":
        """Return these for so many trials."""
        return replace(self, at_once=count if self.at_once is None else min(count, self.at_once))

    def open(self, notice: Notice) -> tuple[Executor, Devices]:
        """Return an executor of slots."""
        from search.cluster import ClusterDevices, RayExecutor

        devices = ClusterDevices.on(self.device_host)
        return RayExecutor(devices=devices, each=self.each, workers=self.at_once, notice=notice), devices


def choose_workers(
    cluster: "ClusterOptions", *, at_once: int | None, batch_size: int, devices: Sequence[str]
) -> Workers:
    """Return where trials run.

    Args:
        cluster: The options; without an address this machine is meant.
        at_once: Trials at once; None for as many as there is room for.
        batch_size: Images of a step.
        devices: Those whose latency trials measure.
    """
    if cluster.address is None:
        gpus = visible_gpus()
        is_gpu_timed = any(device.startswith("cuda") for device in devices)
        at_once = at_once or trials_at_once(gpus, batch_size=batch_size, is_gpu_timed=is_gpu_timed)
        return LocalWorkers(at_once=at_once, gpus=gpus, gpu_fault=why_no_gpu())
    from search.cluster import Resources, check_host, whole_cluster

    whole = whole_cluster()
    if cluster.device_host is not None:
        check_host(cluster.device_host)
    gpus_each = cluster.gpus_per_trial if cluster.gpus_per_trial is not None else float(whole.gpus > 0)
    cpus_each = cluster.cpus_per_trial if cluster.cpus_per_trial is not None else (2.0 if gpus_each else 1.0)
    each = Resources(cpus=cpus_each, gpus=gpus_each)
    return ClusterWorkers(each=each, fit_now=each.fit_into(whole), at_once=at_once, device_host=cluster.device_host)


def connected_to(cluster: "ClusterOptions") -> AbstractContextManager[None]:
    """Return a block that is connected to the cluster that the options name, if they name one."""
    if cluster.address is None:
        return nullcontext()
    from search.cluster import connected

    return connected(cluster.address)
