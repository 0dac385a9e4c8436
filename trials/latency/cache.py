"""A cache of measured latencies, keyed by file content and device identity."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from trials.latency.device import Device, DeviceIdentity, Latency
from trials.latency.steadiness import THRESHOLDS, is_slowed, quiet_reference_ms

_TRIES = 2


class LatencyCache:
    """A SQLite file of measurements that several processes may use at once.

    Args:
        path: The file, created with its folder where missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS latency (key TEXT PRIMARY KEY, measurement TEXT NOT NULL)")
            connection.execute("CREATE TABLE IF NOT EXISTS reference (device TEXT NOT NULL, ms REAL NOT NULL)")

    def get(self, onnx_path: Path, identity: DeviceIdentity) -> Latency | None:
        """Return the measurement of a file with this content on a device of this identity; None without one."""
        with self._connect() as connection:
            row = connection.execute(
                "SELECT measurement FROM latency WHERE key = ?", (cache_key(onnx_path, identity),)
            ).fetchone()
        return Latency.from_dict(json.loads(row[0])) if row else None

    def put(self, onnx_path: Path, latency: Latency) -> None:
        """Store a measurement, replacing an older one."""
        key = cache_key(onnx_path, latency.device)
        with self._connect() as connection:
            connection.execute("REPLACE INTO latency VALUES (?, ?)", (key, json.dumps(latency.to_dict())))
        if latency.is_reference_in_turn:
            self._add_reference(latency)

    def measure(self, device: Device, onnx_path: Path) -> tuple[Latency, bool]:
        """Return a file's latency from the cache, or measure and store it.

        A measurement is repeated once if a reference timed in turn shows that other work slowed the device. If the repeat
        was slowed too, it is divided by the reference's slowdown, so that a study's latencies stay comparable. Such a
        measurement carries a note and is not stored.

        Returns:
            The measurement, and whether it came from the cache.

        Raises:
            DeviceError: the device cannot measure it.
        """
        if known := self.get(onnx_path, device.identity()):
            return known, True
        quiet_ms = self._quiet_reference_ms(device.identity())
        for _ in range(_TRIES):
            measured = device.measure(onnx_path)
            slowdown = _slowdown(measured, quiet_ms)
            if not is_slowed(slowdown):
                self.put(onnx_path, measured)
                return measured, False
        self._add_reference(measured)
        return _corrected(measured, slowdown), False

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
        connection = sqlite3.connect(self._path, timeout=30)
        with closing(connection), connection:  # commits unless the block raised, then closes
            yield connection


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
    """Divide a measurement by its reference's slowdown; the reference stays as measured."""
    note = (
        f"other work slowed the device: its reference took {slowdown:.2f} times its quiet figure; "
        "the measurement is divided by that"
    )
    samples_ms = tuple(sample / slowdown for sample in measured.samples_ms)
    return replace(measured, samples_ms=samples_ms, notes=(*measured.notes, note))
