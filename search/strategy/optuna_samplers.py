"""Optuna's samplers over a space of architectures: every proposal is legal and new."""

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.study.database.parameters import distributions, from_parameters, to_parameters
from search.study.database.trial_attributes import note_why, tried_architecture, tried_trials
from search.study.errors import SpaceExhaustedError, StudyError
from search.study.settings import SamplerName
from spaces import Architecture
from spaces.counted import counted
from spaces.space import Space

_STARTUP_TRIALS = 10
_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its multiples modulo 1 fill the unit interval evenly at any length, and share no period with an axis."""


def _nsga2(seed: int) -> NSGAIISampler:
    # Optuna's default population of 50 would make the first 50 trials random.
    return NSGAIISampler(seed=seed, population_size=_STARTUP_TRIALS)


OPTUNA_SAMPLERS: dict[SamplerName, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, n_startup_trials=_STARTUP_TRIALS),
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=_STARTUP_TRIALS),
    "nsga2": _nsga2,
    "random": lambda seed: RandomSampler(seed=seed),
}
"""Name of a sampler to the function that builds it from a seed."""
_TITLES: dict[SamplerName, str] = {"tpe": "TPE", "gp": "Gaussian process", "nsga2": "NSGA-II"}


class ArchitectureSampler(BaseSampler, ABC):
    """Proposes all parameters of an architecture together."""

    def __init__(self, space: Space, *, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._distributions = distributions(space)

    @abstractmethod
    def propose(self, study: Study, trial: FrozenTrial) -> tuple[Architecture, str]:
        """Return an architecture that no trial of the study has tried, and why it is proposed.

        Raises:
            SpaceExhaustedError: every architecture was tried.
        """

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of the next architecture; raises what `propose` raises."""
        architecture, why = self.propose(study, trial)
        note_why(study, trial, why)
        return to_parameters(self._space, architecture)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Refuse a parameter outside the space: the study was made for another space."""
        raise StudyError(f"parameter {param_name!r} is not of space {self._space.name!r}")


class SpaceSampler(ArchitectureSampler):
    """Wraps an Optuna sampler: its proposal becomes the nearest architecture that was not tried yet.

    The grid has no inner sampler: it visits the space in strides that are even at any length, to its end.

    While the inner sampler has no proposal, the space is sampled evenly, which uniform sampling of its parameters would not
    do. The inner sampler is built anew for each proposal, seeded by the study's seed and the number of tried architectures,
    so that a resumed study proposes the same as an uninterrupted one. Trial numbers would not do as a seed: interrupted
    trials use them up.

    Args:
        space: Source of the proposals.
        name: The inner sampler.
        seed: Seed of the study.
    """

    def __init__(self, space: Space, *, name: SamplerName, seed: int) -> None:
        super().__init__(space, seed=seed)
        self._name = name

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Count the trial in a generation of NSGA-II, which counts only those that it is asked about: no queued ones."""
        if self._name == "nsga2":
            _nsga2(self._seed).get_trial_generation(study, trial)

    def propose(self, study: Study, trial: FrozenTrial) -> tuple[Architecture, str]:
        """Return the inner sampler's architecture, or the nearest untried one."""
        tried = {tried_architecture(self._space, past).key for past in tried_trials(study)}
        wanted, why = self._want(study, trial, num_tried=len(tried))
        return first_untried(wanted, self._space, tried=tried), why

    def _want(self, study: Study, trial: FrozenTrial, *, num_tried: int) -> tuple[Architecture, str]:
        """Return the architecture to propose, tried or not, and why."""
        if self._name == "grid":
            start = random.Random(self._seed).random()
            return self._space[int((start + num_tried * _GOLDEN_RATIO) % 1 * self._space.size)], "grid"
        rng = random.Random(f"{self._seed}/{num_tried}")
        proposal = self._ask_inner(study, trial, seed=rng.randrange(2**31))
        if proposal is not None:
            return from_parameters(self._space, proposal), _TITLES[self._name]
        sampled = self._space.sample(rng)
        if self._name == "random":
            return sampled, "random"
        return sampled, f"random, since {_TITLES[self._name]} needs more complete trials"

    def _ask_inner(self, study: Study, trial: FrozenTrial, *, seed: int) -> dict[str, Any] | None:
        """Return all parameters of the inner sampler's proposal; None while it has none."""
        if self._name == "random":
            return None
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(finished) < _STARTUP_TRIALS:
            return None
        inner = OPTUNA_SAMPLERS[self._name](seed)
        try:
            optuna.logging.disable_propagation()
            proposal = inner.sample_relative(study, trial, self._distributions)
            if not proposal and not (isinstance(inner, NSGAIISampler) and inner.get_trial_generation(study, trial) > 0):
                return None
            # NSGA-II leaves out what it mutates, perhaps everything, and draws it by itself.
            return {
                name: proposal[name] if name in proposal else inner.sample_independent(study, trial, name, distribution)
                for name, distribution in self._distributions.items()
            }
        finally:
            optuna.logging.enable_propagation()


def first_untried(wanted: Architecture, space: Space, *, tried: set[str]) -> Architecture:
    """Return the architecture itself, or the untried one that is the fewest steps away.

    Args:
        wanted: Start of the breadth-first search.
        space: The space to stay in.
        tried: Keys of the tried architectures.

    Raises:
        SpaceExhaustedError: every architecture was tried.
    """
    seen, waiting = {wanted.key}, deque([wanted])
    while waiting:
        candidate = waiting.popleft()
        if candidate.key not in tried:
            return candidate
        for neighbour in space.neighbours(candidate):
            if neighbour.key not in seen:
                seen.add(neighbour.key)
                waiting.append(neighbour)
    # Not every space is connected by steps along one axis: a coarser output may need a longer backbone too.
    for candidate in space:
        if candidate.key not in tried:
            return candidate
    raise SpaceExhaustedError(
        f"space {space.name!r} has {counted(space.size, 'architecture(s)')}, none of them untried",
        hint="search a larger space",
    )
