"""The user's wish to end a run, and a block of the driver's own work that it ends at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

from search.study.errors import ProposalStoppedError

StopRequest = Literal["no", "finish", "now"]
"""Whether the user wants to end, after the running trials or at once."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_user(stop_requested: Callable[[], StopRequest]) -> Iterator[None]:
    """End the block as soon as a signal asks to end now: a measurement, which asks nobody, may take hours.

    Signals are heard as before. Only the main thread hears any; in another one the block runs to its end.

    Args:
        stop_requested: Whether the user wants to end, once the signal was heard.

    Raises:
        ProposalStoppedError: the user wants to end now.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Callable[[int, FrameType | None], Any]] = {
        number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))
    }

    is_over = False

    def hear(number: int, frame: FrameType | None) -> None:
        before[number](number, frame)
        if stop_requested() == "now" and not is_over:
            raise ProposalStoppedError

    try:
        for number in before:
            signal.signal(number, hear)
        if stop_requested() == "now":  # heard just before
            raise ProposalStoppedError
        yield
    finally:
        is_over = True  # a signal between two of these lines
        for number, handler in before.items():
            signal.signal(number, handler)
