"""What the acquisition function makes of the model's distribution of AP."""

import numpy as np
import pytest
from scipy.special import ndtri

from search.front.pareto import Reference, hypervolume
from search.strategy.accuracy.model import AccuracyModel, Observation
from search.strategy.accuracy.scale import SCALES, ApScale
from search.strategy.acquisition import Acquisition
from search.strategy.candidates import Candidates
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.settings import StrategySettings
from search.strategy.surrogate import SurrogateSettings

PLACES = np.linspace(0, 1, 11)
LATENCY_MS = 5 * 16**PLACES
AP = 0.03 * 10**PLACES
TRAINED, FREE = [0, 3, 6], [1, 2, 4, 5, 7, 8, 9, 10]
CORNER = Reference(ap=0.0, latency_ms=100.0)
WHOLE_WIDTH = float(np.log(100.0))


def make_model(scale: ApScale) -> tuple[LatencyLookups, AccuracyModel]:
    candidates = Candidates(ordered=PLACES[:, None], categories=np.zeros((11, 0), dtype=np.int64))
    lookups = LatencyLookups(candidates, LATENCY_MS, measure=lambda _: [], max_lookups=11, seed=0)
    lookups.predict()
    seen = [Observation(candidate=one, ap=float(AP[one]), latency_ms=float(LATENCY_MS[one])) for one in TRAINED]
    return lookups, AccuracyModel(lookups, seen, pending=(), scales=(scale,), settings=SurrogateSettings(), seed=0)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_the_gain_is_expected_over_what_the_model_holds_possible(scale: ApScale) -> None:
    lookups, model = make_model(scale)
    settings = StrategySettings(fixed_cost=1.0, num_lookups=0)
    scores = Acquisition(lookups, model, reference=CORNER, settings=settings).score(np.isin(np.arange(11), FREE))
    gain = np.exp(scores) * (LATENCY_MS + np.median(LATENCY_MS))
    assert gain[TRAINED].tolist() == [0.0] * 3
    normal = ndtri((np.arange(2000) + 0.5) / 2000)  # stratified: one draw from each 2000th of the distribution
    corner = Reference(ap=0.0, latency_ms=WHOLE_WIDTH)
    front = model.finished_ap, np.log(model.finished_latency_ms)
    before = hypervolume(*front, reference=corner)
    for one in FREE:
        drawn = model.scaled_mean[one] + model.scaled_std[one] * normal
        possible = scale.back(drawn, np.zeros(2000))[0]
        log_ms = np.append(front[1], np.log(LATENCY_MS[one]))
        gains = [hypervolume(np.append(front[0], ap), log_ms, reference=corner) - before for ap in possible]
        assert gain[one] == pytest.approx(np.mean(gains), rel=0.02, abs=1e-5), one


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_where_every_gain_underflows_the_chance_to_join_the_front_decides_on_every_scale(scale: ApScale) -> None:
    lookups, model = make_model(scale)
    # All candidates are slower than the reference, and beat its AP.
    reference = Reference(ap=0.05, latency_ms=4.0)
    acquisition = Acquisition(lookups, model, reference=reference, settings=StrategySettings(num_lookups=0))
    scores = acquisition.score(np.ones(11, dtype=bool))
    drawn = model.scaled_mean + model.scaled_std * np.random.default_rng(0).standard_normal((4000, 11))
    chances = (drawn > scale.of(np.array([0.05]))).mean(axis=0)
    assert np.exp(scores) == pytest.approx(chances, abs=0.03)
