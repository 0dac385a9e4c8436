"""A board held for one measurement: first in its queue, with a folder for what is temporary, gone when the session ends.

The lock is the board's own (flock on a file there), so it counts for all workers, machines and people. The script that
holds it lives on the client's heartbeat: a client that dies, or is cut off, gives the board free within seconds.
"""

import contextlib
import getpass
import os
import platform
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trials.latency.board.probe import BoardState, read_state, split_parts
from trials.latency.board.remote_process import RemoteEndError, RemoteResult
from trials.latency.board.scripts import KEEP, RUN, SESSION, SET_REFERENCE, UPLOAD
from trials.latency.board.ssh import SshHost
from trials.latency.device import DeviceAwayError, DeviceError

_GRACE_S = 120.0
"""The local limit lies this much above the board's."""


class DiskFullError(DeviceError):
    """The board has no room for what a measurement needs."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference network on this board, as measured before."""

    engine: str
    """File name of the engine that was timed."""
    first_ms: float
    """The first figure of this engine, which later ones are held against."""
    last_ms: float


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """One run of trtexec, ended, with the board's state around it."""

    log: str
    exit_status: int
    """124 where it was ended for taking too long."""
    seconds: float
    """On the board, whole seconds."""
    times: str
    """Content of the times file, empty without one."""
    before: BoardState
    after: BoardState


@dataclass(kw_only=True)
class BoardSession:
    """What is known and can be done while the board is held."""

    host: SshHost
    folder: str
    """Of the caches for this board as it is now, below the cache on the board."""
    work: str
    """Absolute path of the temporary folder on the board."""
    engines: list[str]
    """File names of engines kept from before."""
    reference: Reference | None
    """None before the first."""
    num_since_reference: int
    """Measurements since the reference was last timed, this one included."""
    notes: list[str] = field(default_factory=list)
    """What the board lacks."""

    def upload(self, source: Path, name: str) -> str:
        """Copy a file into the temporary folder.

        Returns:
            Its path on the board.

        Raises:
            DeviceAwayError: the connection broke.
            DiskFullError: there is no room for it.
        """
        target = f"{self.work}/{name}"
        size = source.stat().st_size
        result = self.host.run(UPLOAD, target, str(size), what=f"uploading {name}", limit_s=1000, data=source)
        if result.exit_status != 0:
            if "No space left" in result.stderr:
                raise self.disk_full()
            raise DeviceAwayError(
                f"{result.host} did not take {name}: {result.stderr.strip()[-300:] or 'it was cut off'}"
            )
        return target

    def run(self, command: Sequence[str], *, what: str, limit_s: float, times: str = "", engine: str = "") -> BoardRun:
        """Run trtexec.

        Args:
            command: Its words, of any content.
            what: What for.
            limit_s: It is ended on the board after so long.
            times: Path of the times file it writes.
            engine: Path of the kept engine it uses.

        Raises:
            DeviceAwayError: the connection broke, or something else still runs there.
        """
        nonce = secrets.token_hex(8)
        words = (nonce, str(int(limit_s)), self.work, times, engine, *command)
        result = self.host.run(RUN, *words, what=what, limit_s=limit_s + _GRACE_S)
        parts = split_parts(result.stdout, nonce)
        if "busy" in parts:
            raise DeviceAwayError(
                f"on {result.host} an earlier run has not ended yet", hint="look at `ps` on the board"
            )
        if "end" not in parts or not re.fullmatch(r"\d+ \d+\s*", parts["end"]):
            raise DeviceAwayError(f"{what} on {result.host} came to no end: {_last_words(result)}")
        status, seconds = (int(number) for number in parts["end"].split())
        return BoardRun(
            log=parts["log"],
            exit_status=124 if status == 137 and seconds >= limit_s else status,
            seconds=seconds,
            times=parts["times"],
            before=read_state(parts["before"]),
            after=read_state(parts["after"]),
        )

    def keep(self, engine: str, *, most_mib: int) -> None:
        """Move a built engine and the timing cache from the temporary folder into the caches, and hold these to a bound.

        Raises:
            DeviceAwayError: the connection broke.
            DiskFullError: there is no room for it.
        """
        result = self.host.run(
            KEEP, self.folder, self.work, str(most_mib), engine, what="keeping an engine", limit_s=120
        )
        if result.exit_status != 0:
            raise self.disk_full()
        self.engines.append(engine)

    def make_room(self) -> None:
        """Drop all kept engines."""
        self.host.run(KEEP, self.folder, self.work, "0", what="making room", limit_s=120)
        self.engines.clear()

    def set_reference(self, reference: Reference) -> None:
        """Remember the reference network's figure on the board."""
        line = f"{reference.engine} {reference.first_ms} {reference.last_ms}"
        self.host.run(SET_REFERENCE, self.folder, line, what="noting the reference", limit_s=60)
        self.reference = reference

    def path_of(self, engine: str) -> str:
        """Give the path of a kept engine, relative to the temporary folder."""
        return f"../{self.folder}/{engine}"

    def disk_full(self) -> DiskFullError:
        """Give the error for a board without room."""
        return DiskFullError(
            f"the disk of {self.host.address} is full",
            hint=f"free some space there (df -h); {Path(self.work).parent} may be deleted as a whole",
        )


@contextlib.contextmanager
def open_session(host: SshHost, folder: str, *, queue_limit_s: float) -> Iterator[BoardSession]:
    """Wait for the board and hold it while the block runs.

    Args:
        host: The board.
        folder: Of the caches for this board as it is now: letters and digits.
        queue_limit_s: Longest wait for others to finish.

    Raises:
        DeviceAwayError: it cannot be reached, or others held it all the time.
        DeviceError: it has no place to write to.
    """
    who = f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}"
    nonce = secrets.token_hex(8)
    with host.start(SESSION, nonce, str(int(queue_limit_s)), folder, who, what="holding the board") as holder:
        try:
            ends = tuple(f"@{nonce} {word}" for word in ("work ", "busy", "error "))
            said = holder.wait_for(ends, queue_limit_s + _GRACE_S)
        except RemoteEndError as end:
            raise DeviceAwayError(f"{host.address} let nobody in: {_last_words(end.result)}") from end
        lines = [line.removeprefix(f"@{nonce} ") for line in said if line.startswith(f"@{nonce} ")]
        told, _, rest = lines[-1].partition(" ")
        if told == "busy":
            raise DeviceAwayError(
                f"{host.address} has been in use by {rest.strip() or 'someone else'} for {queue_limit_s:.0f} s",
                hint="wait until they are done; the lock frees itself when their process ends",
            )
        if told == "error":
            raise DeviceError(
                f"{host.address}: {rest}", hint="see that its disk has room and your account may write there"
            )
        yield _read_session(host, folder, lines)


def _read_session(host: SshHost, folder: str, lines: list[str]) -> BoardSession:
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(" ")
        values.setdefault(name, []).append(value)
    notes = []
    if "unlocked" in values:
        notes.append("the board has no flock: nothing keeps others from measuring at the same time")
    if "unbounded" in values:
        notes.append("the board has no timeout: runs there are ended by the shell alone")
    return BoardSession(
        host=host,
        folder=folder,
        work=values["work"][0],
        engines=values.get("engine", []),
        reference=_read_reference(values.get("reference", [""])[0]),
        num_since_reference=int(values.get("timed", ["0"])[0]),
        notes=notes,
    )


def _read_reference(text: str) -> Reference | None:
    match = re.fullmatch(r"(\S+) ([\d.]+) ([\d.]+)", text)
    return Reference(engine=match[1], first_ms=float(match[2]), last_ms=float(match[3])) if match else None


def _last_words(result: RemoteResult) -> str:
    return (result.stderr.strip() or result.stdout.strip())[-300:] or "no word why"
