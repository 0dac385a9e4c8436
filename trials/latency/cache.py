"""Measured latencies, kept by what they depend on, so that a repeat is free."""

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
        if latency.is_reference_in_turn:
            self._add_reference(latency)

    def measure(self, device: Device, onnx_path: Path) -> tuple[Latency, bool]:
        """Give a file's latency, from here or from the device.

        What was measured while something else slowed the device down, as a reference timed in turn shows, is measured once
        more. If that is no better it is divided by how much slower the reference was, so that a study's latencies stay
        comparable; it says so in a note, and is not kept.

        Returns:
            The measurement, and whether it was here already.

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
        with closing(connection), connection:  # closed at the end, and committed unless the block raised
            yield connection


def cache_key(onnx_path: Path, identity: DeviceIdentity) -> str:
    """Name a measurement by the file's content and the device's identity."""
    content = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    return f"{content[:32]}-{identity.key}"


def _slowdown(measured: Latency, quiet_ms: float | None) -> float:
    """Give how many times as long the reference took as on the quiet device; 1 where nothing is known.

    A board's reference is timed now and then and watched by the board's own rules; it says nothing about one measurement.
    """
    if quiet_ms is None or measured.reference_ms is None or not measured.is_reference_in_turn:
        return 1.0
    return measured.reference_ms / quiet_ms


def _corrected(measured: Latency, slowdown: float) -> Latency:
    """Give a measurement as it would have been on the quiet device, by its reference; the reference stays as measured."""
    note = (
        f"something slowed the device: its reference took {slowdown:.2f} times as long as it does when quiet; "
        "what was measured is divided by that"
    )
    samples_ms = tuple(sample / slowdown for sample in measured.samples_ms)
    return replace(measured, samples_ms=samples_ms, notes=(*measured.notes, note))
