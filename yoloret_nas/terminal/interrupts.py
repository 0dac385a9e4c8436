"""Ctrl-C while a search runs: once to end after the running trials, twice to end now."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from search.driver.driver import StopRequest


@contextmanager
def interrupts(tell: Callable[[str], None]) -> Iterator[Callable[[], StopRequest]]:
    """Count interrupts instead of raising them while the block runs.

    Args:
        tell: Called with what an interrupt will do.

    Yields:
        A function that returns what the user has requested so far.
    """
    count = 0

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1 if number == signal.SIGINT else 2  # whoever sends SIGTERM does not wait
        if count == 1:
            tell("ending after the running trials; Ctrl-C again ends now (they are then run again on resume)")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: "no" if count == 0 else "finish" if count == 1 else "now"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
