"""A measurement on this machine makes trainings wait; one elsewhere does not."""

from functools import partial
from pathlib import Path

import pytest

from tests.trials.latency.locked import is_measuring, may_measure
from trials.latency.cache import LatencyCache
from trials.latency.comparison import compare_latencies
from trials.latency.device import DeviceIdentity, Latency
from trials.latency.doctor import examine_device
from trials.latency.measure import measure_quietly
from trials.latency.measurement_lock import MeasurementLock, machine_folder
from trials.latency.reference_network import write_reference
from trials.onnx.half_precision import write_half


class Device:
    """Notes whether another process could train while it measures."""

    name, opset = "x", 13

    def __init__(self, kind: str, folder: Path) -> None:
        self._identity = DeviceIdentity(kind=kind, board="b", backend="r 1.0", precision="fp32")
        self._folder = folder
        self.trainings_wait: list[bool] = []
        self.others_may_measure: list[bool] = []

    def identity(self) -> DeviceIdentity:
        return self._identity

    def measure(self, onnx_path: Path) -> Latency:
        del onnx_path
        self.trainings_wait.append(is_measuring(self._folder))
        self.others_may_measure.append(may_measure(self._folder))
        return Latency(samples_ms=(1.0,), device=self._identity)

    def close(self) -> None:
        pass


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
    assert device.others_may_measure == [not wait]  # a board may be waited for, and build, for hours


@pytest.mark.usefixtures("own_locks")
def test_who_measures_elsewhere_waits_for_nobody_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that its user has suspended keeps this machine's lock, of which a board needs nothing."""
    monkeypatch.setattr("trials.latency.measure.MeasurementLock", partial(MeasurementLock, patience_s=0.1))
    devices = [Device(kind, machine_folder()) for kind in ("ssh", "cpu")]
    write_reference(tmp_path / "a.onnx")
    with MeasurementLock().shared() as lock, lock.exclusive():
        board, here = compare_latencies(devices, [("a", tmp_path / "a.onnx", 3)])
    assert (board.reason, board.latency is not None) == ("", True)
    assert here.reason.startswith("this machine is not free: another process measures on it")


@pytest.mark.usefixtures("own_locks")
def test_commands_that_measure_keep_the_machine_quiet_too(tmp_path: Path) -> None:
    device = Device("cpu", machine_folder())
    write_reference(tmp_path / "a.onnx")
    rows = list(compare_latencies([device], [("a", tmp_path / "a.onnx", 3)]))
    assert [(row.reason, row.precision) for row in rows] == [("", device.identity().precision)]
    write_half(tmp_path / "a.onnx", tmp_path / "half.onnx")
    (row,) = compare_latencies([device], [("half", tmp_path / "half.onnx", 3)])
    assert row.precision == "fp32"  # ONNX Runtime on a CPU computes so
    assert examine_device(device).reference_ms == (1.0, 1.0, 1.0)
    assert device.trainings_wait == [True] * 5
