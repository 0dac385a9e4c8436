"""What the driver hears of a device on a cluster, without a cluster."""

import errno
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.study.errors import ProposalStoppedError
from spaces import Architecture
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import FEW, IDENTITY
from trials.latency import DeviceAwayError, DeviceError, Latency
from trials.latency.cache import LatencyCacheError
from trials.trial_result import Measured

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")

from search.cluster.connection import ClusterError  # noqa: E402
from search.cluster.devices import ClusterDevices, Meter  # noqa: E402

METER = SimpleNamespace(measure=SimpleNamespace(remote=lambda *args, **options: "a reference"))


class Devices(ClusterDevices):
    """Devices whose host is there for some looks."""

    def missing_host(self) -> str | None:
        looks: list[str | None] = self._meters["looks"]
        return looks.pop(0)


def measure(settings: MakeSettings, *looks: str | None, **more: Any) -> Any:
    devices = Devices("nano", {"cpu": METER, "looks": list(looks)})
    return devices.measure(FEW.skeletons[0], settings(), num_classes=3, **more)


def test_a_look_up_does_not_wait_for_a_host_that_is_gone(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([([], ["a reference"])] * 9)
    monkeypatch.setattr("ray.wait", lambda references, timeout: next(waits))
    with pytest.raises(DeviceAwayError, match="the host of the device is gone: no node has the resource 'nano'"):
        measure(settings, None, None, "nano")


def test_a_look_up_without_a_connection_says_nothing_of_its_network(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(references: object, timeout: float) -> None:
        raise ConnectionError("Client is shutting down.")

    monkeypatch.setattr("ray.wait", lose)
    with pytest.raises(DeviceAwayError, match="the connection to the cluster is lost: Client is shutting down"):
        measure(settings)


def test_who_wants_to_end_does_not_wait_for_a_look_up(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.wait", lambda references, timeout: ([], references))
    asked = iter(("no", "no", "finish"))
    with pytest.raises(ProposalStoppedError):
        measure(settings, None, None, stop_requested=lambda: next(asked))


@pytest.mark.parametrize(
    "error",
    [
        ray.exceptions.RayTaskError("measure", "Traceback …\nZeroDivisionError: by zero", ZeroDivisionError("by zero")),
        ray.exceptions.RaySystemError("by zero"),
    ],
)
def test_what_a_host_did_not_expect_is_an_error_of_the_cluster(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def get(reference: object) -> None:
        raise error

    monkeypatch.setattr("ray.wait", lambda references, timeout: (references, []))
    monkeypatch.setattr("ray.get", get)
    with pytest.raises(ClusterError, match=r"the host of device cpu failed: .*by zero"):
        measure(settings)


FULL = OSError(errno.ENOSPC, "No space left on device", "/home/me/.cache")
DAMAGED = LatencyCacheError("latency.db cannot be used: it is damaged", hint="rm latency.db")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (FULL, r"cannot measure: \[Errno 28\] No space left on device: '/home/me/.cache'"),
        (DAMAGED, r"cannot measure: latency.db cannot be used: it is damaged \(rm latency.db\)"),
    ],
)
def test_a_look_up_that_the_host_s_own_fault_prevents_says_nothing_of_its_network(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, cause: Exception, words: str
) -> None:
    def get(reference: object) -> None:
        raise ray.exceptions.RayTaskError("measure", f"Traceback …\n{cause}", cause)

    monkeypatch.setattr("ray.wait", lambda references, timeout: (references, []))
    monkeypatch.setattr("ray.get", get)
    with pytest.raises(DeviceAwayError) as caught:
        measure(settings)
    assert re.fullmatch(rf"the host of device cpu \(nano\) {words}", caught.value.message)
    assert caught.value.hint.startswith("remove the cause on that host")


def test_a_meter_whose_cache_is_damaged_does_not_take_that_for_an_error_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [DAMAGED, DeviceError("it is on fire")]

    def fail(*_: object, **__: object) -> None:
        raise errors.pop(0)

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("search.cluster.devices.measure_here", fail)
    with pytest.raises(LatencyCacheError, match="it is damaged"):
        Meter("cpu").measure(FEW.skeletons[0], "runs/latency.db", num_classes=3)
    assert str(Meter("cpu").measure(FEW.skeletons[0], "runs/latency.db", num_classes=3)) == "it is on fire"


class Renewed(Devices):
    """Devices that note each actor that ends or is made."""

    def _make_instead(self, meter: Any, device: str) -> Any:
        self._meters["renewed"].append(device)
        return meter


def renewed(*looks: str | None) -> Renewed:
    return Renewed("nano", {"cpu": METER, "looks": list(looks), "renewed": []})


def test_a_look_up_that_hangs_is_ended_after_as_long_as_a_trial_s_measurement(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.wait", lambda references, timeout: ([], references))
    devices = renewed(*[None] * 14_400)
    with pytest.raises(ClusterError, match=r"the host of device cpu hangs, .*: it answered nothing for 240 min"):
        devices.measure(FEW.skeletons[0], settings(), num_classes=3)
    assert devices._meters["renewed"] == ["cpu"]
    assert devices._meters["looks"] == []


@pytest.mark.parametrize("num_ended", [2, 3])
def test_a_host_s_process_that_ends_is_asked_again_a_few_times(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, num_ended: int
) -> None:
    asked: list[object] = []

    def get(reference: object) -> Measured:
        asked.append(reference)
        if len(asked) <= num_ended:
            raise ray.exceptions.RayActorError(error_msg="The actor died.\nSIGSEGV")
        return Measured(latency=FIRST, opset=13, is_cached=False)

    monkeypatch.setattr("ray.wait", lambda references, timeout: (references, []))
    monkeypatch.setattr("ray.get", get)
    devices, network = renewed(), FEW.skeletons[0]
    if num_ended == 2:
        assert devices.measure(network, settings(), num_classes=3) == FIRST
    else:
        with pytest.raises(ClusterError, match="cpu failed: 3 of its processes in a row ended, the last one: SIGSEGV"):
            devices.measure(network, settings(), num_classes=3)
    assert (len(asked), devices._meters["renewed"]) == (3, ["cpu"] * num_ended)


def test_a_host_that_takes_its_process_along_is_gone(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(reference: object) -> None:
        raise ray.exceptions.RayActorError(error_msg="The actor died because its node has died.")

    answers = iter([(["a reference"], []), ([], ["a reference"])])
    monkeypatch.setattr("ray.wait", lambda references, timeout: next(answers))
    monkeypatch.setattr("ray.get", get)
    with pytest.raises(DeviceAwayError, match="the host of the device is gone: no node has the resource 'nano'"):
        renewed("nano").measure(FEW.skeletons[0], settings(), num_classes=3)


FIRST = Latency(
    samples_ms=(10.0,), device=IDENTITY, reference_ms=12.0, is_reference_in_turn=True, slowdown=1.2
)  # its scale is a reference of 10 ms


def test_a_host_brings_latencies_to_the_scale_of_the_run_s_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever that was measured, and whatever the host has measured before."""
    raw = Latency(samples_ms=(13.0,), device=IDENTITY, reference_ms=13.0, is_reference_in_turn=True)
    device = SimpleNamespace(
        name="cpu", opset=13, identity=lambda: IDENTITY, measure=lambda path: raw, close=lambda: None
    )
    monkeypatch.setattr("search.driver.devices.open_device", lambda spec: device)
    one, other, *_ = FEW

    def median_ms(architecture: Architecture, scale: Latency | None) -> float:
        found = Meter("cpu").measure(architecture, "runs/latency.db", num_classes=3, scale=scale)
        assert isinstance(found, Measured)
        return found.latency.median_ms

    monkeypatch.setenv("HOME", str(tmp_path / "new"))
    assert median_ms(one, FIRST) == pytest.approx(10.0)
    assert median_ms(other, None) == pytest.approx(10.0)  # of a new run in the same folder
    monkeypatch.setenv("HOME", str(tmp_path / "used"))
    assert median_ms(one, None) == 13.0
    assert median_ms(one, FIRST) == pytest.approx(10.0)
    assert median_ms(other, FIRST) == pytest.approx(10.0)
    assert median_ms(other, None) == pytest.approx(13.0)


def test_the_scale_of_a_run_goes_with_what_is_asked_of_the_host(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Latency | None] = []

    def measure(*_: object, scale: Latency | None, **__: object) -> Measured:
        asked.append(scale)
        return Measured(latency=FIRST, opset=13, is_cached=False)

    monkeypatch.setattr("ray.wait", lambda references, timeout: (references, []))
    monkeypatch.setattr("ray.get", lambda reference: reference)
    meter = SimpleNamespace(measure=SimpleNamespace(remote=measure))
    devices, chosen = ClusterDevices("nano", {"cpu": meter}, {"cpu": meter}), settings()
    devices.ask("cpu", FEW.skeletons[0], chosen.latency_cache, num_classes=3, scale=FIRST)
    devices.measure(FEW.skeletons[0], chosen, num_classes=3, scale=FIRST)
    devices.measure(FEW.skeletons[0], chosen, num_classes=3)
    assert asked == [FIRST, FIRST, None]
