"""What a search is asked for; the settings themselves are `search.study.settings`."""

import os.path
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spaces.aspect import parse_aspect
from yoloret_nas.options.choices import KEPT, RECIPES, SAMPLERS, SPACES
from yoloret_nas.options.data import check_data, data_name, name_of
from yoloret_nas.options.values import OptionError, check_at_least, check_choice, check_folder

if TYPE_CHECKING:
    from search.study.settings import Keep, SamplerName
    from trials.training import RecipeName

NO_PRIOR = "none"
"""In place of an earlier study's name."""
_LEAST_SHARE = 0.01
_MOST_CPUS = 1024


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """The options about a Ray cluster.

    Raises:
        OptionError: one has a value that it does not take.
    """

    address: str | None = None
    """``local``, ``auto`` or ``ray://host:port``; None for this machine without Ray."""
    device_host: str | None = None
    """Ray resource of the host that measures latency; None for the driver's node."""
    gpus_per_trial: float | None = None
    """None for 1 where the cluster has GPUs."""
    cpus_per_trial: float | None = None
    """None for 2 with a GPU, else 1."""

    def __post_init__(self) -> None:
        if self.address is None:
            given = [
                name for name in ("device_host", "gpus_per_trial", "cpus_per_trial") if getattr(self, name) is not None
            ]
            if given:
                option = given[0].replace("_", "-")
                raise OptionError(f"--{option} is for a cluster", hint="add --cluster local, auto or ray://HOST:10001")
        elif self.address not in ("local", "auto") and not re.fullmatch(r"ray://[^/\s]+:[0-9]+", self.address):
            raise OptionError(
                f"--cluster {self.address!r} is none of local, auto, ray://HOST:PORT",
                hint="auto with RAY_ADDRESS=HOST:6379 names a cluster by the port that nodes join at",
            )
        cpus, gpus = self.cpus_per_trial, self.gpus_per_trial
        if cpus is not None and not (_LEAST_SHARE <= cpus <= 1 or cpus in range(1, _MOST_CPUS + 1)):
            raise OptionError(
                f"--cpus-per-trial is {cpus:g}; it must be a whole number, or {_LEAST_SHARE:g} to 1 to share a core"
            )
        if gpus is not None and not (gpus == 0 or _LEAST_SHARE <= gpus <= 1):
            raise OptionError(
                f"--gpus-per-trial is {gpus:g}; it must be 0, or {_LEAST_SHARE:g} to 1: a trial trains on one GPU, or "
                "shares it"
            )


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of `yoloret-nas search` and of `yoloret_nas.search`; None is the default that the help names.

    Raises:
        OptionError: one has a value that it does not take.
        ArchitectureError: the aspect is none.
    """

    budget: int
    data: str
    device: str
    also_measure: Sequence[str]
    max_latency: float | None
    """In milliseconds."""
    space: str | None
    aspect: str | None
    study: str | None
    epochs: int | None
    recipe: "RecipeName | None"
    batch_size: int | None
    weights_dir: Path | None
    sampler: "SamplerName"
    seed: int
    workers: int | None
    cluster: ClusterOptions
    prune: bool
    inherit: bool
    one_shot: bool
    prior: Sequence[str]
    """Empty for what the study began with; for a new one, what comes with the tool."""
    refit: int | None
    repeats: int
    skip_broken: bool
    accept_changed_data: bool
    keep: "Keep | None"
    dir: Path

    def __post_init__(self) -> None:
        check_at_least(
            1,
            budget=self.budget,
            epochs=self.epochs,
            batch_size=self.batch_size,
            workers=self.workers,
        )
        if self.aspect is not None:
            parse_aspect(self.aspect)
        check_at_least(0, seed=self.seed, refit=self.refit, repeats=self.repeats)
        check_choice("recipe", self.recipe, RECIPES)
        check_choice("keep", self.keep, KEPT)
        if self.inherit and self.keep == "front":
            raise OptionError("inherit takes the weights of any trial, so keep must be all", hint="leave out keep")
        if self.inherit and self.one_shot:
            raise OptionError(
                "trials start from shared weights or from each other's", hint="give --one-shot or --inherit"
            )
        others = ", ".join(one for one in self.prior if one != NO_PRIOR)
        if others and NO_PRIOR in self.prior:
            raise OptionError(f"prior is {NO_PRIOR} and {others}", hint=f"leave out {NO_PRIOR}, or the rest")
        check_choice("sampler", self.sampler, SAMPLERS)
        if self.space is not None:
            object.__setattr__(self, "space", os.path.expanduser(self.space))
        object.__setattr__(self, "prior", [os.path.expanduser(one) for one in self.prior])
        if self.space and self.space not in SPACES and not Path(self.space).is_file():
            raise OptionError(f"space {self.space!r} is none of {', '.join(SPACES)}, and no file")
        check_folder("weights_dir", self.weights_dir)
        object.__setattr__(self, "data", check_data(self.data))


def study_name(space: str, data: str, device: str) -> str:
    """Return the default name of a study."""
    return "-".join((name_of(space) or "space", data_name(data), name_of(device)))
