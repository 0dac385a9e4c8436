"""A block that ends with the run; `test_lookups.py` has one that a signal ends."""

import signal
import threading

import pytest

from search.driver.interruption import ended_by_user
from search.study.errors import ProposalStoppedError


def test_a_block_does_not_begin_after_the_user_asked_to_end_now() -> None:
    before, done = signal.getsignal(signal.SIGINT), list[bool]()
    with pytest.raises(ProposalStoppedError), ended_by_user(lambda: "now"):
        done.append(True)
    with ended_by_user(lambda: "finish"):
        done.append(True)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_hears_no_signal_and_runs_its_block_to_the_end() -> None:
    done: list[bool] = []

    def work() -> None:
        with ended_by_user(lambda: "now"):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
