"""What a trial is asked, and what it answers; both travel to other processes and machines."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spaces import Architecture
from trials.latency.device import Latency
from trials.training import TrainSettings

State = Literal["complete", "pruned", "infeasible", "failed"]

ARCHITECTURE_FILE = "architecture.json"
ONNX_FILE = "model.onnx"
RESULT_FILE = "result.json"


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """All a trial needs to know; it travels to other processes and machines."""

    number: int
    """The trial's number in its study, from 0."""
    architecture: Architecture
    """What to try."""
    dataset: str
    """What the user typed for the data."""
    skip_broken: bool
    """Whether broken items are left out rather than ending the trial."""
    device: str
    """What the user typed for the device."""
    device_key: str = ""
    """Key of the identity the study began on; a device that has become another one ends the trial. Empty for any."""
    also_measure: tuple[str, ...] = ()
    """Further devices whose latency is recorded beside it; no objective, no gate."""
    max_latency_ms: float | None
    """The gate: a median above it ends the trial infeasible; None lets all pass."""
    train: TrainSettings
    """How to train."""
    parent: Path | None = None
    """Checkpoint of the trial whose weights this one starts from where they fit; None for from nothing (or ImageNet)."""
    work_dir: Path
    """The trial's own folder: architecture, ONNX, checkpoint and result are written there."""
    latency_cache: Path
    """The cache's file."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial ended, and all it found out."""

    state: State
    """How it ended."""
    reason: str = ""
    """Why it is not complete; empty where it is."""
    latency: Latency | None = None
    """None where the trial failed before."""
    ap: float | None = None
    """AP@[.5:.95] on the validation split, 0 to 1; of the last scored epoch where pruned, None where never scored."""
    ap50: float | None = None
    """AP at IoU 0.5."""
    per_class_ap: Mapping[str, float] = field(default_factory=dict)
    """Class name to AP@[.5:.95]; classes without a validation object are left out."""
    macs: int | None = None
    """Multiply-adds of one image."""
    params: int | None = None
    """Trainable values."""
    epochs: int = 0
    """Epochs trained."""
    history: tuple[tuple[int, float, float | None, float | None], ...] = ()
    """Epoch, mean loss, AP and AP50 (None where not scored)."""
    inherited: float = 0.0
    """Share of the network's values that came from another trial, 0 to 1."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Where the time went: build (data, network), measure (ONNX, waiting for a quiet machine, timing), train (anchors and
    Lightning's set-up to the written weights), score, and aside: waiting while another trial of this machine measured."""
    also: Mapping[str, Latency] = field(default_factory=dict)
    """What the further devices measured, by what the user typed for them."""
    notes: tuple[str, ...] = ()
    """What went wrong beside the trial: a further device that could not measure."""
    is_latency_cached: bool = False
    """Whether the latency came from the cache."""
    is_device_away: bool = False
    """Whether it failed for the device alone, which stayed out of reach: the same trial may well succeed later."""

    def to_dict(self) -> dict[str, Any]:
        """Give the form of JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["latency"] = self.latency.to_dict() if self.latency else None
        also = {device: latency.to_dict() for device, latency in self.also.items()}
        return {**values, "per_class_ap": dict(self.per_class_ap), "seconds": dict(self.seconds), "also": also}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialResult":
        """Invert `to_dict`; fields that an earlier version did not know take their defaults."""
        decoded = dict(values)
        if values.get("latency"):
            decoded["latency"] = Latency.from_dict(values["latency"])
        decoded["also"] = {name: Latency.from_dict(one) for name, one in values.get("also", {}).items()}
        decoded["history"] = tuple(tuple(row) for row in values.get("history", ()))
        decoded["notes"] = tuple(values.get("notes", ()))
        return cls(**decoded)


def read_result(work_dir: Path) -> TrialResult | None:
    """Give the result a trial left in its folder, None where it never got so far."""
    path = work_dir / RESULT_FILE
    if not path.is_file():
        return None
    return TrialResult.from_dict(json.loads(path.read_text(encoding="utf-8")))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
    os.replace(partial, path)
