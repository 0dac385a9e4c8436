"""What makes a study, and what may change when it is resumed."""

import dataclasses
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from search.front.record import trial_folder
from search.study.errors import StudyError
from search.study.prior import BUILT_IN
from spaces.aspect import SQUARE
from spaces.space import Space
from trials.data.augmentation import AugmentSettings
from trials.latency.cache import LATENCY_FILE
from trials.latency.open_device import without_limits
from trials.training import TrainSettings
from trials.training.losses.aligned_loss import AlignedLossSettings
from trials.training.losses.anchored_loss import LossSettings

Keep = Literal["front", "all"]
SamplerName = Literal["ehvi", "gp", "tpe", "nsga2", "random", "grid"]

MACHINE_SETTINGS = ("num_threads", "num_workers", "cache_mib")
"""Training settings that follow from the machine and from how many trials run at once."""

_OPTIONS = {
    "dataset": "--data",
    "space.aspect": "--aspect",
    "max_latency_ms": "--max-latency",
    "train.epochs": "--epochs",
    "train.batch_size": "--batch-size",
    "train.recipe": "--recipe",
    "train.precision": "--precision",
    "one_shot": "--one-shot",
    "prior": "--prior",
}
"""Settings whose option has another name, to that option."""
_MAY_DIFFER = ("skip_broken", "device", "also_measure")
"""Recorded settings that are those of the last run: of a device the time limits may differ alone."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(ABC):
    """What a search and an experiment have in common: where trials train, where they are timed, where files go."""

    name: str
    """Names the folder and the MLflow experiment: letters, digits, dot, dash, underscore."""
    dataset: str
    """The data as the user typed it."""
    device: str
    """The latency device as the user typed it."""
    train: TrainSettings
    """How each trial trains."""
    also_measure: tuple[str, ...] = ()
    """Further devices whose latency is recorded beside the objective's."""
    skip_broken: bool = False
    """Whether broken images and annotations are left out rather than ending the run; what that changes shows in the data."""
    accept_changed_data: bool = False
    """Whether to resume although images or annotations changed after trainings had finished."""
    root: Path = Path("runs")
    """Folder of all studies and experiments, stores and caches."""

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or not all(c.isalnum() or c in "._-" for c in self.name):
            raise StudyError(
                f"study name {self.name!r} cannot name a folder", hint="use letters, digits, dots, dashes, underscores"
            )

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.root / self.name

    @property
    def latency_cache(self) -> Path:
        """The latency cache, shared by everything under the root."""
        return self.root / LATENCY_FILE

    @property
    def open_axes(self) -> tuple[str, ...]:
        """Axes of the architecture to show beside each result: those that vary."""
        return ()

    def trial_folder(self, number: int) -> Path:
        """Return the folder of one trial's files."""
        return trial_folder(self.folder, number)

    @abstractmethod
    def fixed(self) -> dict[str, Any]:
        """Return what must stay the same when the run is resumed, of JSON types only."""

    def renew(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Return `fixed` of when the run began, which `check_unchanged` accepts, with what may differ as it is now."""
        return {**before, **{name: value for name, value in self.fixed().items() if name in _MAY_DIFFER}}

    def check_unchanged(self, before: Mapping[str, Any], *, hint: str) -> None:
        """Refuse to resume with other settings than the run began with.

        Args:
            before: `fixed` of when it began.
            hint: The way out.

        Raises:
            StudyError: with the first three differences.
        """
        now = _completed(json.loads(json.dumps(self.fixed())))
        lines = differences(_completed({**before, "skip_broken": now["skip_broken"]}), now)
        if lines:
            shown = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
            raise StudyError(f"study {self.name!r} exists with other settings: {shown}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class StudySettings(RunSettings):
    """All a study depends on."""

    space: Space
    """Where architectures come from."""
    aspect: str | None = None
    """Width to height of the networks' input, as ``16:9``, whatever the space says; None for what the space says, or else
    what the study was begun with, for a new one that of the images."""
    budget: int = 50
    """Finished trials in all, earlier runs counted."""
    max_latency_ms: float | None = None
    """Trials slower than this are not trained (`trials.trial`); `search.strategy` avoids proposing them."""
    sampler: SamplerName = "ehvi"
    """Who proposes architectures."""
    seed: int = 0
    """Seed of the sampler."""
    prune: bool = True
    """Whether a trial that cannot reach the front is stopped early."""
    inherit: bool = False
    """Whether a trial starts from the weights of the finished trial that fits best."""
    one_shot: bool = False
    """Whether weights that all networks of the space share are trained first, and trials start from them; `train` then says
    how one network would be trained alone (`search.study.one_shot`)."""
    prior: tuple[str, ...] = ()
    """Earlier studies, from which the sampler learns before the first training: the names of those under `root`, the folders
    of others, or ``built-in``. Each once, however it was typed."""
    keep: Keep | None = None
    """Whose weights stay (`search.study.kept_weights`); None for what the study was begun with, ``front`` for a new one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget < 1:
            raise StudyError(f"a budget of {self.budget} trials finds nothing", hint="give at least 1")
        if self.prior and self.sampler != "ehvi":
            raise StudyError(
                f"sampler {self.sampler!r} takes no prior",
                hint="give --prior none, or take --sampler ehvi",
            )
        named: dict[Path | None, str] = {}
        for one in map(self._named_once, self.prior):
            named.setdefault(self._folder_of(one), one)
        object.__setattr__(self, "prior", tuple(named.values()))
        if self.aspect is not None:
            object.__setattr__(self, "space", self.space.with_aspects((self.aspect,)))
        if self.name in self.prior:
            raise StudyError(
                f"study {self.name!r} cannot be its own prior", hint="name an earlier one, or another --study"
            )
        if self.max_latency_ms is not None and self.max_latency_ms <= 0:
            raise StudyError(f"a latency limit of {self.max_latency_ms} ms excludes every network")

    def place_of(self, prior: str) -> tuple[Path, str]:
        """Return the folder of studies and the name of an earlier study that `prior` lists."""
        folder = self.root / prior  # an absolute path stays as it is
        if folder.is_symlink():  # a link to a study's folder is that study
            folder = folder.resolve()
        return folder.parent, folder.name

    def are_same_priors(self, others: Sequence[str]) -> bool:
        """Return whether other priors are these, however they were typed."""
        return {self._folder_of(one) for one in others} == {self._folder_of(one) for one in self.prior}

    def _folder_of(self, prior: str) -> Path | None:
        return None if prior == BUILT_IN else (self.root / prior).resolve()

    def _named_once(self, prior: str) -> str:
        """Return the name of a study under the root, or the absolute path of another."""
        if os.sep not in prior:
            return prior
        folder = Path(os.path.abspath(prior))  # links stay: the place that one leads to may move
        is_here = folder.parent.resolve() == self.root.resolve() and folder.name != BUILT_IN
        return folder.name if is_here else str(folder)

    @property
    def open_axes(self) -> tuple[str, ...]:
        """The axes that the study chooses on."""
        return self.space.open_axes

    def fixed(self) -> dict[str, Any]:
        """Return what must stay the same when the study is resumed."""
        return {
            "space": self.space.to_dict(),
            "dataset": self.dataset,
            "device": self.device,
            "also_measure": list(self.also_measure),
            "max_latency_ms": self.max_latency_ms,
            "train": fixed_training(self.train),
            "sampler": self.sampler,
            "seed": self.seed,
            "prune": self.prune,
            "inherit": self.inherit,
            "one_shot": self.one_shot,
            "prior": sorted(self.prior),
            "skip_broken": self.skip_broken,
        }


def fixed_training(train: TrainSettings, *, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the training settings that must stay the same when a run is resumed."""
    skipped = (*MACHINE_SETTINGS, *leave_out)
    return {name: value for name, value in dataclasses.asdict(train).items() if name not in skipped}


def to_train_settings(recorded: Mapping[str, Any]) -> TrainSettings:
    """Return the training settings that a run recorded (`fixed_training`); those of the machine are the defaults.

    Args:
        recorded: Read from JSON.
    """
    nested = {"loss": LossSettings, "aligned_loss": AlignedLossSettings, "augmentation": AugmentSettings}
    return TrainSettings(
        **{name: _restore(nested[name], value) if name in nested else value for name, value in recorded.items()}
    )


def _restore(kind: type[Any], recorded: Mapping[str, Any]) -> Any:
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in recorded.items()})


def _completed(fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return fixed settings to compare: devices without time limits, and what these settings do not list.

    That is the aspect of a space of squares, and settings newer than they.
    """
    found = {
        **fixed,
        "train": fixed_training(to_train_settings(fixed["train"])),
        "device": without_limits(fixed["device"]),
    }
    if "also_measure" in fixed:
        found["also_measure"] = [without_limits(spec) for spec in fixed["also_measure"]]
    return {**found, "space": {"aspect": [SQUARE], **fixed["space"]}} if "space" in fixed else found


def differences(before: dict[str, Any], after: dict[str, Any], *, prefix: str = "") -> list[str]:
    """Return what differs between two settings, one line each, nested names joined by dots."""
    lines = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, prefix=f"{prefix}{name}.")
        elif old != new:
            option = _OPTIONS.get(f"{prefix}{name}")
            lines.append(f"{prefix}{name} was {_shown(old)}, is {_shown(new)}{f' ({option})' if option else ''}")
    return lines


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
