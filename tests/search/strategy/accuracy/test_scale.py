"""The scale of AP that the model of accuracy works on: its transform, and which one scores choose."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import ndtri

from search.front.pareto import FloatArray
from search.strategy.accuracy.model import AccuracyModel, Observation
from search.strategy.accuracy.scale import SCALES, ApScale
from search.strategy.candidates import Candidates
from search.strategy.hypervolume_improvement import expected_improvement
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.surrogate import SurrogateSettings

ITSELF = (ApScale(power=1.0),)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_a_certain_ap_comes_back_and_an_uncertain_one_as_drawn_at_random(scale: ApScale) -> None:
    ap = np.array([0.0, 0.01, 0.2, 0.6, 1.0])
    assert scale.back(scale.of(ap), np.zeros(5))[0] == pytest.approx(ap, abs=1e-9)
    step = 1e-6
    assert scale.slope(ap) == pytest.approx((scale.of(ap + step) - scale.of(ap)) / step, rel=1e-3)
    centre, std = scale.of(np.array([0.3])), 0.05 * scale.slope(np.array([0.3]))
    drawn = centre + std * np.random.default_rng(0).standard_normal(200_000)
    aps = scale.back(drawn, np.zeros(len(drawn)))[0]
    middle, spread = scale.back(centre, std)
    assert middle == pytest.approx([np.median(aps)], abs=1e-3)
    assert spread == pytest.approx([aps.std()], abs=1e-3)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_what_nothing_is_known_of_stays_between_0_and_1(scale: ApScale) -> None:
    middle, std = scale.back(np.array([-50.0, 0.0, 50.0]), np.full(3, 20.0))
    assert (np.isfinite(middle) & (middle >= 0) & (middle <= 1)).all()
    assert (np.isfinite(std) & (std <= 1)).all()


LEVELS = np.array([0.0, 0.03, 0.1, 0.31, 0.6, 0.9, 1.0])


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
@pytest.mark.parametrize("centre", [0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("std", [0.005, 0.03, 0.15])
def test_an_expected_improvement_is_that_of_ap_drawn_at_random(scale: ApScale, centre: float, std: float) -> None:
    mean = scale.of(np.array([centre]))
    spread = std * scale.slope(np.array([centre]))
    quantiles = (np.arange(20_000) + 0.5) / 20_000  # stratified: one draw from each 20000th of the distribution
    drawn = mean + spread * ndtri(quantiles)
    # On AP itself a normal distribution goes beyond 0 and 1.
    ap = drawn - scale.of(np.zeros(1)) if scale.power == 1 else scale.back(drawn, np.zeros(20_000))[0]
    expected = np.maximum(ap[:, None] - LEVELS, 0).mean(axis=0)
    assert scale.expected_improvement(mean, spread, LEVELS) == pytest.approx(expected[None], rel=0.02, abs=5e-5)


def test_on_ap_itself_an_expected_improvement_is_the_closed_form() -> None:
    (itself,) = ITSELF
    mean, std = np.array([0.2, 0.6, -0.1]), np.array([0.1, 0.02, 0.3])
    found = itself.expected_improvement(itself.of(mean), std, LEVELS)
    assert found == pytest.approx(expected_improvement(mean[:, None], std[:, None], LEVELS), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_improvements_far_beyond_what_is_expected_still_have_an_order(scale: ApScale) -> None:
    mean, slope = scale.of(np.array([0.2, 0.21])), scale.slope(np.array([0.2, 0.21]))
    low, high = scale.expected_improvement(mean, 0.02 * slope, np.array([0.5]))[:, 0]
    assert 0 < low < high < 1e-6
    certain = scale.expected_improvement(mean, np.zeros(2), np.array([0.15, 0.205, 0.5]))
    assert certain == pytest.approx(np.array([[0.05, 0.0, 0.0], [0.06, 0.005, 0.0]]), abs=1e-4)


def _model(
    ap: FloatArray,
    *,
    scales: tuple[ApScale, ...] = SCALES,
    num_seen: int = 24,
    more: Sequence[Observation] = (),
    pending: Sequence[int] = (),
    max_fit_points: int = 120,
) -> AccuracyModel:
    """Learn from the first of 60 candidates of six sizes and two heads; latency is the size."""
    lookups = LatencyLookups(_CANDIDATES, _LATENCY_MS, measure=lambda wanted: [], max_lookups=0, seed=0)
    lookups.predict()
    seen = [_observe(one, float(ap[one])) for one in _ORDER[:num_seen]]
    settings = SurrogateSettings(max_fit_points=max_fit_points)
    return AccuracyModel(lookups, [*seen, *more], pending=pending, scales=scales, settings=settings, seed=0)


def _observe(candidate: int, ap: float, *, ap_std: float = 0.0) -> Observation:
    return Observation(candidate=candidate, ap=ap, latency_ms=float(_LATENCY_MS[candidate]), ap_std=ap_std)


_RNG = np.random.default_rng(0)
_SIZE, _HEAD = _RNG.integers(0, 6, 60), _RNG.integers(0, 2, 60)
_CANDIDATES = Candidates(ordered=np.column_stack((_SIZE / 5, _RNG.random(60))), categories=_HEAD[:, None])
_LATENCY_MS = 2.0**_SIZE * (1 + 0.1 * _RNG.random(60))
_LUCK = _RNG.standard_normal(60)
_ORDER: list[int] = np.random.default_rng(1).permutation(60).tolist()
"""In which the candidates are trained."""


def test_where_choices_multiply_ap_a_cheap_network_tells_what_a_head_is_worth_on_a_large_one() -> None:
    ap = 0.08 * 1.35**_SIZE * 1.4**_HEAD * np.exp(0.04 * _LUCK)
    chosen, itself = _model(ap), _model(ap, scales=ITSELF)
    assert chosen.scale.power == 0
    everyone = np.arange(60)
    assert chosen.log_density(everyone, ap).mean() > itself.log_density(everyone, ap).mean() + 0.3
    small = _SIZE == 0
    assert chosen.std[small].mean() < 0.5 * itself.std[small].mean()  # where AP is low, so is what luck does


def test_where_ap_approaches_its_limit_the_scale_stretches_the_top() -> None:
    ap = 0.6 - 0.3 * (0.5**_SIZE) * (1 - 0.3 * _HEAD) + 0.002 * _LUCK
    chosen = _model(ap)
    assert chosen.scale.power == 2
    everyone = np.arange(60)
    assert chosen.log_density(everyone, ap).mean() > _model(ap, scales=SCALES[:1]).log_density(everyone, ap).mean()


def test_of_many_scores_those_choose_that_the_hyperparameters_are_fitted_to() -> None:
    additive = 0.1 + 0.07 * _SIZE + 0.03 * _HEAD + 0.01 * _LUCK
    powers = {_model(additive, num_seen=60, max_fit_points=most).scale.power for most in (24, 60)}
    assert powers <= {0.5, 1.0, 2.0}  # with the slopes of all 60 against the likelihood of 24 it would be the logarithm


def test_few_scores_choose_nothing() -> None:
    ap = 0.6 - 0.3 * (0.5**_SIZE) + 0.002 * _LUCK
    assert _model(ap, num_seen=7).scale == SCALES[0]


def test_equal_scores_choose_nothing() -> None:
    for ap in (np.zeros(60), np.full(60, 0.3), 0.3 + 1e-9 * _LUCK):
        assert _model(ap).scale == SCALES[0]


def test_networks_that_learnt_nothing_are_no_fault() -> None:
    for ap in (np.zeros(60), np.where(_SIZE < 3, 0.0, 0.4)):
        model = _model(ap)
        assert model.mean == pytest.approx(ap, abs=0.1)
        assert np.isfinite(model.std).all()
        assert 0 < model.scaled_noise_std < 0.1


@pytest.mark.parametrize(("outside", "end"), [(-0.01, 0.0), (-0.1, 0.0), (1.2, 1.0)])
def test_an_ap_that_is_extrapolated_beyond_an_end_counts_as_that_end(outside: float, end: float) -> None:
    ap = 0.05 + 0.05 * _SIZE + 0.02 * _HEAD
    last = _ORDER[8]
    beyond, there = (_model(ap, num_seen=8, more=[_observe(last, value, ap_std=0.03)]) for value in (outside, end))
    assert np.isfinite(beyond.mean).all()
    assert (beyond.mean.tolist(), beyond.std.tolist()) == (there.mean.tolist(), there.std.tolist())


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_a_doubt_is_one_of_ap_on_every_scale(scale: ApScale) -> None:
    """An extrapolated end that is 0.05 too high moves the expectation by the same share of that on every scale."""
    ap = 0.1 + 0.03 * _SIZE + 0.02 * _HEAD

    def share(scales: tuple[ApScale, ...]) -> float:
        last = _ORDER[4]
        without, sure, doubted = (
            _model(ap, scales=scales, num_seen=4, more=more).mean[last]
            for more in ([], *([_observe(last, ap[last] + 0.05, ap_std=std)] for std in (0.0, 0.04)))
        )
        return float((doubted - without) / (sure - without))

    assert share((scale,)) == pytest.approx(share(ITSELF), rel=0.1)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"power {scale.power}")
def test_a_running_trial_leaves_the_expectation_on_every_scale(scale: ApScale) -> None:
    ap = 0.1 + 0.05 * _SIZE + 0.02 * _HEAD + 0.01 * _LUCK
    running = _ORDER[20:24]
    before, after = (_model(ap, scales=(scale,), num_seen=20, pending=pending) for pending in ([], running))
    assert after.mean == pytest.approx(before.mean, abs=1e-6)
    assert (after.std[running] < before.std[running]).all()


def test_the_noise_is_that_of_the_scale() -> None:
    luck = 0.03
    ap = 0.3 * 1.2**_SIZE * np.exp(luck * _LUCK)
    for scales in (SCALES, ITSELF):
        model = _model(ap, scales=scales, num_seen=60)
        slope = model.scale.slope(ap.mean(keepdims=True))
        assert model.scaled_noise_std == pytest.approx(luck * ap.mean() * slope[0], rel=0.5)
