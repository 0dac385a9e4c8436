"""Retries while a device is away: boards reboot, cables come loose, routers sleep.

What outlasts the retries ends the trial (`trials.trial`), and `search.driver.driver` puts it back.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from trials.latency.device import DeviceAwayError

Result = TypeVar("Result")

_FEWEST_ATTEMPTS = 4
"""Attempts made even beyond `patience_s`, so that a build cut off late is repeated."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE = 1 / 12
"""As a share of `patience_s`."""


def retry_while_away(
    work: Callable[[], Result],
    *,
    patience_s: float,
    reset: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Call a function until the device is not away, with growing pauses.

    Args:
        work: The function; it may be called more than once.
        patience_s: Seconds from the first failure; 0 for a single attempt. They begin anew where one of the first attempts
            lasted longer than that before it failed: the device was there meanwhile, a board that builds for example.
        reset: Called between attempts to drop a broken connection.
        clock: Returns seconds.
        sleep: Waits for some seconds.

    Raises:
        DeviceAwayError: it was away at the last attempt; names attempts and seconds.
    """
    started, pause_s, attempt, away_since = clock(), _FIRST_PAUSE_S, 0, 0.0
    while True:
        attempt, began = attempt + 1, clock()
        try:
            return work()
        except DeviceAwayError as error:
            now = clock()
            if attempt == 1 or (attempt < _FEWEST_ATTEMPTS and now - began > patience_s):
                away_since = now
            if patience_s == 0 or (now - away_since >= patience_s and attempt >= _FEWEST_ATTEMPTS):
                tries = f" ({attempt} attempts in {now - started:.0f} s)" if attempt > 1 else ""
                raise DeviceAwayError(f"{error.message}{tries}", hint=error.hint) from error
        reset()
        sleep(pause_s)
        pause_s = min(2 * pause_s, max(_FIRST_PAUSE_S, patience_s * _LONGEST_PAUSE))
