"""A session on the board: it holds the board's queue and a temporary folder there until it ends.

The lock is a file on the board (flock), so that it applies to all workers, machines and users. The script that holds it
depends on the client's heartbeat: a client that dies or is cut off releases the board within seconds.
"""

import base64
import contextlib
import getpass
import math
import os
import platform
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trials.latency.board.probe import BoardState, read_state, split_parts
from trials.latency.board.remote_process import RemoteEndError, RemoteResult
from trials.latency.board.scripts import DROP, FETCH, KEEP, REMOVE, RUN, SESSION, SET_REFERENCE, UPLOAD
from trials.latency.board.ssh import SshHost
from trials.latency.board.trtexec_log import read_float
from trials.latency.device import DeviceAwayError, DeviceError, UnusableDeviceError
from trials.whole_file import whole_file

_GRACE_S = 120.0
"""The local time limit exceeds the board's by this much."""
_ENDED = (137, 143)
"""Exit statuses of what a signal ended: at the limit by busybox's timeout or the shell, GNU's gives 124 for TERM."""
_DISK_FULL = ("No space left", "Disk quota exceeded")
"""What the board's programs say of it."""


class DiskFullError(UnusableDeviceError):
    """The board's disk is too full for a measurement."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Earlier figures of the reference network on this board."""

    engine: str
    """File name of the timed engine."""
    first_ms: float
    """The first figure of this engine, which later ones are compared with."""
    last_ms: float


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """An ended run of trtexec, with the board's state before and after it."""

    log: str
    exit_status: int
    """124 for a run ended at its time limit."""
    seconds: float
    """Duration on the board, in whole seconds."""
    times: str
    """Content of the times file; empty without one."""
    before: BoardState
    after: BoardState


@dataclass(kw_only=True)
class BoardSession:
    """What a client knows and can do while it holds the board."""

    host: SshHost
    folder: str
    """Folder of this board's identity, below the cache on the board."""
    work: str
    """Absolute path of the temporary folder on the board."""
    engines: list[str]
    """File names of the kept engines."""
    reference: Reference | None
    """None before its first measurement."""
    num_since_reference: int
    """Measurements since the reference was last timed, including this one."""
    notes: list[str] = field(default_factory=list)
    """Tools that the board lacks."""

    def upload(self, source: Path, name: str) -> str:
        """Copy a file into the temporary folder.

        Returns:
            Its path on the board.

        Raises:
            DeviceAwayError: the connection broke.
            DiskFullError: the disk is full.
        """
        target = f"{self.work}/{name}"
        size = source.stat().st_size
        result = self.host.run(UPLOAD, target, str(size), what=f"uploading {name}", limit_s=1000, data=source)
        if result.exit_status != 0:
            self._check_disk(result)
            raise DeviceAwayError(
                f"uploading {name} to {result.host} failed: {result.stderr.strip()[-300:] or 'it was cut off'}"
            )
        return target

    def run(self, command: Sequence[str], *, what: str, limit_s: float, times: str = "", engine: str = "") -> BoardRun:
        """Run trtexec, or another program, in the temporary folder.

        Args:
            command: Its words, of any content.
            what: The purpose, for messages.
            limit_s: The board ends it after so long.
            times: Path of the times file it writes.
            engine: Path of the kept engine it uses.

        Raises:
            DeviceAwayError: the connection broke, or an earlier run has not ended.
        """
        nonce = secrets.token_hex(8)
        words = (nonce, str(int(limit_s)), self.work, times, engine, *command)
        result = self.host.run(RUN, *words, what=what, limit_s=limit_s + _GRACE_S)
        parts = split_parts(result.stdout, nonce)
        if "busy" in parts:
            raise DeviceAwayError(f"an earlier run on {result.host} has not ended yet", hint="check `ps` on the board")
        is_whole = {"before", "log", "times", "after", "end"} <= parts.keys()
        if not is_whole or not re.fullmatch(r"\d{1,9} \d{1,9}\s*", parts["end"]):
            raise DeviceAwayError(f"{what} on {result.host} was cut off: {_last_words(result)}")
        status, seconds = (int(number) for number in parts["end"].split())
        return BoardRun(
            log=parts["log"],
            exit_status=124 if status in _ENDED and seconds >= limit_s else status,
            seconds=seconds,
            times=parts["times"],
            before=read_state(parts["before"]),
            after=read_state(parts["after"]),
        )

    def keep(self, engine: str) -> None:
        """Move a built engine and the timing cache into the caches.

        Raises:
            DeviceAwayError: the connection broke, or the board has given the session up.
            DiskFullError: the disk is full.
            UnusableDeviceError: it cannot be written there.
        """
        result = self.host.run(KEEP, self.folder, self.work, engine, what="keeping an engine", limit_s=120)
        if result.exit_status != 0:
            self._check_disk(result)
            message = f"keeping an engine on {result.host} failed: {_last_words(result)}"
            if result.exit_status is None or not result.stderr.strip() or "No such file" in result.stderr:
                raise DeviceAwayError(message)  # the session's folder is gone: the heartbeat was not heard
            folder = Path(self.work).parent
            raise UnusableDeviceError(
                message, hint=f"check that {folder} there is on a disk that your account may write to"
            )
        self.engines.append(engine)

    def fetch(self, engine: str, target: Path) -> None:
        """Copy a kept engine to this machine.

        Raises:
            DeviceAwayError: the connection broke.
            DeviceError: the board cannot send it.
        """
        nonce, path = secrets.token_hex(8), f"{self.work}/../{self.folder}/{engine}"
        result = self.host.run(FETCH, nonce, path, what="fetching an engine", limit_s=1000)
        parts = split_parts(result.stdout, nonce)
        if result.exit_status != 0:
            raise DeviceError(
                f"{self.host.address} cannot send the engine it built: {_last_words(result)}",
                hint="it needs the program base64, which is part of GNU coreutils and of busybox",
            )
        try:
            content = base64.b64decode(parts.get("data", ""))
        except ValueError:  # it is cut off inside
            content = b""
        if "end" not in parts or str(len(content)) != parts.get("size", "").strip():
            raise DeviceAwayError(f"fetching an engine from {self.host.address} was cut off")
        with whole_file(target) as partial:
            partial.write_bytes(content)

    def remove_engine(self, engine: str) -> None:
        """Delete a kept engine."""
        self.host.run(REMOVE, self.folder, engine, what="deleting an engine", limit_s=60)
        self.engines.remove(engine)

    def drop_engines(self) -> None:
        """Delete all kept engines."""
        self.host.run(DROP, what="deleting the engines", limit_s=120)
        self.engines.clear()

    def set_reference(self, reference: Reference) -> None:
        """Store the reference network's figures on the board."""
        line = f"{reference.engine} {reference.first_ms} {reference.last_ms}"
        self.host.run(SET_REFERENCE, self.folder, line, what="setting the reference", limit_s=60)
        self.reference = reference

    def _check_disk(self, result: RemoteResult) -> None:
        if any(sign in result.stderr for sign in _DISK_FULL):
            raise self.disk_full()

    def disk_full(self) -> DiskFullError:
        """Return the error for a full disk."""
        return DiskFullError(
            f"the disk of {self.host.address} is full",
            hint=f"free some space there (df -h); {Path(self.work).parent} may be deleted",
        )


@contextlib.contextmanager
def open_session(host: SshHost, folder: str, *, queue_limit_s: float, cache_mib: int) -> Iterator[BoardSession]:
    """Wait for the board and hold it while the block runs.

    Args:
        host: The board.
        folder: The caches' folder for this board's identity: letters and digits.
        queue_limit_s: Longest wait in the queue.
        cache_mib: Size of the engines and timing caches that stay on the board after the session.

    Raises:
        DeviceAwayError: it cannot be reached, or others held it for all that time.
        UnusableDeviceError: nothing can be written there.
    """
    who = f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}"
    nonce = secrets.token_hex(8)
    limit = str(max(1, math.ceil(queue_limit_s)))  # for `timeout`, 0 is no limit
    with host.start(SESSION, nonce, limit, folder, who, str(cache_mib), what="holding the board") as holder:
        try:
            ends = tuple(f"@{nonce} {word}" for word in ("work ", "busy", "error "))
            said = holder.wait_for(ends, queue_limit_s + _GRACE_S)
        except RemoteEndError as end:
            raise DeviceAwayError(f"no session on {host.address} could be opened: {_last_words(end.result)}") from end
        lines = [line.removeprefix(f"@{nonce} ") for line in said if line.startswith(f"@{nonce} ")]
        told, _, rest = lines[-1].partition(" ")
        if told == "busy":
            raise DeviceAwayError(
                f"{host.address} has been in use by {rest.strip() or 'someone else'} for longer than queue_limit_s allows",
                hint="wait until they are done; their lock is released when their process ends",
            )
        if told == "error":
            raise UnusableDeviceError(
                f"{host.address}: {rest}", hint="check that its disk has space and that your account may write there"
            )
        yield _read_session(host, folder, lines)


def _read_session(host: SshHost, folder: str, lines: list[str]) -> BoardSession:
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(" ")
        values.setdefault(name, []).append(value)
    notes = []
    if "unlocked" in values:
        notes.append("the board has no flock: others may measure at the same time")
    if "unbounded" in values:
        notes.append("the board has no timeout: the shell ends runs at their time limit")
    return BoardSession(
        host=host,
        folder=folder,
        work=values["work"][0],
        engines=values.get("engine", []),
        reference=_read_reference(values.get("reference", [""])[0]),
        num_since_reference=int(timed) if re.fullmatch(r"\d{1,9}", timed := values.get("timed", ["0"])[0]) else 0,
        notes=notes,
    )


def _read_reference(text: str) -> Reference | None:
    match = re.fullmatch(r"(\S+) ([\d.]+) ([\d.]+)", text)
    first_ms, last_ms = (read_float(match[2]), read_float(match[3])) if match else (None, None)
    if match is None or not first_ms or not last_ms:
        return None
    return Reference(engine=match[1], first_ms=first_ms, last_ms=last_ms)


def _last_words(result: RemoteResult) -> str:
    return (result.stderr.strip() or result.stdout.strip())[-300:] or "no reason given"
