"""Ctrl-C, as the terminal sends it."""

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from yoloret_nas.terminal.interrupts import interrupts


def test_one_interrupt_finishes_and_two_end_now() -> None:
    told: list[str] = []
    with interrupts(told.append, lambda: True) as requested:
        assert requested() == "no"
        os.kill(os.getpid(), signal.SIGINT)
        assert requested() == "finish"
        os.kill(os.getpid(), signal.SIGINT)
        assert requested() == "now"
    assert [line.split(";")[0] for line in told] == ["ending after the running trials", "ending now"]


def test_it_says_what_becomes_of_what_runs() -> None:
    told: list[str] = []
    with interrupts(told.append, lambda: True, running="trainings", ended_now="resume after their last whole epoch"):
        os.kill(os.getpid(), signal.SIGINT)
    assert told == [
        "ending after the running trainings; Ctrl-C again ends now (they resume after their last whole epoch)"
    ]


def test_sigterm_does_not_wait() -> None:
    with interrupts(lambda message: None, lambda: True) as requested:
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested() == "now"


def test_a_terminal_that_closes_does_not_wait_and_is_not_written_to() -> None:
    told: list[str] = []
    with interrupts(told.append, lambda: True) as requested:
        os.kill(os.getpid(), signal.SIGHUP)
        assert requested() == "now"
    program = "from yoloret_nas.terminal.hang_up import drop_terminal; drop_terminal(); print('lost', flush=True)"
    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-c", program], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (0, "")
    with pytest.raises(OSError, match="Input/output error"):  # nothing was written, and nobody writes any more
        os.read(ours, 100)
    os.close(ours)


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts(pytest.fail, lambda: True) as requested:
            os.kill(os.getpid(), signal.SIGHUP)
            assert requested() == "no"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_before_trials_can_run_the_second_interrupt_is_raised() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell runs the tests in the background
    told: list[str] = []

    def interrupt_twice() -> None:
        with interrupts(told.append, lambda: False) as requested:
            os.kill(os.getpid(), signal.SIGINT)
            assert requested() == "finish"
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupt_twice()
    assert told == ["ending once the study is open; Ctrl-C again ends now"]
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_hears_no_interrupts_and_changes_none() -> None:
    before = signal.getsignal(signal.SIGINT)
    requested: list[str] = []

    def search() -> None:
        with interrupts(lambda message: None, lambda: True) as requested_now:
            requested.append(requested_now())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert requested == ["no"]
    assert signal.getsignal(signal.SIGINT) is before
