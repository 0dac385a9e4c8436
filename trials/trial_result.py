"""The request and the result of a trial; both are sent between processes and machines."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from spaces import Architecture, YoloRetError
from spaces.documents import build_value, parse_json
from spaces.space import Space
from trials.latency import Latency
from trials.latency.open_device import without_limits
from trials.training import NumberFormat, TrainSettings
from trials.whole_file import whole_file

State = Literal["complete", "pruned", "infeasible", "failed"]

ARCHITECTURE_FILE = "architecture.json"
ONNX_FILE = "model.onnx"
RESULT_FILE = "result.json"
TRACEBACK_FILE = "traceback.txt"
TRACEBACK_ELSEWHERE_FILE = "traceback-elsewhere.txt"
"""Unexpected errors of the further devices."""
DETECTIONS_FILE = "detections.jpg"
"""What the network finds on a few validation images, if the trial is complete."""


class DamagedFileError(YoloRetError, ValueError):
    """A file that this package wrote cannot be read any more."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A latency of the trial's network that was measured before the trial began, by a host that reaches the device."""

    latency: Latency
    """The measurement."""
    opset: int
    """Operator set of the file that was timed."""
    is_cached: bool
    """Whether it came from a cache."""


@dataclass(frozen=True, kw_only=True)
class OneShotTask:
    """What to do instead of a trial: train the weights that the networks of a space share."""

    space: Space
    """One that `trials.one_shot.sandwich.check_shareable` accepts."""
    num_scored: int
    """Networks to take out and score afterwards, at random and with the validation split."""


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """The input of a trial, or of the training that comes before the first one."""

    study_id: str
    """Id of the study or experiment it belongs to; its result holds it."""
    number: int
    """The trial's number in its study, from 0; -1 with `one_shot`."""
    architecture: Architecture
    """The network to build."""
    dataset: str
    """The dataset, as the user typed it."""
    skip_broken: bool
    """Whether broken items are skipped rather than failing the trial."""
    broken_images: tuple[str, ...] = ()
    """Names of samples to leave out besides, since their images do not decode."""
    fingerprint: str = ""
    """Of the dataset without them; other data fail the trial. Empty accepts any."""
    num_classes: int = 0
    """Classes of the dataset, for a measurement before it is opened."""
    device: str
    """The latency device, as the user typed it."""
    device_key: str = ""
    """Key of the study's device identity; a device with another one fails the trial. Empty accepts any."""
    also_measure: tuple[str, ...] = ()
    """Further devices whose latency is recorded; neither an objective nor limited."""
    also_keys: Mapping[str, str] = field(default_factory=dict)
    """Further device, without its time limits, to the key of the identity that the run's latencies on it hold for: one with
    another key is not recorded. A device that is missing here may have any."""
    scales: Mapping[str, Latency] = field(default_factory=dict)
    """Device, without its time limits, to an earlier latency of the run on it, to whose scale the trial's is brought
    (`trials.latency.cache`); the others have that of the cache's folder."""
    measured: Mapping[str, Measured | YoloRetError] = field(default_factory=dict)
    """Device to what was measured on it before, or why nothing was; the trial measures on the others itself."""
    max_latency_ms: float | None
    """A median above this ends the trial as infeasible; None for no limit."""
    train: TrainSettings
    """The training settings."""
    parent: Path | None = None
    """Checkpoint of the trial whose weights are inherited where they fit, or the study's shared weights; None for random or
    ImageNet weights."""
    is_shared: bool = False
    """Whether `parent` holds shared weights."""
    one_shot: OneShotTask | None = None
    """None for a trial of `architecture`."""
    work_dir: Path
    """The trial's folder, for architecture, ONNX file, checkpoint and result."""
    latency_cache: Path
    """The file of the latency cache."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial ended, and what it found."""

    state: State
    """How it ended."""
    reason: str = ""
    """Why it is not complete; empty if it is."""
    latency: Latency | None = None
    """None if the trial failed before the measurement."""
    ap: float | None = None
    """AP@[.5:.95] on the validation split, 0 to 1; of the last scored epoch if pruned, None if never scored."""
    ap50: float | None = None
    """AP at IoU 0.5."""
    per_class_ap: Mapping[str, float] = field(default_factory=dict)
    """Class name to AP@[.5:.95], without classes that have no validation object."""
    macs: int | None = None
    """Multiply-adds of one image."""
    params: int | None = None
    """Trainable parameters."""
    epochs: int = 0
    """Finished epochs."""
    fingerprint: str = ""
    """Of the data that it was trained and scored on; empty if not trained."""
    precision: NumberFormat | None = None
    """Number format of the training steps; None if not trained."""
    trained_on: str = ""
    """Processor and number of data workers of the training; empty if not trained."""
    history: tuple[tuple[int, float, float | None, float | None], ...] = ()
    """Epoch, mean loss, AP and AP50 (None where not scored)."""
    inherited: float = 0.0
    """Share of the network's values inherited from another trial, 0 to 1."""
    is_from_shared: bool = False
    """Whether it began with its slice of the study's shared weights."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time by phase: build (data, network), measure (ONNX export, waiting for the measurement lock, timing), train (from
    anchors to the written weights), score, and aside (waiting while another trial of this machine measures)."""
    also: Mapping[str, Latency] = field(default_factory=dict)
    """Latency on the further devices, by device as the user typed it, without its time limits."""
    notes: tuple[str, ...] = ()
    """Problems that do not fail the trial: a further device that could not measure, or has become another one."""
    is_latency_cached: bool = False
    """Whether the latency came from the cache."""
    is_device_away: bool = False
    """Whether it failed only because the device could not be reached or used: the same trial may succeed later."""
    is_outside_fault: bool = False
    """Whether a fault of the data or this machine ended it, such as a full disk: every other trial would fail alike."""

    def __post_init__(self) -> None:
        for name in ("ap", "ap50"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}, no number from 0 to 1")

    def to_dict(self) -> dict[str, Any]:
        """Return the result in JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialResult":
        """Invert `to_dict`; fields that are missing take their defaults.

        Raises:
            ValueError: the values are not those of a result.
        """
        result = build_value(cls, values)
        return replace(
            result, also={without_limits(spec): one for spec, one in result.also.items()}
        )  # they had limits once


def write_result(work_dir: Path, result: TrialResult, *, study_id: str, architecture: Architecture) -> None:
    """Write a trial's result into its folder, with what tells whose result it is."""
    write_json(work_dir / RESULT_FILE, {"study_id": study_id, "architecture": architecture.key, **result.to_dict()})


def read_result(work_dir: Path, *, study_id: str, architecture: Architecture) -> TrialResult | None:
    """Return the result that a trial of this study with this architecture wrote into its folder.

    Returns:
        None without a result, or with another trial's: a study whose database was deleted leaves folders of the same
        numbers behind.

    Raises:
        DamagedFileError: it is cut off, for example.
    """
    path = work_dir / RESULT_FILE
    if not path.is_file():
        return None
    hint = f"delete it (rm {shlex.quote(str(path))}): its trial is then run again"
    values = read_json(path, hint=hint)
    if (values.pop("study_id", None), values.pop("architecture", None)) != (study_id, architecture.key):
        return None
    try:
        return TrialResult.from_dict(values)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: {error}", hint=hint) from error


def read_json(path: Path, *, hint: str) -> dict[str, Any]:
    """Read a file of `write_json`.

    Args:
        path: The file.
        hint: What the user can do if it is damaged.

    Raises:
        DamagedFileError: it is no JSON, or no mapping.
    """
    try:
        values = parse_json(path.read_bytes(), unique_keys=True)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: {error}", hint=hint) from error
    if not isinstance(values, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no mapping", hint=hint)
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
