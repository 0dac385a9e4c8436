"""The default strategy as an Optuna sampler: expected hypervolume improvement at a latency known before the training.

It chooses from a pool of architectures: an even sample of the space, drawn once from the study's seed, to which the
neighbours of the front's members are added as the search proceeds. `search.strategy.suggest` makes the choice.
"""

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.front.pareto import FloatArray, Reference, front_indices
from search.front.record import TrialRecord
from search.strategy.accuracy.belief import Belief, says_nothing, weighed
from search.strategy.accuracy.observations import observe
from search.strategy.candidates import Encoder, draw_neighbours, draw_pool
from search.strategy.latency.lookup_budget import affordable_lookups
from search.strategy.optuna_samplers import ArchitectureSampler
from search.strategy.settings import StrategySettings
from search.strategy.suggest import suggest
from search.study.database.trial_attributes import LOOKUP, tried_architecture, tried_trials
from search.study.errors import SpaceExhaustedError
from search.study.study import read_priors, to_record
from spaces import Architecture, YoloRetError
from spaces.space import Space
from trials.latency import DeviceAwayError, UnusableDeviceError
from trials.latency.cache import LatencyCacheError
from trials.onnx import UnsupportedNetworkError
from trials.onnx.export import ExportError
from trials.trial_result import TrialResult

LOOKUP_SECONDS = "lookup_seconds"
"""Name of the study's attribute that holds the seconds of each look-up, oldest first."""
FAILED_LOOKUPS = "failed_lookups:"
"""Prefix of the study's attributes that hold the reasons of a network's failed look-ups, oldest first."""

_FINAL = (UnsupportedNetworkError, ExportError)
"""Errors that depend on the network alone. Any other may pass: a busy machine, memory that other programs held."""
_NUM_SCALE_LOOKUPS = 6
"""Latencies measured before the first training under a limit, which a prediction without a scale cannot check."""
_MAX_TRAININGS = 2
"""Of a network that may fail without a latency, before its others are left out."""
_MAX_TRIES = 3
"""Failed look-ups, whatever their causes, after which an architecture counts as one that the device cannot run."""


class EhviSampler(ArchitectureSampler):
    """Proposes the architecture with the largest expected hypervolume improvement for its cost.

    All its state is in the study, so a resumed study proposes the same as an uninterrupted one. It stores the latencies
    that it looks up as user attributes of the study, named `LOOKUP` and the network's key.

    Args:
        space: Source of the proposals.
        measure_ms: Returns an architecture's latency in ms; raises a `YoloRetError` where the device gives none.
        notice: Called with a note for the user about each look-up that failed.
        num_classes: Number of classes of the detectors, on which their cost depends.
        settings: The strategy's limit and effort.
        seed: Seed of the study.
        workers: Returns how many trials run at once; a cluster grows.
    """

    def __init__(
        self,
        space: Space,
        measure_ms: Callable[[Architecture], float],
        *,
        notice: Callable[[str], None],
        num_classes: int,
        settings: StrategySettings,
        seed: int,
        workers: Callable[[], int] = lambda: 1,
    ) -> None:
        super().__init__(space, seed=seed)
        self._measure_ms = measure_ms
        self._notice = notice
        self._settings = settings
        self._workers = workers
        self._pool = draw_pool(space, seed)
        self._architectures: dict[int, Architecture] = {}
        self._records: dict[int, TrialRecord] = {}
        """By trial; what has ended does not change, and is read once."""
        self._encoder = Encoder(num_classes=num_classes)
        self._beliefs: list[Belief] | None = None

    def propose(self, study: Study, trial: FrozenTrial) -> tuple[Architecture, str]:
        """Return the candidate of :func:`suggest`.

        Raises:
            SpaceExhaustedError: no candidate is left.
            DeviceAwayError, UnusableDeviceError, LatencyCacheError: a latency is needed and there is none to have, whatever
                the network.
        """
        past = tried_trials(study)
        tried = {one.number: self._architecture(one) for one in past}
        candidates = self._candidates(list(tried.values()), past)
        index = {architecture.key: place for place, architecture in enumerate(candidates)}
        places = {number: index[architecture.key] for number, architecture in tried.items()}
        records = [self._record(one) for one in past if "result" in one.user_attrs]
        observations = observe(records, places)
        # Of trials over the limit and of failed ones too: their latencies say as much about others.
        network = self._encoder.network
        timed_ms = {network(one.architecture): one.result.latency.median_ms for one in records if one.result.latency}
        # One failure without a latency may be the machine's. After two, a network's other trainings are left out.
        failures = Counter(
            network(one.architecture)
            for one in records
            if one.result.state == "failed" and network(one.architecture) not in timed_ms
        )
        unusable = {place for place, one in enumerate(candidates) if failures[network(one)] >= _MAX_TRAININGS}
        observed = {observation.candidate for observation in observations}
        running = {places[one.number] for one in past if one.state == TrialState.RUNNING} - observed
        measured: list[float] = []

        def measure(wanted: Sequence[int]) -> Sequence[float]:
            found = [self._look_up(study, candidates[place]) for place in wanted]
            measured.extend(found)
            return found

        encoded = replace(self._encoder.encode(candidates), beliefs=self._believe(study, candidates))
        num_known = len(
            timed_ms.keys() | {name.removeprefix(LOOKUP) for name in study.user_attrs if name.startswith(LOOKUP)}
        )
        settings = self._affordable(study, [record.result for record in records], num_known=num_known)
        while True:
            attributes = study.user_attrs
            suggestion = suggest(
                encoded,
                observations,
                latency_ms=np.array(
                    [timed_ms.get(network(one), attributes.get(LOOKUP + network(one), np.nan)) for one in candidates]
                ),
                measure=measure,
                # The corner that the study reports its hypervolume from.
                reference=Reference(ap=0.0, latency_ms=attributes["reference_latency_ms"]),
                settings=settings,
                pending=sorted(running),
                excluded=sorted((set(places.values()) | unusable) - observed - running),
                seed=self._seed,
            )
            if suggestion is not None:
                return candidates[suggestion.candidate], suggestion.why
            if not np.isnan(measured).any():
                raise SpaceExhaustedError(
                    f"no architecture of space {self._space.name!r} is left to try", hint="search a larger space"
                )
            measured.clear()  # a passing cause left nothing to propose: look up again, at most `_MAX_TRIES` times

    def _believe(self, study: Study, candidates: Sequence[Architecture]) -> FloatArray | None:
        """Return what the study's priors expect of the candidates, (N, K); None without priors."""
        if self._beliefs is None:
            telling = (prior for prior in read_priors(study) if not says_nothing(prior))
            self._beliefs = [Belief(prior, self._encoder, seed=self._seed) for prior in telling]
        return weighed(np.column_stack([one.of(candidates) for one in self._beliefs])) if self._beliefs else None

    def _architecture(self, trial: FrozenTrial) -> Architecture:
        if trial.number not in self._architectures:
            self._architectures[trial.number] = tried_architecture(self._space, trial)
        return self._architectures[trial.number]

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        if trial.number not in self._records:
            self._records[trial.number] = to_record(trial, {})
        return self._records[trial.number]

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

    def _affordable(self, study: Study, results: Sequence[TrialResult], *, num_known: int) -> StrategySettings:
        """Return the settings with as many look-ups as the time spent on trainings allows: a whole round, or none."""
        settings = self._settings
        lookups_s = study.user_attrs.get(LOOKUP_SECONDS, ())
        affordable = affordable_lookups(
            results, lookups_s=lookups_s, workers=self._workers(), round_size=settings.num_lookups
        )
        num_first = min(settings.num_first_lookups, num_known + affordable - settings.num_lookups)
        if affordable < max(1, settings.num_lookups):
            num_first, settings = 0, replace(settings, num_lookups=0)
        if settings.max_latency_ms is not None:
            num_first = max(num_first, _NUM_SCALE_LOOKUPS)
        return replace(settings, num_first_lookups=num_first)

    def _look_up(self, study: Study, architecture: Architecture) -> float:
        """Return a latency in ms: infinity where the device cannot run it, NaN where a cause that may pass prevented it."""
        began = time.monotonic()
        try:
            latency_ms = self._measure_ms(architecture)
        except (DeviceAwayError, UnusableDeviceError, LatencyCacheError):
            raise  # nothing can be measured, and the wait for the device is no cost of a look-up
        except YoloRetError as error:
            latency_ms = math.inf if self._is_final(study, architecture, error) else math.nan
        lookups_s = [*study.user_attrs.get(LOOKUP_SECONDS, ()), time.monotonic() - began]
        study.set_user_attr(LOOKUP_SECONDS, lookups_s)
        if math.isnan(latency_ms):  # not stored, so that a later proposal looks it up again
            return latency_ms
        study.set_user_attr(LOOKUP + self._encoder.network(architecture), latency_ms)
        return latency_ms

    def _is_final(self, study: Study, architecture: Architecture, error: YoloRetError) -> bool:
        """Record a failed look-up; return whether the architecture is given up."""
        name = FAILED_LOOKUPS + self._encoder.network(architecture)
        reasons = [*study.user_attrs.get(name, ()), error.message]
        study.set_user_attr(name, reasons)
        is_final = isinstance(error, _FINAL) or len(reasons) >= _MAX_TRIES
        network = f"{architecture.backbone}[:{architecture.truncation}] at {architecture.input_size} px"
        outlook = "it is not tried any more" if is_final else f"attempt {len(reasons)} of {_MAX_TRIES}"
        self._notice(f"no latency of candidate {network} ({outlook}): {error.message}")
        return is_final
