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


class SharedDevice(Device):
    """Other work makes it take so many times as long, network and reference alike, measurement after measurement."""

    def __init__(self, *slowdowns: float, identity: DeviceIdentity = IDENTITY) -> None:
        super().__init__(identity=identity)
        self._slowdowns = slowdowns

    def measure(self, onnx_path: Path) -> Latency:
        slowdown = self._slowdowns[self.num_measured]
        measured = super().measure(onnx_path)
        samples_ms = tuple(sample * slowdown for sample in measured.samples_ms)
        return dataclasses.replace(measured, samples_ms=samples_ms, reference_ms=0.5 * slowdown, notes=())


def measure_all(cache: LatencyCache, device: Device, folder: Path, *, count: int) -> list[Latency]:
    """Measure so many networks for the first time."""
    measured = []
    for _ in range(count):
        path = folder / f"network-{len(list(folder.glob('network-*')))}.onnx"
        path.write_text(path.name)
        latency, is_known = cache.measure(device, path, sleep=lambda _: None)
        assert (is_known, cache.get(path, device.identity())) == (False, latency)
        measured.append(latency)
    return measured


def test_a_network_has_one_latency_however_busy_the_machine_is(tmp_path: Path) -> None:
    slowdowns = (1.0, 1.05, 1.149, 1.151, 1.3, 0.9, 0.7, *[1.4] * 30, 1.0, 1.5)
    cache, device = LatencyCache(tmp_path / "latency.db"), SharedDevice(*slowdowns)
    measured = measure_all(cache, device, tmp_path, count=len(slowdowns))
    for latency, slowdown in zip(measured, slowdowns, strict=True):
        assert latency.samples_ms == pytest.approx(MEASURED.samples_ms)
        assert latency.slowdown == pytest.approx(slowdown)
        assert latency.reference_ms == 0.5 * slowdown  # as it was timed


def test_a_latency_that_was_divided_by_much_says_so(tmp_path: Path) -> None:
    cache, device = LatencyCache(tmp_path / "latency.db"), SharedDevice(1.0, 1.14, 0.88, 1.3, 0.8)
    notes = [latency.notes for latency in measure_all(cache, device, tmp_path, count=5)]
    assert notes[:3] == [(), (), ()]
    assert notes[3:] == [
        ("divided by 1.30, since the reference took so many times its first time",),
        ("divided by 0.80, since the reference took so many times its first time",),
    ]


@pytest.mark.parametrize(
    ("slowdowns", "pauses_s"), [((1.5,), [0]), ((1.6, 1.2), [0, 10]), ((2.4, 1.6, 1.0), [0, 10, 20])]
)
def test_what_other_work_slowed_much_is_measured_again_after_a_pause(
    tmp_path: Path, model: Path, slowdowns: tuple[float, ...], pauses_s: list[float]
) -> None:
    cache, slept = LatencyCache(tmp_path / "latency.db"), list[float]()
    measure_all(cache, SharedDevice(1.0), tmp_path, count=1)
    device = SharedDevice(*slowdowns)
    latency, was_known = cache.measure(device, model, sleep=slept.append)
    assert (slept, was_known, device.num_measured) == (pauses_s, False, len(slowdowns))
    assert latency.slowdown == pytest.approx(slowdowns[-1])
    assert latency == cache.get(model, IDENTITY)


def test_what_other_work_slowed_much_every_time_is_refused(tmp_path: Path, model: Path) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    measure_all(cache, SharedDevice(1.0), tmp_path, count=1)
    with pytest.raises(
        UnstableError,
        match=r"slowed device cpu in 3 measurements of model.onnx: the reference network took 1.80 times as long as at "
        r"first \(at most 1.5 times\)",
    ):
        cache.measure(SharedDevice(1.6, 2.4, 1.8), model, sleep=lambda _: None)
    assert cache.get(model, IDENTITY) is None


@pytest.mark.parametrize(
    "identity",
    [dataclasses.replace(IDENTITY, kind="cuda"), dataclasses.replace(IDENTITY, settings={"threads": "2"})],
    ids=["a GPU", "two threads"],
)
def test_what_other_work_slowed_is_refused_where_a_division_was_not_measured(
    tmp_path: Path, model: Path, identity: DeviceIdentity
) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    _, slower = measure_all(cache, SharedDevice(1.0, 1.1, identity=identity), tmp_path, count=2)
    assert slower.samples_ms == pytest.approx([1.1 * sample for sample in MEASURED.samples_ms])
    assert slower.slowdown == 1.0
    with pytest.raises(UnstableError, match=r"took 1\.30 times as long as at best \(at most 1.15 times\)"):
        cache.measure(SharedDevice(*[1.3] * 3, identity=identity), model, sleep=lambda _: None)
    # A first measurement in a busy moment is no measure for ever.
    measure_all(cache, SharedDevice(0.8, identity=identity), tmp_path, count=1)
    with pytest.raises(UnstableError, match=r"took 1\.25 times as long as at best"):
        cache.measure(SharedDevice(*[1.0] * 3, identity=identity), model, sleep=lambda _: None)


def test_another_device_has_its_own_scale(tmp_path: Path) -> None:
    cache = LatencyCache(tmp_path / "latency.db")
    measure_all(cache, SharedDevice(1.0), tmp_path, count=1)
    other = SharedDevice(3.0, identity=dataclasses.replace(IDENTITY, board="z"))
    (latency,) = measure_all(cache, other, tmp_path, count=1)
    assert latency.slowdown == 1.0


def test_all_files_of_a_folder_have_one_scale(tmp_path: Path) -> None:
    measure_all(LatencyCache(tmp_path / "latency-refit.db"), SharedDevice(1.0), tmp_path, count=1)
    for name in ("latency.db", "latency-refit.db", "latency-other.db"):
        (latency,) = measure_all(LatencyCache(tmp_path / name), SharedDevice(1.3), tmp_path, count=1)
        assert latency.slowdown == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("change", "slowdown"),
    [({}, 1.2), ({"backend": "OpenVINO 2026"}, 1.2), ({"board": "z"}, 1.0), ({"settings": {"threads": "2"}}, 1.0)],
)
def test_another_folder_s_scale_is_taken_for_the_same_processor(tmp_path: Path, change: dict, slowdown: float) -> None:
    _, searched = measure_all(LatencyCache(tmp_path / "latency.db"), SharedDevice(1.0, 0.8), tmp_path, count=2)
    identity = dataclasses.replace(IDENTITY, **change)
    cache = LatencyCache(tmp_path / "export" / "latency.db", scale=searched)
    (latency,) = measure_all(cache, SharedDevice(1.2, identity=identity), tmp_path, count=1)
    assert latency.slowdown == pytest.approx(slowdown)


def test_a_run_keeps_its_scale_in_a_folder_that_has_another(tmp_path: Path, model: Path) -> None:
    """What lies there is brought to it, and what is measured for it to the folder's."""
    folder = LatencyCache(tmp_path / "latency.db")
    (first,) = measure_all(LatencyCache(tmp_path / "before" / "latency.db"), SharedDevice(1.0), tmp_path, count=1)
    folder.measure(SharedDevice(1.3), model)
    of_run = LatencyCache(tmp_path / "latency.db", scale=first)
    known, was_known = of_run.measure(SharedDevice(), model)
    assert was_known
    assert known.samples_ms == pytest.approx(MEASURED.samples_ms)
    assert known.notes == ("divided by 1.30, since the reference took so many times its first time",)
    (latency,) = measure_all(of_run, SharedDevice(1.2), tmp_path, count=1)
    assert latency.samples_ms == pytest.approx(MEASURED.samples_ms)
    assert latency.slowdown == pytest.approx(1.2)
    of_folder = folder.get(tmp_path / "network-1.onnx", IDENTITY)
    assert of_folder is not None
    assert of_folder.samples_ms == pytest.approx([1.3 * sample for sample in MEASURED.samples_ms])
    assert of_folder.notes == ()
    model.write_bytes(b"another network")
    with pytest.raises(UnstableError, match=r"took 1\.60 times as long as at first"):  # 1.23 of the folder's
        of_run.measure(SharedDevice(*[1.6] * 3), model, sleep=lambda _: None)


def test_a_new_folder_takes_the_scale_of_the_run_that_measures_there_first(tmp_path: Path) -> None:
    (first,) = measure_all(LatencyCache(tmp_path / "before" / "latency.db"), SharedDevice(1.0), tmp_path, count=1)
    measure_all(LatencyCache(tmp_path / "latency.db", scale=first), SharedDevice(1.3), tmp_path, count=1)
    (latency,) = measure_all(LatencyCache(tmp_path / "latency.db"), SharedDevice(1.2), tmp_path, count=1)
    assert latency.slowdown == pytest.approx(1.2)


def test_a_scale_is_shared_only_where_latencies_are_divided(tmp_path: Path, model: Path) -> None:
    identity = dataclasses.replace(IDENTITY, kind="cuda")
    (searched,) = measure_all(
        LatencyCache(tmp_path / "latency.db"), SharedDevice(1.0, identity=identity), tmp_path, count=1
    )
    cache = LatencyCache(tmp_path / "export" / "latency.db", scale=searched)
    cache.measure(SharedDevice(1.3, identity=identity), model)  # a week later, on a slower GPU: it is not refused


def test_a_reference_that_was_not_timed_in_turn_says_nothing(tmp_path: Path, model: Path) -> None:
    class Board(SharedDevice):
        def measure(self, onnx_path: Path) -> Latency:
            return dataclasses.replace(super().measure(onnx_path), is_reference_in_turn=False)

    cache = LatencyCache(tmp_path / "latency.db")
    latencies = measure_all(cache, Board(1.0, 2.4), tmp_path, count=2)
    assert [latency.slowdown for latency in latencies] == [1.0, 1.0]
    assert latencies[1].median_ms == pytest.approx(2.4 * latencies[0].median_ms)
    (latency,) = measure_all(
        LatencyCache(tmp_path / "latency.db", scale=latencies[0]), SharedDevice(1.6), tmp_path, count=1
    )
    assert latency.slowdown == 1.0  # it is the first


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
