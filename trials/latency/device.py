"""The `Device` protocol, its errors, and the measurement it returns.

A latency is a measurement, not a number: it carries its samples, the device it is valid for, and notes.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from spaces import YoloRetError
from spaces.documents import build_value

GRAPH_REFUSED = "the network could not be recorded as a CUDA graph: launching its kernels is part of the figure"
"""Note of a latency on a GPU."""


class DeviceError(YoloRetError):
    """A device cannot be reached or used."""


class UnusableDeviceError(DeviceError):
    """A device cannot be used for any network until its user has done something; this says nothing about the network."""


class UnknownDeviceError(UnusableDeviceError, ValueError):
    """A text names no device, or a feature that the device lacks."""


class DeviceAwayError(DeviceError):
    """A device cannot be reached now; the same call may succeed later, and is made again."""


class UnstableError(DeviceError):
    """A device gives no steady latency; the message names the cause."""


@dataclass(frozen=True, kw_only=True)
class DeviceIdentity:
    """Everything besides the network that a latency depends on; devices of equal identity give equal latencies."""

    kind: str
    """``cpu``, ``cuda`` or ``ssh``; a new kind is described in `trials.latency.comparison`."""
    board: str
    """Model of the processor or board."""
    backend: str
    """Runtime and its version."""
    precision: str
    """Of weights and activations."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Other settings that change the latency: threads, power mode, clocks."""

    @cached_property
    def key(self) -> str:
        """A hash of the identity, 16 hexadecimal digits."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        extras = "".join(f", {name} {value}" for name, value in self.settings.items())
        return f"{self.board} · {self.backend} · {self.precision}{extras}"

    def differences(self, other: "DeviceIdentity") -> list[str]:
        """List what changed from another identity to this one, one line per field."""
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
    """The passes that count, in order, in milliseconds."""
    device: DeviceIdentity
    """The device it is valid for."""
    reference_ms: float | None = None
    """Median of the fixed reference network, which shows the machine's own drift."""
    is_reference_in_turn: bool = False
    """Whether the reference was timed in turn with this network, so that both were slowed alike."""
    slowdown: float = 1.0
    """By what the passes are divided already: the reference's time over its first time in the cache's folder."""
    notes: tuple[str, ...] = ()
    """What was unusual: drift, repeats, spread."""
    seconds: float = 0.0
    """Duration of the measurement."""
    throughput_per_s: float | None = None
    """Passes per second as counted by the device; None where it does not count them."""
    engine: str = ""
    """The timed build of the network. Builds differ by the builder's choices, runs of one build by noise."""
    build_s: float | None = None
    """Duration of the build in seconds; None where a kept build was timed."""
    before: Mapping[str, float] = field(default_factory=dict)
    """The device's state before the run, by name with unit: ``gpu_mhz``, ``temperature_c``, …"""
    after: Mapping[str, float] = field(default_factory=dict)
    """Its state after the run."""

    def __post_init__(self) -> None:
        if not self.samples_ms or not all(math.isfinite(sample) and sample > 0 for sample in self.samples_ms):
            raise ValueError("a latency needs at least one sample, each finite and above 0 ms")

    @cached_property
    def median_ms(self) -> float:
        """The median, which is the objective."""
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
        """Return a percentile of the samples, 0 to 100."""
        return float(np.percentile(self.samples_ms, percent))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary with all fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Latency":
        """Invert `to_dict`.

        Raises:
            ValueError: the values are not those of a latency.
        """
        return build_value(cls, values)


class Device(Protocol):
    """Times ONNX files, one at a time. A new device is opened in `trials.latency.open_device`."""

    @property
    def name(self) -> str:
        """The device as the user typed it."""

    @property
    def opset(self) -> int:
        """The ONNX operator set to write files in."""

    def identity(self) -> DeviceIdentity:
        """Return what its latencies are valid for.

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
            UnstableError: no run was steady.
        """

    def close(self) -> None:
        """Release the device's resources; may be called more than once."""


@runtime_checkable
class EngineBuilder(Device, Protocol):
    """A device with TensorRT, whose engines can be taken away; they run where TensorRT and GPU are the same."""

    @property
    def converts_to_fp16(self) -> bool:
        """Whether it makes FP16 of an FP32 file by itself, input and outputs left in FP32."""

    def build_engine(self, onnx_path: Path, target: Path) -> None:
        """Build the engine that `measure` times.

        Args:
            onnx_path: As for `measure`; in FP16 where the device does not convert.
            target: The file to write on this machine.

        Raises:
            DeviceError: the device cannot be reached, or cannot build the network.
            UnsupportedNetworkError: its TensorRT cannot take the file.
        """

    def run_export(self, folder: Path, options: Sequence[str]) -> str:
        """Run the program of an export on the images in its folder, where the device is.

        Args:
            folder: With ``run.py``, what it needs, and images; no folders.
            options: Of ``run.py``.

        Returns:
            What it printed.

        Raises:
            DeviceError: it did not run to its end; the message says why, for example that a Python package is missing.
        """


def _flat(identity: DeviceIdentity) -> dict[str, str]:
    fields = {name: str(value) for name, value in dataclasses.asdict(identity).items() if name != "settings"}
    return {**fields, **identity.settings}
