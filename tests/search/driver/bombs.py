"""Names of datasets that do harm when a trial's process reads them; imported there, so nothing heavy here."""

import gc
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path, PosixPath


class Exits(str):
    """Ends the process without a word."""

    def __eq__(self, other: object) -> bool:
        os._exit(7)

    __hash__ = str.__hash__


class Kills(str):
    """Ends the process as the kernel does when memory is out."""

    def __eq__(self, other: object) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    __hash__ = str.__hash__


class KillsInMidMessage(str):
    """Ends the process when it has sent the head of a message and not yet the rest."""

    def __eq__(self, other: object) -> bool:
        for found in gc.get_objects():
            if type(found) is Connection and not found.closed:  # `isinstance` wakes lazy imports
                os.write(found.fileno(), (1000).to_bytes(4, "big") + b"the beginning")
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    __hash__ = str.__hash__


class Raises(str):
    """Raises what nobody foresaw."""

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("nobody foresaw this")

    __hash__ = str.__hash__


class Waits(str):
    """Writes the process's number into the file it is named after, and waits for ever."""

    def __eq__(self, other: object) -> bool:
        partial = Path(f"{self}.partial")
        partial.write_text(str(os.getpid()))
        partial.rename(self)
        while True:
            time.sleep(60)

    __hash__ = str.__hash__


class WaitsAtStart(PosixPath):
    """A trial's folder: where it would be made, writes the process's number into the file beside it and waits for ever.

    The trial does not hold the measurement lock then. One that holds it for ever would keep a second one from it as soon as
    any other process of this machine, such as another test, asks to measure.
    """

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        partial = Path(f"{self}.partial")
        partial.write_text(str(os.getpid()))
        partial.rename(f"{self}.pid")
        while True:
            time.sleep(60)


class TellsVariable(str):
    """Writes a variable of the environment into the file it is named after, and ends the process."""

    def __eq__(self, other: object) -> bool:
        Path(self).write_text(os.environ.get("A_VARIABLE", "none"))
        os._exit(0)

    __hash__ = str.__hash__
