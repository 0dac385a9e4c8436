"""A cache of measured latencies, keyed by file content and device identity; those of one folder share a scale.

A CPU that others use too is a tenth faster or slower from one minute to the next, and networks are so alike. The reference
network's first time on a device is the folder's scale: later latencies are divided by how many times that time the reference
took meanwhile.
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
"""Relative difference of two first reference times that are one, computed in two ways."""


class LatencyCacheError(YoloRetError):
    """The file of measured latencies cannot be used; this says nothing about the device or the network."""


class LatencyCache:
    """A SQLite file of measurements that several processes may use at once.

    Each method raises `LatencyCacheError` where SQLite cannot use the file.

    Args:
        path: The file, created with its folder where missing. The scale is that of `LATENCY_FILE` in this folder.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._scale_path = path, path.with_name(LATENCY_FILE)
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
            return Latency.from_dict(parse_json(row[0])) if row else None

    def put(self, onnx_path: Path, latency: Latency) -> None:
        """Store a measurement, replacing an older one."""
        key = cache_key(onnx_path, latency.device)
        with self._connect() as connection:
            connection.execute("REPLACE INTO latency VALUES (?, ?)", (key, json.dumps(latency.to_dict())))

    def measure(
        self, device: Device, onnx_path: Path, *, sleep: Callable[[float], None] = time.sleep
    ) -> tuple[Latency, bool]:
        """Return a file's latency from the cache, or measure and store it.

        One thread's latency on a CPU is brought to the folder's scale. A measurement beside which the reference, timed in
        turn, shows much other work is repeated after a pause, up to three times in all.

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

    def share_scale(self, latency: Latency, identity: DeviceIdentity) -> bool:
        """Take a device's scale from a latency in another folder, unless there is one or it is another device's.

        Args:
            latency: A measurement of that folder.
            identity: The device; its runtime may be another, since OpenVINO's reference runs in ONNX Runtime, too.

        Returns:
            False where there is one, and it is another.
        """
        is_alike = (latency.device.board, latency.device.settings) == (identity.board, identity.settings)
        scale_ms = reference_of_scale_ms(latency)
        if not is_alike or not has_scale(identity) or scale_ms is None:
            return True
        return math.isclose(self._add_reference(identity, scale_ms)[0], scale_ms, rel_tol=_SAME_SCALE)

    def _slowdown(self, measured: Latency, *, is_scaled: bool) -> float:
        """Return the reference's time over its first one on this device, or over its best where nothing is divided by it.

        A board times its reference only now and then, so that it says nothing about a single measurement: 1.
        """
        if measured.reference_ms is None or not measured.is_reference_in_turn:
            return 1.0
        known_ms = self._add_reference(measured.device, measured.reference_ms)
        return measured.reference_ms / (known_ms[0] if is_scaled else min(known_ms))

    def _add_reference(self, identity: DeviceIdentity, reference_ms: float) -> list[float]:
        """Return the kept times of a device's reference: the first and, where nothing is divided, each that was the best."""
        with _connect(self._scale_path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute("SELECT ms FROM reference WHERE device = ?", (identity.key,)).fetchall()
            known_ms = [float(ms) for (ms,) in rows]
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


def _to_scale(measured: Latency, slowdown: float) -> Latency:
    """Return what the passes would have taken at the first measurement's speed; the reference's time stays as it was."""
    notes = measured.notes
    if not 1 / THRESHOLDS.max_slowdown <= slowdown <= THRESHOLDS.max_slowdown:
        notes = (*notes, f"divided by {slowdown:.2f}, since the reference took so many times its first time")
    samples_ms = tuple(sample / slowdown for sample in measured.samples_ms)
    return replace(measured, samples_ms=samples_ms, slowdown=slowdown, notes=notes)
