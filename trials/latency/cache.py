"""A cache of measured latencies, keyed by file content and device identity; those of one folder share a scale.

A CPU that others use too is a tenth faster or slower from one minute to the next, and networks are so alike. The reference
network's first time on a device is the folder's scale: later latencies are divided by how many times that time the reference
took meanwhile. A run keeps the scale of its first latency, wherever it goes on: each latency holds the reference's time
beside it and what it was divided by, so that it can be brought to any scale.
"""

import hashlib
import json
import math
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from spaces import YoloRetError
from spaces.documents import parse_json
from trials.latency.device import Device, DeviceIdentity, Latency, UnstableError
from trials.latency.steadiness import THRESHOLDS

LATENCY_FILE = "latency.db"
"""A root's measurements, and the scale of all files beside it."""

_TRIES = 3
_PAUSE_S = 10.0
"""Before the second measurement; twice as long before the third."""
_SAME_SCALE = 1e-6
"""Relative difference of two divisors that are one, computed in two ways."""
_DIVIDED = "divided by"
"""Begins the note of a latency that was divided by much."""


class LatencyCacheError(YoloRetError):
    """The file of measured latencies cannot be used; this says nothing about the device or the network."""


class LatencyCache:
    """A SQLite file of measurements that several processes may use at once.

    Each method raises `LatencyCacheError` where SQLite cannot use the file.

    Args:
        path: The file, created with its folder where missing. The folder's scale is in `LATENCY_FILE` there.
        scale: A latency, perhaps of another folder, to whose scale those of the same processor are brought, whatever their
            runtime: OpenVINO's reference runs in ONNX Runtime, too. None for the folder's scale.
    """

    def __init__(self, path: Path, *, scale: Latency | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._scale_path, self._scale = path, path.with_name(LATENCY_FILE), scale
        for each in (self._path, self._scale_path):
            with _connect(each) as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS latency (key TEXT PRIMARY KEY, measurement TEXT NOT NULL)"
                )
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
            known = Latency.from_dict(parse_json(row[0])) if row else None
        scale_ms = self._scale_ms(identity)
        if known is None or scale_ms is None or reference_of_scale_ms(known) is None:
            return known
        assert known.reference_ms is not None
        return _to_scale(known, known.reference_ms / scale_ms)

    def put(self, onnx_path: Path, latency: Latency) -> None:
        """Store a measurement, replacing an older one."""
        key = cache_key(onnx_path, latency.device)
        with self._connect() as connection:
            connection.execute("REPLACE INTO latency VALUES (?, ?)", (key, json.dumps(latency.to_dict())))

    def measure(
        self, device: Device, onnx_path: Path, *, sleep: Callable[[float], None] = time.sleep
    ) -> tuple[Latency, bool]:
        """Return a file's latency from the cache, or measure and store it.

        One thread's latency on a CPU is brought to the scale. A measurement beside which the reference, timed in turn, shows
        much other work is repeated after a pause, up to three times in all.

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
        is_scaled = has_scale(device.identity())
        limit = THRESHOLDS.max_corrected_slowdown if is_scaled else THRESHOLDS.max_slowdown
        for attempt in range(_TRIES):
            sleep(_PAUSE_S * attempt)
            measured = device.measure(onnx_path)
            slowdown = self._slowdown(measured, is_scaled=is_scaled)
            if slowdown <= limit:
                kept = _to_scale(measured, slowdown) if is_scaled else measured
                self.put(onnx_path, kept)
                return kept, False
        raise UnstableError(
            f"other work slowed device {device.name} in {_TRIES} measurements of {onnx_path.name}: the reference network "
            f"took {slowdown:.2f} times as long as {'at first' if is_scaled else 'at best'} (at most {limit:g} times)",
            hint="stop other work on this machine, then run the same command again; if the machine has become slower for "
            "good, start a study in another folder",
        )

    def _scale_ms(self, identity: DeviceIdentity) -> float | None:
        """Return the reference's time at the speed that latencies are brought to; None where there is none."""
        if not has_scale(identity):
            return None
        given, scale_ms = self._scale, None
        if given is not None and (given.device.board, given.device.settings) == (identity.board, identity.settings):
            scale_ms = reference_of_scale_ms(given)
        if scale_ms is not None:
            return scale_ms
        with _connect(self._scale_path) as connection:
            return next(iter(_read_references(connection, identity)), None)

    def _slowdown(self, measured: Latency, *, is_scaled: bool) -> float:
        """Return the reference's time over that of the scale, or over its best where nothing is divided by it.

        A board times its reference only now and then, so that it says nothing about a single measurement: 1.
        """
        if measured.reference_ms is None or not measured.is_reference_in_turn:
            return 1.0
        scale_ms = self._scale_ms(measured.device)
        known_ms = self._add_reference(measured.device, scale_ms or measured.reference_ms)
        return measured.reference_ms / (scale_ms or (known_ms[0] if is_scaled else min(known_ms)))

    def _add_reference(self, identity: DeviceIdentity, reference_ms: float) -> list[float]:
        """Return the kept times of a device's reference: the first and, where nothing is divided, each that was the best."""
        with _connect(self._scale_path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            known_ms = _read_references(connection, identity)
            if not known_ms or (reference_ms < min(known_ms) and not has_scale(identity)):
                connection.execute("INSERT INTO reference VALUES (?, ?)", (identity.key, reference_ms))
                known_ms.append(reference_ms)
            return known_ms

    def _connect(self) -> AbstractContextManager[sqlite3.Connection]:
        return _connect(self._path)


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(path, timeout=30)
        with closing(connection), connection:  # commits unless the block raised, then closes
            yield connection
    except YoloRetError:
        raise
    except (sqlite3.Error, ValueError, TypeError) as error:  # the last two: of a row that is no measurement
        raise LatencyCacheError(
            f"{path}, which holds measured latencies, cannot be used: {error}",
            hint="free disk space if there is none left; a file that is damaged, or no database of this version, is "
            f"deleted (rm {shlex.quote(str(path))}): latencies are then measured again",
        ) from error


def cache_key(onnx_path: Path, identity: DeviceIdentity) -> str:
    """Return the key of a measurement: the file's content and the device's identity."""
    content = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    return f"{content[:32]}-{identity.key}"


def reference_of_scale_ms(latency: Latency) -> float | None:
    """Return the reference's time at the speed that a latency is brought to; None where it was not timed in turn."""
    if latency.reference_ms is None or not latency.is_reference_in_turn:
        return None
    return latency.reference_ms / latency.slowdown


def has_scale(identity: DeviceIdentity) -> bool:
    """Return whether latencies are brought to the scale, which was measured to be right for one thread of a CPU alone."""
    return identity.kind == "cpu" and identity.settings.get("threads") == "1"


def _read_references(connection: sqlite3.Connection, identity: DeviceIdentity) -> list[float]:
    """Return the kept times of a device's reference in ms, the first one first."""
    rows = connection.execute("SELECT ms FROM reference WHERE device = ?", (identity.key,)).fetchall()
    return [float(ms) for (ms,) in rows]


def _to_scale(latency: Latency, slowdown: float) -> Latency:
    """Return a latency whose passes are divided by a number, instead of by its own; the reference's time stays as it was."""
    if math.isclose(slowdown, latency.slowdown, rel_tol=_SAME_SCALE):
        return latency
    notes = tuple(note for note in latency.notes if not note.startswith(_DIVIDED))
    if not 1 / THRESHOLDS.max_slowdown <= slowdown <= THRESHOLDS.max_slowdown:
        notes = (*notes, f"{_DIVIDED} {slowdown:.2f}, since the reference took so many times its first time")
    samples_ms = tuple(sample * latency.slowdown / slowdown for sample in latency.samples_ms)
    return replace(latency, samples_ms=samples_ms, slowdown=slowdown, notes=notes)
