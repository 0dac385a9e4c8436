import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trials.latency import DeviceError, DeviceIdentity, Latency, UnstableError
from trials.latency.cache import LatencyCache, LatencyCacheError, cache_key

IDENTITY = DeviceIdentity(kind="cpu", board="x", backend="y 1.0", precision="fp32", settings={"threads": "1"})
MEASURED = Latency(
    samples_ms=(1.0, 2.0, 4.5),
    device=IDENTITY,
    reference_ms=0.5,
    is_reference_in_turn=True,
    notes=("odd",),
    after={"temperature_c": 60.0},
)


class Device:
    name, opset = "cpu", 13

    def __init__(self, *, identity: DeviceIdentity = IDENTITY, fails: bool = False) -> None:
        self._identity, self._fails, self.num_measured = identity, fails, 0

    def identity(self) -> DeviceIdentity:
        return self._identity

    def measure(self, onnx_path: Path) -> Latency:
        self.num_measured += 1
        if self._fails:
            raise DeviceError("it is on fire")
        return dataclasses.replace(MEASURED, device=self._identity)

    def close(self) -> None:
        pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a network")
    return path


def test_a_repeat_is_free_and_whole(tmp_path: Path, model: Path) -> None:
    device = Device()
    cache = LatencyCache(tmp_path / "new" / "folder" / "latency.db")
    assert cache.get(model, IDENTITY) is None
    assert cache.measure(device, model) == (MEASURED, False)
    assert LatencyCache(tmp_path / "new" / "folder" / "latency.db").measure(device, model) == (MEASURED, True)
    assert device.num_measured == 1


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "cuda"},
        {"board": "z"},
        {"backend": "y 1.1"},
        {"precision": "fp16"},
        {"settings": {"threads": "2"}},
        {"settings": {"threads": "1", "power_mode": "MAXN"}},
    ],
)
def test_another_device_is_another_measurement(tmp_path: Path, model: Path, change: dict) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    cache.put(model, MEASURED)
    other = dataclasses.replace(IDENTITY, **change)
    assert cache.get(model, other) is None
    assert cache_key(model, other) != cache_key(model, IDENTITY)


def test_the_file_s_content_counts_and_not_its_name(tmp_path: Path, model: Path) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    cache.put(model, MEASURED)
    moved = model.rename(tmp_path / "moved.onnx")
    assert cache.get(moved, IDENTITY) == MEASURED
    moved.write_bytes(b"another network")
    assert cache.get(moved, IDENTITY) is None


def test_a_newer_measurement_takes_the_older_one_s_place(tmp_path: Path, model: Path) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    cache.put(model, MEASURED)
    newer = dataclasses.replace(MEASURED, samples_ms=(9.0,))
    cache.put(model, newer)
    assert cache.get(model, IDENTITY) == newer


def test_a_failure_is_not_kept(tmp_path: Path, model: Path) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    with pytest.raises(DeviceError, match="on fire"):
        cache.measure(Device(fails=True), model)
    assert cache.measure(Device(), model) == (MEASURED, False)


def test_several_may_write_at_once(tmp_path: Path) -> None:
    def keep(number: int) -> None:
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(bytes([number]))
        LatencyCache(tmp_path / "latency.db").put(path, MEASURED)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(24)))
    with sqlite3.connect(tmp_path / "latency.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM latency").fetchone() == (24,)


class SlowedDevice(Device):
    """Its reference takes what it is told, measurement after measurement."""

    def __init__(self, *references_ms: float) -> None:
        super().__init__()
        self._references_ms = references_ms

    def measure(self, onnx_path: Path) -> Latency:
        measured = dataclasses.replace(super().measure(onnx_path), notes=())
        return dataclasses.replace(measured, reference_ms=self._references_ms[self.num_measured - 1])


def fill(cache: LatencyCache, folder: Path, *, count: int, reference_ms: float = 0.5) -> None:
    for number in range(count):
        path = folder / f"before-{number}.onnx"
        path.write_bytes(bytes([number]))
        cache.put(path, dataclasses.replace(MEASURED, reference_ms=reference_ms))


@pytest.mark.parametrize(
    ("known", "references_ms", "pauses_s"),
    [
        (6, (0.55,), [0]),  # within what machines do
        (6, (1.2, 0.5), [0, 10]),
        (6, (1.2, 0.9, 0.5), [0, 10, 20]),
        (3, (1.2,), [0]),  # nothing is known yet
    ],
)
def test_what_other_work_slowed_is_measured_again_after_a_pause(
    tmp_path: Path, model: Path, known: int, references_ms: tuple[float, ...], pauses_s: list[float]
) -> None:
    cache, device, slept = LatencyCache(tmp_path / "latency.db"), SlowedDevice(*references_ms), []
    fill(cache, tmp_path, count=known)
    latency, was_known = cache.measure(device, model, sleep=slept.append)
    assert (slept, was_known, device.num_measured) == (pauses_s, False, len(references_ms))
    assert latency == cache.get(model, IDENTITY)
    assert (latency.samples_ms, latency.notes) == (MEASURED.samples_ms, ())


def test_what_other_work_slowed_every_time_is_refused_rather_than_rewritten(tmp_path: Path, model: Path) -> None:
    cache, device = LatencyCache(tmp_path / "latency.db"), SlowedDevice(1.2, 0.9, 0.9)
    fill(cache, tmp_path, count=6)
    with pytest.raises(
        UnstableError,
        match=r"slowed device cpu in 3 measurements of model.onnx: the reference network took 1.80 times its quiet figure "
        r"of 0.5 ms \(at most 1.5 times\)",
    ):
        cache.measure(device, model, sleep=lambda _: None)
    assert cache.get(model, IDENTITY) is None


@pytest.mark.parametrize("references_ms", [(0.65,), (0.9, 0.65)])
def test_what_other_work_slowed_a_little_is_corrected_by_how_much_with_a_note(
    tmp_path: Path, model: Path, references_ms: tuple[float, ...]
) -> None:
    cache, device = LatencyCache(tmp_path / "latency.db"), SlowedDevice(*references_ms)
    fill(cache, tmp_path, count=6)
    latency, _ = cache.measure(device, model, sleep=lambda _: None)
    assert device.num_measured == len(references_ms)
    assert latency.samples_ms == pytest.approx([sample / 1.3 for sample in MEASURED.samples_ms])
    assert latency.notes == ("divided by 1.30, by which other work slowed the reference",)
    assert latency.reference_ms == 0.65  # as timed: a machine that has become slower for good is believed in time
    assert cache.get(model, IDENTITY) == latency


def test_what_other_work_slowed_a_little_on_a_gpu_is_refused(tmp_path: Path, model: Path) -> None:
    cache, device = LatencyCache(tmp_path / "latency.db"), SlowedDevice(*[0.65] * 3)
    device._identity = dataclasses.replace(IDENTITY, kind="cuda")
    for number in range(6):
        path = tmp_path / f"before-{number}.onnx"
        path.write_bytes(bytes([number]))
        cache.put(path, dataclasses.replace(MEASURED, device=device._identity))
    with pytest.raises(UnstableError, match=r"1\.30 times its quiet figure of 0.5 ms \(at most 1.15 times\)"):
        cache.measure(device, model, sleep=lambda _: None)


def test_a_device_that_is_slowed_more_often_than_not_is_still_known_to_be(tmp_path: Path, model: Path) -> None:
    cache, device = LatencyCache(tmp_path / "latency.db"), SlowedDevice(0.9, 0.9, 0.9)
    fill(cache, tmp_path, count=8, reference_ms=0.9)
    fill(cache, tmp_path, count=3, reference_ms=0.5)
    with pytest.raises(UnstableError, match=r"1\.80 times its quiet figure"):
        cache.measure(device, model, sleep=lambda _: None)


def test_another_device_s_references_say_nothing(tmp_path: Path, model: Path) -> None:
    cache, device = LatencyCache(tmp_path / "latency.db"), SlowedDevice(1.2)
    fill(cache, tmp_path, count=6)
    device._identity = dataclasses.replace(IDENTITY, board="z")
    assert cache.measure(device, model)[0].notes == ()


def test_a_reference_that_was_not_timed_in_turn_refuses_nothing(tmp_path: Path, model: Path) -> None:
    class Board(SlowedDevice):
        def measure(self, onnx_path: Path) -> Latency:
            return dataclasses.replace(super().measure(onnx_path), is_reference_in_turn=False)

    cache, device = LatencyCache(tmp_path / "latency.db"), Board(1.2)
    fill(cache, tmp_path, count=6)
    latency, _ = cache.measure(device, model)
    assert device.num_measured == 1
    assert latency.samples_ms == MEASURED.samples_ms
    assert cache.get(model, IDENTITY) is not None


def _write_garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def _write_other_tables(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE latency (city TEXT, minutes REAL)")


def _cut_off(path: Path) -> None:
    cache = LatencyCache(path)
    for number in range(50):
        model = path.with_name(f"{number}.onnx")
        model.write_bytes(bytes([number]))
        cache.put(model, MEASURED)
    path.write_bytes(path.read_bytes()[:-8192])


@pytest.mark.parametrize("damage", [_write_garbage, _write_other_tables, _cut_off])
def test_a_file_that_is_no_such_database_is_named_with_the_way_out(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "latency.db"
    damage(path)
    with pytest.raises(
        LatencyCacheError, match=r"latency\.db, which holds measured latencies, cannot be used: "
    ) as caught:
        LatencyCache(path).check()
    assert f"rm {path}" in caught.value.hint
    path.unlink()
    LatencyCache(path).check()


@pytest.mark.parametrize("row", ["{}", "[", "3", '{"samples_ms": ["x"], "device": {}}', None, b"\xff"])
def test_a_row_that_is_no_measurement_names_the_file(tmp_path: Path, row: object) -> None:
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"network")
    path = tmp_path / "latency.db"
    LatencyCache(path).put(onnx, MEASURED)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE other AS SELECT * FROM latency")  # without NOT NULL
        connection.execute("DROP TABLE latency")
        connection.execute("ALTER TABLE other RENAME TO latency")
        connection.execute("UPDATE latency SET measurement = ?", (row,))
    with pytest.raises(LatencyCacheError, match=r"latency\.db, which holds measured latencies, cannot be used"):
        LatencyCache(path).get(onnx, IDENTITY)
