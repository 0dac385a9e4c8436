"""What the model of AP makes of trainings that are finished, pruned or running, and of a latency measured since."""

from collections.abc import Sequence

import numpy as np
import pytest

from search.front.pareto import FloatArray, Reference
from search.strategy.accuracy.model import AccuracyModel, Observation
from search.strategy.accuracy.scale import SCALES
from search.strategy.candidates import Candidates
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.settings import StrategySettings
from search.strategy.suggest import suggest
from search.strategy.surrogate import Inputs, Surrogate, SurrogateSettings, fit_surrogate

PLACES = np.linspace(0, 1, 11)
LATENCY_MS = 5 * 16**PLACES
AP = 0.2 + 0.3 * PLACES


def make_lookups(*, unknown: int | None = None) -> LatencyLookups:
    latency_ms = LATENCY_MS.copy()
    if unknown is not None:
        latency_ms[unknown] = np.nan
    candidates = Candidates(ordered=PLACES[:, None], categories=np.zeros((11, 0), dtype=np.int64))
    lookups = LatencyLookups(candidates, latency_ms, measure=lambda _: [3.0], max_lookups=11, seed=0)
    lookups.predict()
    return lookups


def observe(candidate: int, *, more: float = 0.0, ap_std: float = 0.0) -> Observation:
    ap, latency_ms = float(AP[candidate]) + more, float(LATENCY_MS[candidate])
    return Observation(candidate=candidate, ap=ap, latency_ms=latency_ms, ap_std=ap_std)


def make_model(
    observations: Sequence[Observation],
    *,
    lookups: LatencyLookups | None = None,
    pending: Sequence[int] = (),
    settings: SurrogateSettings | None = None,
    seed: int = 0,
) -> AccuracyModel:
    return AccuracyModel(
        lookups or make_lookups(),
        observations,
        pending=pending,
        settings=settings or SurrogateSettings(),
        seed=seed,
    )


ENDS = [observe(0), observe(10)]


def test_an_uncertain_end_moves_the_model_less() -> None:
    certain, uncertain = (make_model([*ENDS, observe(5, more=0.1, ap_std=std)]) for std in (0.0, 0.2))
    assert certain.mean[5] - AP[5] > 3 * (uncertain.mean[5] - AP[5]) > 0
    assert uncertain.std[5] > 2 * certain.std[5]


def test_finished_trainings_have_their_expected_ap_and_their_latency() -> None:
    model = make_model([*ENDS, observe(5, ap_std=0.05)], pending=[7])
    assert model.finished_ap == pytest.approx(AP[[0, 10, 7]], abs=0.03)
    assert model.finished_latency_ms == pytest.approx(LATENCY_MS[[0, 10, 7]])
    assert model.finished_ap.tolist() == model.mean[[0, 10, 7]].tolist()


def test_a_running_trial_leaves_the_expectation_and_takes_the_doubt() -> None:
    before, after = make_model(ENDS), make_model(ENDS, pending=[5])
    assert after.mean == pytest.approx(before.mean, abs=0.01)
    assert after.std[5] < 0.7 * before.std[5]


def test_settings_and_seed_are_those_of_the_fit() -> None:
    observations = [observe(number, more=0.02 * (-1) ** number) for number in range(0, 11, 2)]
    noisy, exact = (
        make_model(observations, settings=SurrogateSettings(noise_median=median)).mean for median in (1.0, 1e-6)
    )
    assert np.abs(noisy - exact).max() > 1e-3
    rough = SurrogateSettings(num_starts=3, max_iterations=1)
    means = [make_model(observations, settings=rough, seed=seed).mean.tolist() for seed in (0, 1, 2, 3, 3)]
    assert means[3] == means[4]
    assert len({tuple(mean) for mean in means}) > 1


def test_a_latency_measured_since_changes_the_expectation_there() -> None:
    """It is one of the model's inputs: a network that turns out fast is expected to be less accurate."""
    lookups = make_lookups(unknown=5)
    model = make_model(ENDS, lookups=lookups)
    before = model.mean.copy()
    lookups.look_up(np.array([5]))  # 3 ms rather than 20
    model.update()
    assert model.mean[5] < before[5] - 0.01
    assert np.delete(model.mean, 5).tolist() == np.delete(before, 5).tolist()
    once = model.mean.copy()
    model.update()
    assert model.mean.tolist() == once.tolist()


COUNT = 400
MANY_PLACES = np.linspace(0, 1, COUNT)


def make_many(*, left_out: Sequence[int] = ()) -> tuple[LatencyLookups, list[Observation], FloatArray]:
    """Return 400 candidates, their trainings, and how far each is below the front; a tenth is on it."""
    random = np.random.default_rng(0)
    latency_ms, best = 5 * 16**MANY_PLACES, 0.2 + 0.3 * MANY_PLACES
    loss = np.where(random.random(COUNT) < 0.1, 0.0, 0.1 + 0.1 * random.random(COUNT))
    ordered = np.column_stack((MANY_PLACES, loss))
    candidates = Candidates(ordered=ordered, categories=np.zeros((COUNT, 0), dtype=np.int64))
    lookups = LatencyLookups(candidates, latency_ms, measure=lambda _: [], max_lookups=COUNT, seed=0)
    lookups.predict()
    ap = best - loss + 0.02 * random.standard_normal(COUNT)
    observations = [
        Observation(candidate=index, ap=float(ap[index]), latency_ms=float(latency_ms[index]))
        for index in range(COUNT)
        if index not in left_out
    ]
    return lookups, observations, loss


def test_of_many_trainings_those_next_to_the_front_are_learnt_from_and_some_of_all_others() -> None:
    lookups, observations, loss = make_many()
    whole, model = (
        AccuracyModel(lookups, observations, pending=[], max_learnt=most, settings=SurrogateSettings(), seed=0)
        for most in (None, 100)
    )
    assert len(model.finished_ap) == len(whole.finished_ap) == COUNT
    front = loss == 0
    learnt = np.isin(MANY_PLACES, model._model._inputs.ordered[:, 0])
    assert learnt.sum() == 100
    assert learnt[front].mean() > 0.9
    assert np.histogram(MANY_PLACES[learnt & ~front], bins=5)[0].min() > 5  # and all over the others
    truth = 0.2 + 0.3 * MANY_PLACES - loss
    assert abs((model.mean - truth)[front].mean()) < 0.005  # no lucky ones were chosen
    np.testing.assert_allclose(model.mean, whole.mean, atol=0.02)


def test_a_running_trial_is_expected_to_reach_what_the_trainings_that_are_learnt_from_say() -> None:
    running = list(range(7, COUNT, 40))
    lookups, observations, _ = make_many(left_out=running)
    before, after = (
        AccuracyModel(
            lookups,
            observations,
            pending=pending,
            max_learnt=60,
            scales=SCALES[:1],
            settings=SurrogateSettings(),
            seed=0,
        )
        for pending in ([], running)
    )
    np.testing.assert_allclose(after.mean, before.mean, atol=1e-6)
    assert (after.std[running] < before.std[running]).all()


@pytest.mark.parametrize("most", [None, 11])
def test_few_trainings_are_all_learnt_from(most: int | None) -> None:
    observations = [observe(index) for index in range(11)]
    model = AccuracyModel(
        make_lookups(), observations, pending=[], max_learnt=most, settings=SurrogateSettings(), seed=0
    )
    assert len(model._model._inputs) == 11


def test_a_suggestion_learns_from_as_many_as_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def fit(inputs: Inputs, *rest: object, **more: object) -> Surrogate:
        sizes.append(len(inputs))
        return fit_surrogate(inputs, *rest, **more)  # type: ignore[arg-type]

    for module in ("accuracy.model", "latency.lookups"):
        monkeypatch.setattr(f"search.strategy.{module}.fit_surrogate", fit)
    latency_ms = LATENCY_MS.copy()
    latency_ms[10] = np.nan
    candidates = Candidates(ordered=PLACES[:, None], categories=np.zeros((11, 0), dtype=np.int64))
    suggest(
        candidates,
        [observe(index) for index in range(9)],
        latency_ms=latency_ms,
        measure=lambda wanted: [80.0 for _ in wanted],
        reference=Reference(ap=0.0, latency_ms=100.0),
        settings=StrategySettings(max_learnt=6, num_lookups=0, num_first_lookups=0),
    )
    assert sizes == [6, 6]
