"""Our own strategy as an Optuna sampler: latency is known or predicted, accuracy is modelled, hypervolume is sought.

Spaces are too large to enumerate, so the strategy chooses from a pool: an even sample of the space, drawn once from the
study's seed, and the neighbours of the front's members as the search goes.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.strategy.accuracy_model import Observation
from search.strategy.candidate_pool import draw_pool
from search.strategy.encoder import Encoder
from search.strategy.pruning import extrapolate
from search.strategy.suggest import StrategySettings, suggest
from search.study.errors import SpaceExhaustedError, StudyError
from search.study.parameters import distributions, to_parameters
from search.study.pareto import Reference, front_indices
from search.study.study import to_record
from search.study.trial_attributes import note_why, tried_architecture, tried_trials
from spaces import Architecture, YoloRetError
from spaces.space import Space
from trials.latency.device import DeviceAwayError

LOOKUP = "lookup:"
"""Prefix of the study's attributes that hold looked-up latencies in ms; infinity where the device cannot run the network."""
_NEIGHBOURS = 40


class EhviSampler(BaseSampler):
    """Names the architecture that promises the most new hypervolume at its latency.

    It keeps nothing that is not in the study, so a resumed study proposes what an unbroken one would have. Latencies that
    it looks up become user attributes of the study: `LOOKUP` and the architecture's key.

    Args:
        space: Where proposals lie.
        measure_ms: Measures an architecture's latency in milliseconds; raises a `YoloRetError` where it cannot be.
        num_classes: Classes of the detectors, on which their cost depends.
        settings: The strategy's limit and what it may spend.
        seed: Of the study.
    """

    def __init__(
        self,
        space: Space,
        measure_ms: Callable[[Architecture], float],
        *,
        num_classes: int,
        settings: StrategySettings,
        seed: int,
    ) -> None:
        self._space = space
        self._measure_ms = measure_ms
        self._settings = settings
        self._seed = seed
        self._distributions = distributions(space)
        self._pool = draw_pool(space, seed)
        self._encoder = Encoder(num_classes=num_classes)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Give the whole space: every parameter is proposed together."""
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the strategy's next architecture.

        Raises:
            StudyError: nothing is left that may be tried.
            DeviceAwayError: the device that is to be asked for latencies is out of reach.
        """
        past, attributes = tried_trials(study), study.user_attrs
        tried = {one.number: tried_architecture(self._space, one) for one in past}
        candidates = self._candidates(list(tried.values()), past)
        index = {architecture.key: place for place, architecture in enumerate(candidates)}
        observations = self._observe(past, place=lambda one: index[tried[one.number].key])
        observed = {observation.candidate for observation in observations}
        running = {index[tried[one.number].key] for one in past if one.state == TrialState.RUNNING} - observed
        ended = {index[tried[one.number].key] for one in past} - observed - running
        suggestion = suggest(
            self._encoder.encode(candidates),
            observations,
            latency_ms=np.array([attributes.get(LOOKUP + one.key, np.nan) for one in candidates]),
            measure=lambda wanted: [self._look_up(study, candidates[place]) for place in wanted],
            # The corner that the study reports its hypervolume from.
            reference=Reference(ap=0.0, latency_ms=attributes["reference_latency_ms"]),
            settings=self._settings,
            pending=sorted(running),
            excluded=sorted(ended),
            seed=self._seed,
        )
        if suggestion is None:
            raise SpaceExhaustedError(
                f"no architecture of space {self._space.name!r} is left to try", hint="search a larger space"
            )
        note_why(study, trial, suggestion.why)
        return to_parameters(self._space, candidates[suggestion.candidate])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Refuse: a parameter outside the space means the study was made for another one."""
        raise StudyError(f"parameter {param_name!r} is not of space {self._space.name!r}")

    def _candidates(self, tried: Sequence[Architecture], past: Sequence[FrozenTrial]) -> list[Architecture]:
        """Give the pool, what was tried, and a seeded choice of the front's neighbours, each once."""
        complete = [one for one in past if one.user_attrs.get("state") == "complete"]
        ap, latency_ms = (np.array([one.values[axis] for one in complete]) for axis in (0, 1))
        by_number = dict(zip((one.number for one in past), tried, strict=True))
        found = {one.key: one for one in (*self._pool, *tried)}
        rng = random.Random(f"{self._seed}/{len(past)}")
        for member in front_indices(ap, latency_ms) if len(complete) else ():
            around = list(self._space.neighbours(by_number[complete[member].number]))
            found |= {one.key: one for one in rng.sample(around, min(_NEIGHBOURS, len(around)))}
        return list(found.values())

    def _observe(self, past: Sequence[FrozenTrial], *, place: Callable[[FrozenTrial], int]) -> list[Observation]:
        """Give what trainings say of AP: complete ones as they ended, pruned ones as they were expected to end."""
        records = {one.number: to_record(one, {}) for one in past if "result" in one.user_attrs}
        complete = [record for record in records.values() if record.point is not None]
        observations = []
        for one in past:
            record = records.get(one.number)
            if record is None or record.result.latency is None:
                continue
            ap, ap_std = record.result.ap, 0.0
            if record.result.state == "pruned":
                end = extrapolate(record.curve, record.result.latency.median_ms, complete)
                if end is None:
                    continue
                ap, ap_std = end.ap, end.ap_std
            elif record.point is None:
                continue
            assert ap is not None  # a scored trial has one
            latency_ms = record.result.latency.median_ms
            observations.append(Observation(candidate=place(one), ap=ap, latency_ms=latency_ms, ap_std=ap_std))
        return observations

    def _look_up(self, study: Study, architecture: Architecture) -> float:
        try:
            latency_ms = self._measure_ms(architecture)
        except DeviceAwayError:
            raise  # it tells nothing of the architecture
        except YoloRetError:
            latency_ms = math.inf  # the device cannot run it; its own trial would report why
        study.set_user_attr(LOOKUP + architecture.key, latency_ms)
        return latency_ms
