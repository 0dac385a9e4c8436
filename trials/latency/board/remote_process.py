"""A command on another host: the running process with its heartbeat, and its result."""

import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from trials.latency.device import DeviceAwayError, DeviceError, UnusableDeviceError

BEAT_S = 10.0
"""Seconds between two heartbeats; the board gives up after missing four."""
_MOST_OUTPUT = 128 * 2**20
_LOST = 255
"""ssh's exit status for a failed transport."""

_FINAL = (
    ("Host key verification failed", "accept the board's host key once: run ssh to it by hand"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "check that it is your board, then follow ssh's advice"),
    (
        "Permission denied",
        "log in without a password: run ssh-copy-id, load a key that has a passphrase by ssh-add, or name your key in the "
        "ssh_config",
    ),
    ("Too many authentication failures", "name the key to use in the ssh_config (IdentityFile, IdentitiesOnly)"),
    ("Bad configuration option", "correct your ssh_config"),
    ("terminating,", "correct your ssh_config"),
)
"""Messages of ssh that a retry cannot mend, and hints for them."""


@dataclass(frozen=True, kw_only=True)
class RemoteResult:
    """An ended command on a host."""

    host: str
    """As the user names it."""
    command: str
    """Its purpose."""
    exit_status: int | None
    """None for a command cut off at its time limit."""
    stdout: str
    stderr: str
    seconds: float
    """Wall-clock time including transport."""


@dataclass(kw_only=True, eq=False)
class RemoteProcess:
    """A running command on a host."""

    process: subprocess.Popen[bytes]
    host: str
    """As the user names it."""
    what: str
    """Its purpose."""
    output: tuple[IO[bytes], IO[bytes]]
    """The files of its standard output and error."""
    beat_all: Callable[[], None]
    """Sends a heartbeat to every command on the host."""
    clock: Callable[[], float]
    """Returns seconds."""

    def __post_init__(self) -> None:
        self._started = self.clock()

    def wait(self, limit_s: float) -> RemoteResult:
        """Wait for its end while sending heartbeats.

        Raises:
            DeviceAwayError: the connection broke.
            UnusableDeviceError: ssh failed for a reason that a retry cannot mend.
            DeviceError: the output is too long.
        """
        until = self._started + limit_s
        self.beat_all()  # of many short commands none lasts until the next one
        while (left := until - self.clock()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(min(left, BEAT_S))
                break
            self.beat_all()
            self._check_size()
        return self._result()

    def wait_for(self, words: tuple[str, ...], limit_s: float) -> list[str]:
        """Wait, while sending heartbeats, for an output line that starts with one of some words.

        Returns:
            All lines up to this one.

        Raises:
            DeviceAwayError: the connection broke first.
            RemoteEndError: the command ended first, or the time ran out.
        """
        until, beaten = self._started + limit_s, self.clock()
        while True:
            lines = self._read(0).splitlines(keepends=True)
            found = [n for n, line in enumerate(lines) if line.startswith(words) and line.endswith("\n")]
            if found:
                return [line.rstrip("\n") for line in lines[: found[0] + 1]]
            if self.process.poll() is not None or self.clock() > until:
                raise RemoteEndError(self._result())
            if self.clock() - beaten > BEAT_S:
                self.beat_all()
                beaten = self.clock()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)

    def beat(self) -> None:
        """Send a heartbeat."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(b"\n")
                self.process.stdin.flush()

    def end(self) -> None:
        """Close its input and end it; may be called after its end."""
        end_process(self.process)

    def _check_size(self) -> None:
        if os.fstat(self.output[0].fileno()).st_size > _MOST_OUTPUT:
            self.process.kill()
            raise DeviceError(f"{self.what} on {self.host} wrote more than {_MOST_OUTPUT >> 20} MiB of output")

    def _result(self) -> RemoteResult:
        status = self.process.poll()
        result = RemoteResult(
            host=self.host,
            command=self.what,
            exit_status=status,
            stdout=self._read(0),
            stderr=self._read(1),
            seconds=self.clock() - self._started,
        )
        if status is None:
            self.process.kill()
        elif status == _LOST or status < 0:
            raise explain_loss(result.host, result.stderr, seconds=result.seconds, what=self.what)
        return result

    def _read(self, which: int) -> str:
        size = os.fstat(self.output[which].fileno()).st_size
        return os.pread(self.output[which].fileno(), min(size, _MOST_OUTPUT), 0).decode(errors="replace")


class RemoteEndError(Exception):
    """A command ended, or its time ran out, before the expected line."""

    def __init__(self, result: RemoteResult) -> None:
        super().__init__(result.command)
        self.result = result


def explain_loss(host: str, said: str, *, seconds: float, what: str = "") -> DeviceError:
    """Return the error for a failed transport: `DeviceAwayError` where a retry may help, else `UnusableDeviceError`."""
    words = " ".join(line.strip() for line in said.splitlines() if line.strip() and "ControlSocket" not in line)[-400:]
    while_ = f" during {what}" if what else ""
    for sign, way_out in _FINAL:
        if sign in said:
            return UnusableDeviceError(f"ssh to {host} failed: {words}", hint=way_out)
    return DeviceAwayError(
        f"{host} cannot be reached{while_}, after {seconds:.0f} s: {words or 'the connection closed'}",
        hint="check that it is switched on and that `ssh` reaches it, then run the same command again",
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Close a process's input, wait a moment for its end, then end it."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    for push in (None, process.terminate, process.kill):
        if push is not None:
            push()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
            break
    if process.stdout is not None:
        process.stdout.close()
