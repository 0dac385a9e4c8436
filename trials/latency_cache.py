"""Measured latencies, kept by what they depend on, so that a repeat is free."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from trials.device import Device, DeviceIdentity, Latency

_SLOWED = 1.5
"""A reference network that takes so many times as long as it usually does on a device says that something else ran there."""
_MIN_REFERENCES = 5
"""Measurements before anything is usual."""
_MAX_REFERENCES = 200
"""The newest so many say what is usual."""
_TRIES = 2


class LatencyCache:
    """A SQLite file of measurements; several processes may use it at once.

    Args:
        path: The file; made with its folder where it is missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS latency (key TEXT PRIMARY KEY, measurement TEXT NOT NULL)")
            connection.execute("CREATE TABLE IF NOT EXISTS reference (device TEXT NOT NULL, ms REAL NOT NULL)")

    def get(self, onnx_path: Path, identity: DeviceIdentity) -> Latency | None:
        """Give the measurement of this very file on this very device, if there is one."""
        with self._connect() as connection:
            row = connection.execute(
                "SELECT measurement FROM latency WHERE key = ?", (cache_key(onnx_path, identity),)
            ).fetchone()
        return Latency.from_dict(json.loads(row[0])) if row else None

    def put(self, onnx_path: Path, latency: Latency) -> None:
        """Keep a measurement, in place of an older one."""
        key = cache_key(onnx_path, latency.device)
        with self._connect() as connection:
            connection.execute("REPLACE INTO latency VALUES (?, ?)", (key, json.dumps(latency.to_dict())))
            if latency.reference_ms is not None:
                connection.execute("INSERT INTO reference VALUES (?, ?)", (latency.device.key, latency.reference_ms))

    def measure(self, device: Device, onnx_path: Path) -> tuple[Latency, bool]:
        """Give a file's latency, from here or from the device.

        What was measured while something else slowed the device down, as its reference network shows, is measured once
        more; if it is no better then, it is given with a note, and not kept.

        Returns:
            The measurement, and whether it was here already.

        Raises:
            DeviceError: the device cannot measure it.
        """
        if known := self.get(onnx_path, device.identity()):
            return known, True
        usual_ms = self._usual_reference_ms(device.identity())
        for _ in range(_TRIES):
            measured = device.measure(onnx_path)
            if not (slowed := _what_slowed(measured, usual_ms)):
                self.put(onnx_path, measured)
                return measured, False
        return replace(measured, notes=(*measured.notes, slowed)), False

    def _usual_reference_ms(self, identity: DeviceIdentity) -> float | None:
        with self._connect() as connection:
            newest = connection.execute(
                "SELECT ms FROM reference WHERE device = ? ORDER BY rowid DESC LIMIT ?", (identity.key, _MAX_REFERENCES)
            ).fetchall()
        return median(ms for (ms,) in newest) if len(newest) >= _MIN_REFERENCES else None

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30)
        with closing(connection), connection:  # closed at the end, and committed unless the block raised
            yield connection


def cache_key(onnx_path: Path, identity: DeviceIdentity) -> str:
    """Name a measurement by the file's content and the device's identity."""
    content = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    return f"{content[:32]}-{identity.key}"


def _what_slowed(measured: Latency, usual_ms: float | None) -> str:
    """Say how far something slowed the device down; empty where nothing did, or nothing is known."""
    if usual_ms is None or measured.reference_ms is None or measured.reference_ms <= _SLOWED * usual_ms:
        return ""
    return f"something slowed the device: its reference took {measured.reference_ms:.2f} ms, usually {usual_ms:.2f} ms"
