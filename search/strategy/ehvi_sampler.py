"""The default strategy as an Optuna sampler: expected hypervolume improvement at a latency known before the training.

It chooses from a pool of architectures: an even sample of the space, drawn once from the study's seed, to which the
neighbours of the front's members are added as the search proceeds. `search.strategy.suggest` makes the choice.
"""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.strategy.candidates import Encoder, draw_neighbours, draw_pool
from search.strategy.observations import observe
from search.strategy.optuna_samplers import ArchitectureSampler
from search.strategy.settings import StrategySettings
from search.strategy.suggest import suggest
from search.study.errors import SpaceExhaustedError
from search.study.pareto import Reference, front_indices
from search.study.study import to_record
from search.study.trial_attributes import tried_architecture, tried_trials
from spaces import Architecture, YoloRetError
from spaces.space import Space
from trials.latency import DeviceAwayError

LOOKUP = "lookup:"
"""Prefix of the study's attributes that hold looked-up latencies in ms; infinity where the device cannot run the network."""


class EhviSampler(ArchitectureSampler):
    """Proposes the architecture with the largest expected hypervolume improvement for its cost.

    All its state is in the study, so a resumed study proposes the same as an uninterrupted one. It stores the latencies
    that it looks up as user attributes of the study, named `LOOKUP` and the architecture's key.

    Args:
        space: Source of the proposals.
        measure_ms: Returns an architecture's latency in ms; raises a `YoloRetError` where the device cannot run it.
        num_classes: Number of classes of the detectors, on which their cost depends.
        settings: The strategy's limit and effort.
        seed: Seed of the study.
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
        super().__init__(space, seed=seed)
        self._measure_ms = measure_ms
        self._settings = settings
        self._pool = draw_pool(space, seed)
        self._encoder = Encoder(num_classes=num_classes)

    def propose(self, study: Study, trial: FrozenTrial) -> tuple[Architecture, str]:
        """Return the candidate of :func:`suggest`.

        Raises:
            SpaceExhaustedError: no candidate is left.
            DeviceAwayError: a latency is needed and the device cannot be reached.
        """
        past, attributes = tried_trials(study), study.user_attrs
        tried = {one.number: tried_architecture(self._space, one) for one in past}
        candidates = self._candidates(list(tried.values()), past)
        index = {architecture.key: place for place, architecture in enumerate(candidates)}
        places = {number: index[architecture.key] for number, architecture in tried.items()}
        records = [to_record(one, {}) for one in past if "result" in one.user_attrs]
        observations = observe(records, places)
        observed = {observation.candidate for observation in observations}
        running = {places[one.number] for one in past if one.state == TrialState.RUNNING} - observed
        suggestion = suggest(
            self._encoder.encode(candidates),
            observations,
            latency_ms=np.array([attributes.get(LOOKUP + one.key, np.nan) for one in candidates]),
            measure=lambda wanted: [self._look_up(study, candidates[place]) for place in wanted],
            # The corner that the study reports its hypervolume from.
            reference=Reference(ap=0.0, latency_ms=attributes["reference_latency_ms"]),
            settings=self._settings,
            pending=sorted(running),
            excluded=sorted(set(places.values()) - observed - running),
            seed=self._seed,
        )
        if suggestion is None:
            raise SpaceExhaustedError(
                f"no architecture of space {self._space.name!r} is left to try", hint="search a larger space"
            )
        return candidates[suggestion.candidate], suggestion.why

    def _candidates(self, tried: Sequence[Architecture], past: Sequence[FrozenTrial]) -> list[Architecture]:
        """Return the pool, the tried architectures and a seeded sample of the front's neighbours, without repeats."""
        complete = [one for one in past if one.user_attrs.get("state") == "complete"]
        ap, latency_ms = (np.array([one.values[axis] for one in complete]) for axis in (0, 1))
        by_number = dict(zip((one.number for one in past), tried, strict=True))
        found = {one.key: one for one in (*self._pool, *tried)}
        rng = random.Random(f"{self._seed}/{len(past)}")
        for member in front_indices(ap, latency_ms) if len(complete) else ():
            around = draw_neighbours(self._space, by_number[complete[member].number], rng)
            found |= {one.key: one for one in around}
        return list(found.values())

    def _look_up(self, study: Study, architecture: Architecture) -> float:
        try:
            latency_ms = self._measure_ms(architecture)
        except DeviceAwayError:
            raise  # not the architecture's fault
        except YoloRetError:
            latency_ms = math.inf  # the device cannot run it
        study.set_user_attr(LOOKUP + architecture.key, latency_ms)
        return latency_ms
