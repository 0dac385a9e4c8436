"""A cache of measured latencies, keyed by file content and device identity."""

import hashlib
import json
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from spaces import YoloRetError
from spaces.documents import parse_json
from trials.latency.device import Device, DeviceIdentity, Latency, UnstableError
from trials.latency.steadiness import THRESHOLDS, is_slowed, quiet_reference_ms

_TRIES = 3
_PAUSE_S = 10.0
"""Before the second measurement; twice as long before the third."""


class LatencyCacheError(YoloRetError):
    """The file of measured latencies cannot be used; this says nothing about the device or the network."""


class LatencyCache:
    """A SQLite file of measurements that several processes may use at once.

    Each method raises `LatencyCacheError` where SQLite cannot use the file.

    Args:
        path: The file, created with its folder where missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS latency (key TEXT PRIMARY KEY, measurement TEXT NOT NULL)")
            connection.execute("CREATE TABLE IF NOT EXISTS reference (device TEXT NOT NULL, ms REAL NOT NULL)")

    def check(self) -> None:
        """Read the whole file, so that damage in it is found before the first trial.

        Raises:
            LatencyCacheError: it is damaged, or a database of something else.
        """
        with self._connect() as connection:
            connection.execute("SELECT key, measurement FROM latency LIMIT 1")
            connection.execute("SELECT device, ms FROM reference LIMIT 1")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)

    def get(self, onnx_path: Path, identity: DeviceIdentity) -> Latency | None:
        """Return the measurement of a file with this content on a device of this identity; None without one."""
        with self._connect() as connection:
            row = connection.execute(
                "SELECT measurement FROM latency WHERE key = ?", (cache_key(onnx_path, identity),)
            ).fetchone()
            return Latency.from_dict(parse_json(row[0])) if row else None

    def put(self, onnx_path: Path, latency: Latency) -> None:
        """Store a measurement, replacing an older one."""
        key = cache_key(onnx_path, latency.device)
        with self._connect() as connection:
            connection.execute("REPLACE INTO latency VALUES (?, ?)", (key, json.dumps(latency.to_dict())))
        if latency.is_reference_in_turn:
            self._add_reference(latency)

    def measure(
        self, device: Device, onnx_path: Path, *, sleep: Callable[[float], None] = time.sleep
    ) -> tuple[Latency, bool]:
        """Return a file's latency from the cache, or measure and store it.

        Where a reference timed in turn shows that other work slowed the device a little, a CPU's figures are corrected by
        how much, with a note. Otherwise a slowed measurement is repeated after a pause, up to three times in all.

        Args:
            device: Where to time it.
            onnx_path: The network.
            sleep: Waits for some seconds.

        Returns:
            The measurement, and whether it came from the cache.

        Raises:
            UnstableError: other work slowed every measurement; how much it slowed this network is not known.
            DeviceError: the device cannot measure it.
        """
        if known := self.get(onnx_path, device.identity()):
            return known, True
        quiet_ms = self._quiet_reference_ms(device.identity())
        limit = THRESHOLDS.max_corrected_slowdown if device.identity().kind == "cpu" else THRESHOLDS.max_slowdown
        for attempt in range(_TRIES):
            sleep(_PAUSE_S * attempt)
            measured = device.measure(onnx_path)
            slowdown = _slowdown(measured, quiet_ms)
            if slowdown <= limit:
                kept = _corrected(measured, slowdown) if is_slowed(slowdown) else measured
                self.put(onnx_path, kept)
                return kept, False
        self._add_reference(measured)  # a device that has become slower for good is believed in time
        raise UnstableError(
            f"other work slowed device {device.name} in {_TRIES} measurements of {onnx_path.name}: the reference network "
            f"took {slowdown:.2f} times its quiet figure of {quiet_ms:.3g} ms (at most {limit:g} times)",
            hint="stop other work on this machine, then run the same command again; if the machine has become slower for "
            "good, start a study in another folder",
        )

    def _add_reference(self, latency: Latency) -> None:
        with self._connect() as connection:
            connection.execute("INSERT INTO reference VALUES (?, ?)", (latency.device.key, latency.reference_ms))

    def _quiet_reference_ms(self, identity: DeviceIdentity) -> float | None:
        with self._connect() as connection:
            newest = connection.execute(
                "SELECT ms FROM reference WHERE device = ? ORDER BY rowid DESC LIMIT ?",
                (identity.key, THRESHOLDS.max_references),
            ).fetchall()
        return quiet_reference_ms([ms for (ms,) in newest])

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=30)
            with closing(connection), connection:  # commits unless the block raised, then closes
                yield connection
        except YoloRetError:
            raise
        except (sqlite3.Error, ValueError, TypeError) as error:  # the last two: of a row that is no measurement
            raise LatencyCacheError(
                f"{self._path}, which holds measured latencies, cannot be used: {error}",
                hint="free disk space if there is none left; a file that is damaged, or no database of this version, is "
                f"deleted (rm {shlex.quote(str(self._path))}): latencies are then measured again",
            ) from error


def cache_key(onnx_path: Path, identity: DeviceIdentity) -> str:
    """Return the key of a measurement: the file's content and the device's identity."""
    content = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    return f"{content[:32]}-{identity.key}"


def _slowdown(measured: Latency, quiet_ms: float | None) -> float:
    """Return the reference's time over its quiet figure; 1 where either is unknown.

    A board times its reference only now and then, so that it says nothing about a single measurement.
    """
    if quiet_ms is None or measured.reference_ms is None or not measured.is_reference_in_turn:
        return 1.0
    return measured.reference_ms / quiet_ms


def _corrected(measured: Latency, slowdown: float) -> Latency:
    """Return what the passes would have taken on the quiet device; the reference's figure stays as it was timed."""
    return replace(
        measured,
        samples_ms=tuple(sample / slowdown for sample in measured.samples_ms),
        notes=(*measured.notes, f"divided by {slowdown:.2f}, by which other work slowed the reference"),
    )
