"""Trying again while something is away: boards reboot, cables come loose, routers sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

from trials.latency.device import DeviceAwayError

Result = TypeVar("Result")

_FEWEST_ATTEMPTS = 4
"""Made even where they take longer than the patience: a build that was cut off late deserves another."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE = 1 / 12
"""As a share of the patience."""


def retry_while_away(
    work: Callable[[], Result],
    *,
    patience_s: float,
    reset: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Do some work, again and again while the device is away, with growing pauses.

    Args:
        work: May be done more than once.
        patience_s: How long from the first attempt's beginning; 0 for a single attempt.
        reset: Called between attempts: drops what may be broken.
        clock: Seconds.
        sleep: Waits.

    Raises:
        DeviceAwayError: it was still away; names attempts and seconds.
    """
    started, pause_s, attempt = clock(), _FIRST_PAUSE_S, 0
    while True:
        attempt += 1
        try:
            return work()
        except DeviceAwayError as error:
            waited = clock() - started
            if waited >= patience_s and (attempt >= _FEWEST_ATTEMPTS or patience_s == 0):
                tries = f" ({attempt} attempts in {waited:.0f} s)" if attempt > 1 else ""
                raise DeviceAwayError(f"{error.message}{tries}", hint=error.hint) from error
        reset()
        sleep(pause_s)
        pause_s = min(2 * pause_s, max(_FIRST_PAUSE_S, patience_s * _LONGEST_PAUSE))
