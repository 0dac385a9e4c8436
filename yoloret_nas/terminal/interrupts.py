"""Ctrl-C while a search or an experiment runs: once to end after the running trials, twice to end now."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from search.driver.interruption import StopRequest
from yoloret_nas.terminal.hang_up import drop_terminal


@contextmanager
def interrupts(
    tell: Callable[[str], None],
    is_open: Callable[[], bool],
    *,
    running: str = "trials",
    ended_now: str = "are then run again on resume",
) -> Iterator[Callable[[], StopRequest]]:
    """Count interrupts instead of raising them while the block runs.

    Only the main thread hears interrupts; in another one they keep their effect.

    Args:
        tell: Called with what an interrupt will do.
        is_open: Whether trials can run already; before, a second interrupt is raised.
        running: What runs, for people.
        ended_now: What becomes of those that a second interrupt ends.

    Yields:
        A function that returns what the user has requested so far.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: "no"
        return
    count = 0

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal count
        if number == signal.SIGHUP:
            drop_terminal()
        count += (
            1 if number == signal.SIGINT else 2
        )  # the sender of SIGTERM does not wait, nobody is at a closed terminal
        if count > 1 and not is_open():
            raise KeyboardInterrupt
        if count > 1:
            tell("ending now")
        elif is_open():
            tell(f"ending after the running {running}; Ctrl-C again ends now (they {ended_now})")
        else:
            tell("ending once the study is open; Ctrl-C again ends now")

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield lambda: "no" if count == 0 else "finish" if count == 1 else "now"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
