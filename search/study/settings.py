"""What makes a study, and what may change when it goes on."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from search.study.errors import StudyError
from spaces.space import Space
from trials.training.settings import TrainSettings

SamplerName = Literal["front", "gp", "tpe", "nsga2", "random", "grid"]

OF_THE_MACHINE = ("num_threads", "num_workers", "cache_mib")
"""Training settings that say how much of the machine a trial takes, which follows from how many run at once."""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """All a study depends on."""

    name: str
    """Names the study's folder and its MLflow experiment: letters, digits, dot, dash, underscore."""
    space: Space
    """Where architectures come from."""
    dataset: str
    """What the user typed for the data."""
    device: str
    """What the user typed for the device."""
    train: TrainSettings
    """How each trial trains."""
    also_measure: tuple[str, ...] = ()
    """Further devices whose latency is recorded beside the objective's."""
    budget: int = 50
    """Finished trials in all, earlier runs counted."""
    max_latency_ms: float | None = None
    """Trials slower than this are not trained."""
    sampler: SamplerName = "front"
    """Who proposes architectures."""
    seed: int = 0
    """Of the sampler."""
    prune: bool = True
    """Whether a trial that cannot reach the front is stopped early."""
    inherit: bool = False
    """Whether a trial starts from the weights of the finished one that fits best, rather than from nothing."""
    skip_broken: bool = False
    """Whether broken images and annotations are left out rather than ending the study."""
    root: Path = Path("runs")
    """Folder of all studies, stores and caches."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.budget < 1:
            raise StudyError(f"a budget of {self.budget} trials finds nothing", hint="give at least 1")
        if self.max_latency_ms is not None and self.max_latency_ms <= 0:
            raise StudyError(f"a latency limit of {self.max_latency_ms} ms excludes every network")

    @property
    def folder(self) -> Path:
        """Where the study's files are."""
        return self.root / self.name

    @property
    def latency_cache(self) -> Path:
        """The latency cache, shared by all studies of the root."""
        return self.root / "latency.db"

    def trial_folder(self, number: int) -> Path:
        """Where one trial's files are."""
        return self.folder / "trials" / f"{number:04d}"

    def fixed(self) -> dict[str, Any]:
        """Give what must stay the same when the study goes on, of JSON types only."""
        return {
            "space": self.space.to_dict(),
            "dataset": self.dataset,
            "device": self.device,
            "also_measure": list(self.also_measure),
            "max_latency_ms": self.max_latency_ms,
            "train": {k: v for k, v in dataclasses.asdict(self.train).items() if k not in OF_THE_MACHINE},
            "sampler": self.sampler,
            "seed": self.seed,
            "prune": self.prune,
            "inherit": self.inherit,
            "skip_broken": self.skip_broken,
        }


def check_name(name: str) -> None:
    """Refuse a study's or experiment's name that cannot name a folder.

    Raises:
        StudyError: it cannot.
    """
    if not name or name.startswith(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise StudyError(
            f"study name {name!r} cannot name a folder", hint="use letters, digits, dots, dashes, underscores"
        )


def changes(before: dict[str, Any], after: dict[str, Any], *, prefix: str = "") -> list[str]:
    """Say what differs between two fixed parts of settings, one line each, nested names joined by dots."""
    lines = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += changes(old, new, prefix=f"{prefix}{name}.")
        elif old != new:
            lines.append(f"{prefix}{name} was {old}, is {new}")
    return lines
