"""Measured latencies, kept by what they depend on, so that a repeat is free."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from trials.device import Device, DeviceIdentity, Latency


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

    def measure(self, device: Device, onnx_path: Path) -> tuple[Latency, bool]:
        """Give a file's latency, from here or from the device.

        Returns:
            The measurement, and whether it was here already.

        Raises:
            DeviceError: the device cannot measure it.
        """
        if known := self.get(onnx_path, device.identity()):
            return known, True
        measured = device.measure(onnx_path)
        self.put(onnx_path, measured)
        return measured, False

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30)
        with closing(connection), connection:  # closed at the end, and committed unless the block raised
            yield connection


def cache_key(onnx_path: Path, identity: DeviceIdentity) -> str:
    """Name a measurement by the file's content and the device's identity."""
    content = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    return f"{content[:32]}-{identity.key}"
