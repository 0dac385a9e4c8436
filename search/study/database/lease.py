"""The lease of a study: which driver has it, noted in its database, so that drivers on other hosts are told.

A lock of the file system (`search.study.lock`) is dropped with its holder, but not every network file system has it between
hosts. So the driver also notes itself in the study, and counts up every few seconds while it lives. No clock is compared:
hosts' clocks differ, and jump.
"""

import os
import platform
import threading
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from search.study.errors import StudyError, TakenOverError
from trials.processes import boot, container, identify, is_alive

BEAT_S = 10.0
"""Between two signs of life."""
PATIENCE_S = 60.0
"""A driver on another host that gives no sign of life for so long is dead."""
_GLANCE_S = 1.0
_ATTRIBUTE = "driver"


class Lease:
    """A driver's hold of a study.

    Args:
        study: The study.
        host: Name of this host.
        sleep: Waits for some seconds.
    """

    def __init__(
        self, study: optuna.Study, *, host: str | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._study, self._sleep = study, sleep
        self._own = {
            "host": host or platform.node(),
            "boot": f"{boot()} {container()}",
            "process": identify(os.getpid()),
        }
        self._is_taken = False
        self._over = threading.Event()

    def take(self, notice: Callable[[str], None]) -> None:
        """Note this process as the study's driver, until `release`.

        A dead process of this host is passed over at once; one of another host, or of before this host's start, after a
        minute without a sign of life.

        Args:
            notice: Called with a note for the user before such a wait.

        Raises:
            StudyError: another process drives the study.
        """
        held = self._held()
        if held and self._is_here(held):
            if held["process"] != self._own["process"] and is_alive(held["process"]):
                raise self._refusal(held)
        elif held:
            notice(
                f"{_in_words(held)} searched this study last and did not end; waiting up to {PATIENCE_S:.0f} s for a sign "
                "of life"
            )
            for _ in range(round(PATIENCE_S / _GLANCE_S)):
                self._sleep(_GLANCE_S)
                now = self._held()
                if now and now != held:
                    raise self._refusal(now)
                if now is None:  # it has ended meanwhile
                    break
        self._beat(0)
        self._is_taken = True
        threading.Thread(target=self._live, name="lease", daemon=True).start()

    def check(self) -> None:
        """Make sure that this process still is the driver, before it changes the study.

        Raises:
            TakenOverError: another one has taken over, since this one was suspended for too long, for example.
        """
        held = self._held()
        if not self._is_own(held) if held else self._is_taken:  # without a holder: the other one has ended already
            raise TakenOverError(
                f"{_in_words(held) if held else 'another process'} has taken over study {self._study.study_name!r}: this "
                f"process had given no sign of life for {PATIENCE_S:.0f} s",
                hint="its search continues there; every trial finished before is kept",
            )

    def release(self) -> None:
        """Let others drive the study; harmless when repeated, and without `take`."""
        self._over.set()
        held = self._held()
        if held is not None and self._is_own(held):
            self._study.set_user_attr(_ATTRIBUTE, None)

    def _live(self) -> None:
        count = 0
        while not self._over.wait(BEAT_S):
            count += 1
            try:
                held = self._held()
                if held is None or not self._is_own(held):
                    return  # `check` says so
                self._beat(count)
            except (StorageInternalError, SQLAlchemyError):
                continue  # the disk is full, for example: the driver's own writes tell

    def _beat(self, count: int) -> None:
        self._study.set_user_attr(_ATTRIBUTE, {**self._own, "beat": count})

    def _held(self) -> dict[str, Any] | None:
        return self._study.user_attrs.get(_ATTRIBUTE)

    def _is_own(self, held: dict[str, Any]) -> bool:
        return self._is_here(held) and bool(held["process"] == self._own["process"])

    def _is_here(self, held: dict[str, Any]) -> bool:
        return all(held[name] == self._own[name] for name in ("host", "boot"))

    def _refusal(self, held: dict[str, Any]) -> StudyError:
        return StudyError(
            f"study {self._study.study_name!r} is being searched by {_in_words(held)}",
            hint="wait for it, or choose another --study",
        )


def other_host(study: optuna.Study) -> str:
    """Return the host of the driver that a study notes, where that is not this one; empty without a driver."""
    held = study.user_attrs.get(_ATTRIBUTE)
    return str(held["host"]) if held and held["host"] != platform.node() else ""


def _in_words(held: dict[str, Any]) -> str:
    return f"process {held['process'].partition('-')[0]} on {held['host']}"
