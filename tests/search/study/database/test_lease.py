"""Drivers on two hosts, whose file system may not lock between them: one drives a study, the other is told."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import optuna
import pytest

from search.study.database import lease
from search.study.database.lease import PATIENCE_S, Lease
from search.study.database.storage import open_storage
from search.study.errors import StudyError, TakenOverError
from tests.search.conftest import MakeSettings

Open = Callable[..., Lease]


@pytest.fixture
def on_host(settings: MakeSettings) -> Open:
    """Opens a study's lease as on a host, with an unlocked folder as some network file systems have it."""
    optuna.create_study(study_name="study", storage=open_storage(settings().root))

    def open_lease(host: str, sleep: Callable[[float], None] = lambda seconds: None) -> Lease:
        study = optuna.load_study(study_name="study", storage=open_storage(settings().root))
        return Lease(study, host=host, sleep=sleep)

    return open_lease


def note(found: Lease, **changes: object) -> None:
    """Change what is noted of a lease's driver."""
    held = found._held()
    assert held is not None
    found._study.set_user_attr("driver", {**held, **changes})


def test_a_driver_on_another_host_that_lives_is_named(on_host: Open) -> None:
    first, waited = on_host("one"), []
    first.take(pytest.fail)

    def beat(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            note(first, beat=7)

    told: list[str] = []
    with pytest.raises(StudyError, match=r"'study' is being searched by process \d+ on one") as refused:
        on_host("two", beat).take(told.append)
    assert "wait for it, or choose another --study" in refused.value.hint
    assert sum(waited) < PATIENCE_S
    assert [line.startswith("process ") and "on one searched this study last" in line for line in told] == [True]
    first.check()  # the second one has changed nothing
    first.release()


def test_a_driver_on_another_host_that_gives_no_sign_of_life_is_passed_over(on_host: Open) -> None:
    first, waited = on_host("one"), []
    first.take(pytest.fail)
    second = on_host("two", waited.append)
    second.take(lambda message: None)
    assert sum(waited) == PATIENCE_S
    second.check()
    with pytest.raises(StudyError, match=r"process \d+ on two has taken over study 'study'"):
        first.check()
    first.release()  # too late: it is not its own any more
    second.check()
    second.release()
    with pytest.raises(TakenOverError, match="another process has taken over study 'study'"):
        first.check()


def test_a_driver_that_ended_leaves_the_study_free_everywhere(on_host: Open) -> None:
    first = on_host("one")
    first.take(pytest.fail)
    first.release()
    on_host("two", pytest.fail).take(pytest.fail)


def test_a_driver_that_ends_while_another_one_waits_for_its_sign_of_life(on_host: Open) -> None:
    first, waited = on_host("one"), []
    first.take(pytest.fail)

    def end(seconds: float) -> None:
        waited.append(seconds)
        first.release()

    on_host("two", end).take(lambda message: None)
    assert len(waited) == 1


def test_a_dead_process_of_this_host_is_passed_over_at_once_and_a_living_one_is_not(on_host: Open) -> None:
    first = on_host("one")
    first.take(pytest.fail)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        identity = lease.identify(other.pid)
        note(first, process=identity)
        with pytest.raises(StudyError, match=f"is being searched by process {other.pid} on one"):
            on_host("one", pytest.fail).take(pytest.fail)
        other.kill()
    on_host("one", pytest.fail).take(pytest.fail)
    note(first, process="1-0")  # the number is another process's now
    on_host("one", pytest.fail).take(pytest.fail)


def test_a_driver_gives_signs_of_life_until_it_ends_or_is_passed_over(
    on_host: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.01)
    first, others = on_host("one"), set(threading.enumerate())
    first.take(pytest.fail)
    (beating,) = (one for one in set(threading.enumerate()) - others if one.name == "lease")
    until = time.monotonic() + 60.0
    while (held := first._held()) is None or held["beat"] < 2:
        assert time.monotonic() < until, "it gives no sign of life"
        time.sleep(0.01)
    while beating.is_alive():  # a sign of life that it was just giving overwrites the note
        assert time.monotonic() < until, "it does not heed that another one has taken over"
        note(first, host="two", beat=0)
        beating.join(0.1)
    held = first._held()
    assert held is not None
    assert (held["host"], held["beat"]) == ("two", 0)
