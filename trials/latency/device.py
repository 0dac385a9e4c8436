"""Where latency is measured: what a device is, and what it gives back.

Latency is a measurement, not a number: it carries its samples, its spread, the device it holds for, and what was odd.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from spaces import YoloRetError


class DeviceError(YoloRetError):
    """A device cannot be reached or used."""


class UnknownDeviceError(DeviceError, ValueError):
    """A text names no device, or asks of one what it has not."""


class DeviceAwayError(DeviceError):
    """A device cannot be reached now: the same call may well succeed later. Every other `DeviceError` is final."""


class UnstableError(DeviceError):
    """A device gives no steady latency; the message says what moved."""


@dataclass(frozen=True, kw_only=True)
class DeviceIdentity:
    """All that a latency depends on besides the network; two devices of one identity give one latency."""

    kind: str
    """``cpu``, ``cuda`` or ``ssh``."""
    board: str
    """Model of the processor or board."""
    backend: str
    """Runtime and its version."""
    precision: str
    """Of weights and activations."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Threads, power mode, clocks: whatever else moves the figure."""

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that stand for the identity."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        extras = "".join(f", {name} {value}" for name, value in self.settings.items())
        return f"{self.board} · {self.backend} · {self.precision}{extras}"

    def differences(self, other: "DeviceIdentity") -> list[str]:
        """Say what changed from another identity to this one, a line each."""
        before, after = _flat(other), _flat(self)
        return [
            f"{name}: {before.get(name, '—')} → {after.get(name, '—')}"
            for name in {**before, **after}
            if before.get(name) != after.get(name)
        ]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One measurement of one network: forward passes at batch 1, without pre-processing and NMS."""

    samples_ms: tuple[float, ...]
    """The timed passes that count, in order, in milliseconds; divided by a slowdown where the notes say so."""
    device: DeviceIdentity
    """What it holds for."""
    reference_ms: float | None = None
    """Median of the fixed reference network, so that the machine's own drift shows."""
    is_reference_in_turn: bool = False
    """Whether the reference was timed in turn with this network: what slowed it slowed this one too."""
    notes: tuple[str, ...] = ()
    """What was odd: drift, repeats, spread."""
    seconds: float = 0.0
    """How long the measurement took."""
    throughput_per_s: float | None = None
    """Passes a second as the device counted them, None where it does not."""
    engine: str = ""
    """Which build of the network was timed; builds of one network differ by the builder's choices, runs of one by noise."""
    build_s: float | None = None
    """Seconds the build took, None where nothing was built for this measurement."""
    before: Mapping[str, float] = field(default_factory=dict)
    """The device's state before the run, by name with unit: ``gpu_mhz``, ``temperature_c``, …"""
    after: Mapping[str, float] = field(default_factory=dict)
    """The same after it."""

    def __post_init__(self) -> None:
        if not self.samples_ms or not all(math.isfinite(sample) and sample > 0 for sample in self.samples_ms):
            raise ValueError("a latency needs at least one sample, each finite and above 0 ms")

    @cached_property
    def median_ms(self) -> float:
        """The objective."""
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> float:
        """The 90th percentile."""
        return self.percentile_ms(90)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return self.percentile_ms(99)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        return (self.percentile_ms(75) - self.percentile_ms(25)) / 2 / self.median_ms

    def percentile_ms(self, percent: float) -> float:
        """Give a percentile of the samples, 0 to 100."""
        return float(np.percentile(self.samples_ms, percent))

    def to_dict(self) -> dict[str, Any]:
        """Give the form of JSON, samples included."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Latency":
        """Invert `to_dict`."""
        sequences = {name: tuple(values[name]) for name in ("samples_ms", "notes")}
        return cls(**{**values, **sequences, "device": DeviceIdentity(**values["device"])})


class Device(Protocol):
    """Something that times ONNX files, one at a time."""

    @property
    def name(self) -> str:
        """What the user typed."""

    @property
    def opset(self) -> int:
        """The ONNX operator set it wants."""

    def identity(self) -> DeviceIdentity:
        """Tell what its figures hold for.

        Raises:
            DeviceError: it cannot be reached.
        """

    def measure(self, onnx_path: Path) -> Latency:
        """Time a network.

        Args:
            onnx_path: Static shapes, batch 1, operator set at most `opset`.

        Raises:
            DeviceError: the device cannot be reached, or cannot run the network.
            UnsupportedNetworkError: the device's TensorRT cannot take the file.
            UnstableError: it gave no steady figure, after repeats.
        """

    def close(self) -> None:
        """Give back what the device holds; harmless when repeated."""


def _flat(identity: DeviceIdentity) -> dict[str, str]:
    fields = {name: str(value) for name, value in dataclasses.asdict(identity).items() if name != "settings"}
    return {**fields, **identity.settings}
