"""What the driver hears of a device on a cluster, without a cluster."""

from types import SimpleNamespace
from typing import Any

import pytest

from search.study.errors import ProposalStoppedError
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import FEW
from trials.latency import DeviceAwayError

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")

from search.cluster.connection import ClusterError  # noqa: E402
from search.cluster.devices import ClusterDevices  # noqa: E402

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
    with pytest.raises(ClusterError, match=r"the host of the device failed: .*by zero"):
        measure(settings)
