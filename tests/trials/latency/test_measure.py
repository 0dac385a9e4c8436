"""A measurement on this machine makes trainings wait; one elsewhere does not."""

import fcntl
from pathlib import Path

import pytest

from trials.latency.cache import LatencyCache
from trials.latency.device import DeviceIdentity, Latency
from trials.latency.measure import measure_quietly
from trials.latency.measurement_lock import MeasurementLock


class Device:
    """Notes whether another process could train while it measures."""

    name, opset = "x", 13

    def __init__(self, kind: str, folder: Path) -> None:
        self._identity = DeviceIdentity(kind=kind, board="b", backend="r 1.0", precision="fp32")
        self._folder = folder
        self.trainings_wait: list[bool] = []

    def identity(self) -> DeviceIdentity:
        return self._identity

    def measure(self, onnx_path: Path) -> Latency:
        del onnx_path
        self.trainings_wait.append(any(_is_locked(path) for path in self._folder.glob("*.lock")))
        return Latency(samples_ms=(1.0,), device=self._identity)

    def close(self) -> None:
        pass


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.parametrize(("kind", "wait"), [("cpu", True), ("cuda", True), ("a new kind", True), ("ssh", False)])
def test_trainings_wait_for_every_device_that_is_not_known_to_be_elsewhere(
    tmp_path: Path, kind: str, wait: bool
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"a network")
    device, cache = Device(kind, tmp_path), LatencyCache(tmp_path / "latency.db")
    with MeasurementLock(tmp_path).shared() as lock:
        first = measure_quietly(model, device, cache, lock=lock)
        again = measure_quietly(model, device, cache, lock=lock)
    assert (first[1], again) == (False, (first[0], True))
    assert device.trainings_wait == [wait]
