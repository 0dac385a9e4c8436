"""Training on a machine yields to measurements, and a measurement runs alone."""

import fcntl
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.trials.latency.locked import is_measuring, may_measure
from trials.latency import DeviceAwayError
from trials.latency.measurement_lock import FOLDER_VARIABLE, MeasurementLock

PATIENCE_S = 20.0


class Log:
    """What happened, in order; each lock has open files of its own, as processes have."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def add(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for(self, line: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: line in self.lines, PATIENCE_S), f"{line} did not happen"


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_trainings_never_block_each_other(tmp_path: Path) -> None:
    one_lock, other_lock = (MeasurementLock(tmp_path, patience_s=0.0) for _ in range(2))
    with one_lock.shared() as one, other_lock.shared() as other:
        for _ in range(3):
            one.yield_to_measurement()
            other.yield_to_measurement()


def test_a_measurement_waits_until_trainings_yield_and_they_wait_until_it_is_done(tmp_path: Path) -> None:
    log, may_step, may_end = Log(), threading.Event(), threading.Event()

    def train() -> None:
        with MeasurementLock(tmp_path).shared() as lock:
            log.add("training")
            may_step.wait(PATIENCE_S)
            lock.yield_to_measurement()
            log.add("trains again")

    def measure() -> None:
        with MeasurementLock(tmp_path).shared() as lock:
            log.add("about to measure")
            with lock.exclusive():
                log.add("measuring")
                may_end.wait(PATIENCE_S)
                log.add("measured")
            lock.yield_to_measurement()

    trainer = start(train)
    log.wait_for("training")
    measurer = start(measure)
    log.wait_for("about to measure")
    measurer.join(0.1)
    assert "measuring" not in log.lines  # the training holds the lock
    may_step.set()
    log.wait_for("measuring")
    trainer.join(0.1)
    assert "trains again" not in log.lines
    may_end.set()
    join(trainer, measurer)
    assert log.lines.index("measured") < log.lines.index("trains again")


def test_measurements_run_one_after_the_other(tmp_path: Path) -> None:
    inside: list[int] = []
    seen: list[tuple[int, ...]] = []

    def measure(number: int) -> Callable[[], None]:
        def work() -> None:
            with MeasurementLock(tmp_path).shared() as lock:
                for _ in range(5):
                    with lock.exclusive():
                        inside.append(number)
                        time.sleep(0.005)  # in which others could begin
                        seen.append(tuple(inside))
                        inside.remove(number)
                    lock.yield_to_measurement()

        return work

    join(*(start(measure(number)) for number in range(3)))
    assert sorted(seen) == [(number,) for number in range(3) for _ in range(5)]


def test_a_new_trial_waits_while_another_measures(tmp_path: Path) -> None:
    log = Log()
    with MeasurementLock(tmp_path).shared() as lock:
        with lock.exclusive():

            def train() -> None:
                log.add("about to train")
                with MeasurementLock(tmp_path).shared():
                    log.add("training")

            newcomer = start(train)
            log.wait_for("about to train")
            newcomer.join(0.1)
            assert "training" not in log.lines
        log.wait_for("training")
        join(newcomer)


def test_a_trial_that_waits_for_its_driver_releases_the_lock(tmp_path: Path) -> None:
    """The driver may measure before it answers."""
    answered = threading.Event()

    def drive() -> None:
        with MeasurementLock(tmp_path).shared() as driver, driver.exclusive():
            answered.set()

    with MeasurementLock(tmp_path).shared() as trial:
        driver = start(drive)
        driver.join(0.1)
        assert not answered.is_set()  # the trial holds the lock
        with trial.released():
            assert answered.wait(PATIENCE_S)
        join(driver)
        trial.yield_to_measurement()


def test_a_failed_measurement_releases_the_lock(tmp_path: Path) -> None:
    with MeasurementLock(tmp_path).shared() as lock, pytest.raises(ZeroDivisionError), lock.exclusive():
        raise ZeroDivisionError
    with MeasurementLock(tmp_path, patience_s=0.0).shared() as other, other.exclusive():
        pass


def _hold_the_lock(folder: Path, is_exclusive: bool, ready: "multiprocessing.synchronize.Event") -> None:
    with MeasurementLock(folder).shared() as lock, lock.exclusive() if is_exclusive else nullcontext():
        ready.set()
        threading.Event().wait()


@pytest.mark.parametrize("is_exclusive", [False, True])
def test_a_killed_process_blocks_nobody(tmp_path: Path, is_exclusive: bool) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold_the_lock, args=(tmp_path, is_exclusive, ready), daemon=True)
    holder.start()
    assert ready.wait(PATIENCE_S * 3)
    holder.kill()
    holder.join()
    with MeasurementLock(tmp_path, patience_s=PATIENCE_S).shared() as lock, lock.exclusive():
        pass


def test_a_training_that_never_pauses_does_not_hold_up_a_measurement_for_ever(tmp_path: Path) -> None:
    """It may hang, or its user may have suspended it."""
    with MeasurementLock(tmp_path).shared() as training:
        with (
            MeasurementLock(tmp_path, patience_s=0.1).shared() as lock,
            pytest.raises(DeviceAwayError, match="cannot measure on this machine: another process trains or measures"),
            lock.exclusive(),
        ):
            pass
        training.yield_to_measurement()  # the measurement that gave up holds nothing


def test_a_measurement_that_never_ends_does_not_hold_up_a_training_for_ever(tmp_path: Path) -> None:
    with (
        MeasurementLock(tmp_path, patience_s=0.1).shared() as training,
        training.released(),
        MeasurementLock(tmp_path).shared() as lock,
        lock.exclusive(),
    ):
        with pytest.raises(DeviceAwayError, match="this machine is not free: another process measures on it"):
            training.yield_to_measurement()
        with (
            pytest.raises(DeviceAwayError, match="another process measures"),
            MeasurementLock(tmp_path, patience_s=0.1).shared(),
        ):
            pass


def test_who_waited_in_vain_to_measure_regains_the_lock_before_it_trains(tmp_path: Path) -> None:
    with MeasurementLock(tmp_path, patience_s=0.0).shared() as lock:
        with (tmp_path / "yoloret-nas-measurement-request.lock").open() as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(DeviceAwayError, match="another process trains or measures"), lock.exclusive():
                pass
        lock.regain()
        assert not may_measure(tmp_path)
        lock.regain()
        assert not may_measure(tmp_path)
    assert may_measure(tmp_path)


def test_the_lock_is_the_machine_s_unless_the_environment_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "user's own"))
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert {path.parent for path in MeasurementLock()._paths} == {Path("/tmp")}
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with MeasurementLock().shared() as lock, lock.exclusive():
        assert is_measuring(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "not yet there"))
    with MeasurementLock().shared() as lock, lock.exclusive():
        assert is_measuring(tmp_path / "not yet there")
    monkeypatch.setenv(FOLDER_VARIABLE, "")  # as unset: not the folder one works in
    assert {path.parent for path in MeasurementLock()._paths} == {Path("/tmp")}


def test_any_user_may_take_the_lock(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with MeasurementLock(tmp_path).shared():
            assert [path.stat().st_mode & 0o777 for path in tmp_path.glob("*.lock")] == [0o666] * 2
    finally:
        os.umask(before)


def test_a_link_in_the_lock_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "yoloret-nas-measurement.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), MeasurementLock(tmp_path).shared():
        pass
    assert not (tmp_path / "victim").exists()


def test_a_training_finishes_its_gpu_work_before_a_measurement_begins(tmp_path: Path) -> None:
    finished: list[str] = []
    with (
        MeasurementLock(tmp_path, finish=lambda: finished.append("training")).shared() as training,
        MeasurementLock(tmp_path).shared() as other,
    ):
        training.yield_to_measurement()
        assert finished == []
        with training.released(), other.exclusive():
            assert finished == ["training"]
