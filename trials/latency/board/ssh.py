"""A host reached by the system's ssh: one connection that many commands share.

The system's client honours the user's whole ssh_config (aliases, jumps, agents, known hosts), checks host keys as
configured there, and never prompts (BatchMode).

Every command's standard input is a pipe from this process that carries a heartbeat, one line every few seconds. The scripts
on the board end what they run when the heartbeat stops. So nothing is left there when this process is killed or the
connection is cut. The connection itself ends with such a pipe too, so that no ssh outlives its owner.
"""

import contextlib
import os
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from trials.latency.board.address import SshAddress
from trials.latency.board.remote_process import BEAT_S, RemoteProcess, RemoteResult, end_process, explain_loss
from trials.latency.device import UnusableDeviceError
from trials.scratch import scratch_prefix

CONFIG_VARIABLE = "YOLORET_NAS_SSH_CONFIG"
"""Environment variable that names a file to use instead of the user's ssh_config (``ssh -F``)."""
_CONNECT_S = 15

_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": str(_CONNECT_S),
    "LogLevel": "INFO",  # ssh's own default: what it says tells a refusal from a board that is away
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "ControlPersist": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
"""These override the user's ssh_config: a measurement needs a plain, silent connection."""


class SshHost:
    """A host and the single connection to it, opened when first needed.

    Args:
        address: The host's address.
        config: A file instead of the user's ssh_config; None for theirs, or the one named by `CONFIG_VARIABLE`.
        clock: Returns seconds; tests pass their own.
    """

    def __init__(
        self, address: SshAddress, *, config: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.address = address
        named = os.environ.get(CONFIG_VARIABLE)
        self._config = config or (Path(named) if named else None)
        self._clock = clock
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._master: subprocess.Popen[bytes] | None = None
        self._running: list[RemoteProcess] = []

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self._master is not None and self._master.poll() is None

    def run(self, script: str, *words: str, what: str, limit_s: float, data: Path | None = None) -> RemoteResult:
        """Run a script in the host's ``sh`` and wait for its end.

        Args:
            script: Plain POSIX sh, from this package.
            words: Its arguments ``$1``, ``$2``, …, of any content.
            what: Its purpose, for messages.
            limit_s: Longest wait; the script must end by itself before.
            data: A file for its standard input; None sends the heartbeat.

        Raises:
            DeviceAwayError: the connection cannot be opened, or broke.
            UnusableDeviceError: ssh failed for a reason that a retry cannot mend.
        """
        with self.start(script, *words, what=what, data=data) as process:
            return process.wait(limit_s)

    @contextlib.contextmanager
    def start(self, script: str, *words: str, what: str, data: Path | None = None) -> Iterator[RemoteProcess]:
        """Run a script while the block runs; its standard input ends with the block.

        Raises:
            DeviceAwayError: the connection cannot be opened.
            UnusableDeviceError: ssh failed for a reason that a retry cannot mend.
        """
        self._connect()
        command = " ".join(["exec", "sh", "-c", *map(shlex.quote, (script, "yoloret-nas", *words))])
        with contextlib.ExitStack() as stack:
            stdin: int | IO[bytes] = stack.enter_context(data.open("rb")) if data else subprocess.PIPE
            stdout, stderr = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            process = subprocess.Popen(
                [*self._ssh("ControlMaster=no"), *self.address.arguments, command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # this process handles the terminal's interrupts, not ssh
            )
            remote = RemoteProcess(
                process=process,
                host=str(self.address),
                what=what,
                output=(stdout, stderr),
                beat_all=self.beat,
                clock=self._clock,
            )
            self._running.append(remote)
            try:
                yield remote
            finally:
                self._running.remove(remote)
                remote.end()

    def beat(self) -> None:
        """Send a heartbeat to every running command."""
        for process in self._running:
            process.beat()

    def pause(self, seconds: float) -> None:
        """Wait while sending heartbeats."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            time.sleep(min(left, BEAT_S))
            self.beat()

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        if self._master is not None:
            end_process(self._master)
            self._master = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _ssh(self, *options: str) -> list[str]:
        assert self._folder is not None
        config = ["-F", str(self._config)] if self._config else []
        pairs = [*options, *(f"{name}={value}" for name, value in _OPTIONS.items())]
        return ["ssh", "-T", "-e", "none", *config, "-S", f"{self._folder.name}/s", *(f"-o{pair}" for pair in pairs)]

    def _connect(self) -> None:
        if self.is_connected:
            return
        self.close()
        # A socket's path is limited to about 100 characters, and TMPDIR may be deep.
        self._folder = tempfile.TemporaryDirectory(prefix=scratch_prefix(), dir="/tmp")
        started = self._clock()
        with tempfile.TemporaryFile() as stderr:
            try:
                self._master = subprocess.Popen(
                    [*self._ssh("ControlMaster=yes"), *self.address.arguments, "echo connected; exec cat >/dev/null"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise UnusableDeviceError("this machine has no ssh", hint="install an OpenSSH client") from error
            if _wait_for_word(self._master, b"connected", limit_s=2 * _CONNECT_S):
                return
            self.close()
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")
        raise explain_loss(str(self.address), said, seconds=self._clock() - started)


def _wait_for_word(process: subprocess.Popen[bytes], word: bytes, *, limit_s: float) -> bool:
    """Wait until a process has written a word; return whether it did before its end."""
    assert process.stdout is not None
    heard, until = b"", time.monotonic() + limit_s
    while word not in heard:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not chunk:
            return False
        heard += chunk
    return True
