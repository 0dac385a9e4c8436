"""The sampler that a study's settings name, with the latencies that it may look up."""

import time
from collections.abc import Callable

from optuna.samplers import BaseSampler

from search.driver.devices import Devices
from search.driver.interruption import StopRequest
from search.strategy import EhviSampler, SpaceSampler, StrategySettings
from search.strategy.latency.lookup_budget import SHARE
from search.study.errors import ProposalStoppedError
from search.study.settings import StudySettings
from spaces import Architecture
from trials.latency import DeviceAwayError, DeviceIdentity, Latency


def make_sampler(
    settings: StudySettings,
    *,
    num_classes: int,
    identity: DeviceIdentity,
    devices: Devices,
    scale: Callable[[], Latency | None],
    on_look_up: Callable[[float], None],
    notice: Callable[[str], None],
    stop_requested: Callable[[], StopRequest],
    workers: Callable[[], int],
) -> BaseSampler:
    """Return the study's sampler.

    Args:
        settings: The study.
        num_classes: Classes of its detectors, for samplers that measure.
        identity: The study's device, on which alone latencies count.
        devices: Measure latencies for a proposal.
        scale: Returns the study's first latency, whose scale those have; None before it.
        on_look_up: Called with the seconds of each measurement made for a proposal.
        notice: Called with a note for the user about each such measurement that failed.
        stop_requested: Asked before and during each such measurement, of which a proposal may need dozens: whether the user
            wants to end. Then the sampler raises `ProposalStoppedError`.
        workers: Returns how many trials run at once.
    """
    if settings.sampler != "ehvi":
        return SpaceSampler(settings.space, name=settings.sampler, seed=settings.seed)

    strategy = StrategySettings(max_latency_ms=settings.max_latency_ms)
    is_told = False

    def look_up_ms(architecture: Architecture) -> float:
        nonlocal is_told
        if stop_requested() != "no":
            raise ProposalStoppedError
        if not is_told:
            notice(f"measuring latencies of candidates, for at most {SHARE:.0%} of the time of trainings")
            is_told = True
        began = time.monotonic()
        try:
            latency = devices.measure(
                architecture, settings, num_classes=num_classes, scale=scale(), stop_requested=stop_requested
            )
        finally:
            on_look_up(time.monotonic() - began)
        if lines := latency.device.differences(identity):  # it has restarted, for example: its clocks are free again
            raise DeviceAwayError(f"device {settings.device} has changed since the search began: {'; '.join(lines)}")
        return latency.median_ms

    return EhviSampler(
        settings.space,
        look_up_ms,
        notice=notice,
        num_classes=num_classes,
        settings=strategy,
        seed=settings.seed,
        workers=workers,
    )
