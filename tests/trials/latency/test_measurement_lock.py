"""Two kinds of work on one machine: training, which gives way, and timing, which is alone."""

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trials.latency.measurement_lock import QuietMachine

PATIENCE_S = 20.0


class Log:
    """What happened, in order; every place in the room has open files of its own, as processes have."""

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


def test_who_trains_alone_or_in_company_is_never_held_up(tmp_path: Path) -> None:
    with QuietMachine(tmp_path) as one, QuietMachine(tmp_path) as other:
        for _ in range(3):
            one.step_aside()
            other.step_aside()


def test_who_measures_waits_until_the_others_step_aside_and_they_wait_until_it_is_done(tmp_path: Path) -> None:
    log, may_step, may_end = Log(), threading.Event(), threading.Event()

    def train() -> None:
        with QuietMachine(tmp_path) as machine:
            log.add("training")
            may_step.wait(PATIENCE_S)
            machine.step_aside()
            log.add("trains again")

    def measure() -> None:
        with QuietMachine(tmp_path) as machine:
            log.add("about to measure")
            with machine.alone():
                log.add("measuring")
                may_end.wait(PATIENCE_S)
                log.add("measured")
            machine.step_aside()

    trainer = start(train)
    log.wait_for("training")
    measurer = start(measure)
    log.wait_for("about to measure")
    measurer.join(0.1)
    assert "measuring" not in log.lines  # somebody is in the room
    may_step.set()
    log.wait_for("measuring")
    trainer.join(0.1)
    assert "trains again" not in log.lines
    may_end.set()
    join(trainer, measurer)
    assert log.lines.index("measured") < log.lines.index("trains again")


def test_two_measure_one_after_the_other(tmp_path: Path) -> None:
    log = Log()
    inside: list[int] = []

    def measure(number: int) -> Callable[[], None]:
        def work() -> None:
            with QuietMachine(tmp_path) as machine:
                for _ in range(5):
                    with machine.alone():
                        inside.append(number)
                        assert inside == [number]
                        inside.remove(number)
                    machine.step_aside()
            log.add(f"{number} is done")

        return work

    join(*(start(measure(number)) for number in range(3)))
    assert sorted(log.lines) == ["0 is done", "1 is done", "2 is done"]


def test_a_new_trial_does_not_come_in_while_somebody_measures(tmp_path: Path) -> None:
    log = Log()
    with QuietMachine(tmp_path) as machine:
        with machine.alone():

            def train() -> None:
                log.add("at the door")
                with QuietMachine(tmp_path):
                    log.add("inside")

            newcomer = start(train)
            log.wait_for("at the door")
            newcomer.join(0.1)
            assert "inside" not in log.lines
        log.wait_for("inside")
        join(newcomer)


def test_who_waits_for_somebody_who_measures_waits_outside(tmp_path: Path) -> None:
    """As a trial does that waits for its driver's answer: the driver may want to measure before it gives one."""
    answered = threading.Event()

    def drive() -> None:
        with QuietMachine(tmp_path) as driver, driver.alone():
            answered.set()

    with QuietMachine(tmp_path) as trial:
        driver = start(drive)
        driver.join(0.1)
        assert not answered.is_set()  # not while the trial is in the room
        with trial.outside():
            assert answered.wait(PATIENCE_S)
        join(driver)
        trial.step_aside()


def test_a_failed_measurement_gives_the_machine_back(tmp_path: Path) -> None:
    with QuietMachine(tmp_path) as machine, pytest.raises(ZeroDivisionError), machine.alone():
        raise ZeroDivisionError
    with QuietMachine(tmp_path) as other, other.alone():
        pass


def _hold_the_machine(folder: Path, is_alone: bool, ready: "multiprocessing.synchronize.Event") -> None:
    machine = QuietMachine(folder).__enter__()
    if is_alone:
        machine.alone().__enter__()
    ready.set()
    threading.Event().wait()


@pytest.mark.parametrize("is_alone", [False, True])
def test_a_killed_process_holds_nobody_up(tmp_path: Path, is_alone: bool) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold_the_machine, args=(tmp_path, is_alone, ready), daemon=True)
    holder.start()
    assert ready.wait(PATIENCE_S * 3)
    holder.kill()
    holder.join()
    with QuietMachine(tmp_path) as machine, machine.alone():
        pass
