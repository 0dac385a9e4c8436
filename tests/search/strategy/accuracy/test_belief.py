"""What an earlier study says of candidates, and what it is worth to a search."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import kendalltau

from search.front.pareto import FloatArray, Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.strategy.accuracy.belief import Belief, agreement, learn_prior, weighed
from search.strategy.accuracy.model import Observation
from search.strategy.accuracy.scale import ApScale
from search.strategy.candidates import Candidates, Encoder
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.settings import StrategySettings
from search.strategy.suggest import Suggestion, suggest
from search.study.errors import StudyError
from search.study.prior import Prior
from search.study.read_study import ReadStudy
from spaces import Architecture
from spaces.named_spaces import open_space
from tests.search.driver.scripted import latency
from trials.trial_result import TrialResult

Truth = Callable[[Architecture], float]


def draw(count: int, seed: int) -> list[Architecture]:
    space, rng = open_space("tiny"), random.Random(seed)
    return list({one.key: one for one in (space.sample(rng) for _ in range(3 * count))}.values())[:count]


def true_ap(one: Architecture) -> float:
    """What matters is the head, which no multiply-adds tell, and the input size."""
    return 0.2 + 0.1 * (one.head == "decoupled") + 0.05 * (one.shortcut == "none") + 0.001 * one.input_size


def latency_ms(one: Architecture) -> float:
    return (one.input_size / 64) ** 2 * (1 + one.truncation / 10)


def study(truth: Truth, count: int = 40, *, seed: int = 0, noise: float = 0.01) -> ReadStudy:
    normal = np.random.default_rng(seed)
    records = []
    for number, one in enumerate(draw(count, seed)):
        ap = truth(one) + float(normal.normal(0, noise))
        result = TrialResult(state="complete", ap=ap, latency=latency(latency_ms(one)))
        records.append(TrialRecord(number=number, architecture=one, result=result))
    summary = Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=50.0))
    return ReadStudy(name="earlier", root=Path("runs"), summary=summary, device="cpu", dataset="others")


def random_ap(one: Architecture) -> float:
    return 0.3 + 0.1 * random.Random(one.key).random()


def values(truth: Truth, architectures: list[Architecture]) -> FloatArray:
    return np.array([truth(one) for one in architectures])


def test_a_study_is_copied_with_all_that_a_model_needs() -> None:
    earlier = study(true_ap)
    pruned = replace(earlier.summary.records[3].result, state="pruned", ap=0.1, history=())
    records = (*earlier.summary.records[:3], replace(earlier.summary.records[3], result=pruned))
    records += earlier.summary.records[4:]
    earlier = replace(earlier, summary=replace(earlier.summary, records=records))
    prior = learn_prior(earlier)
    assert Prior.from_dict(prior.to_dict()) == prior
    assert (prior.study, prior.dataset) == ("earlier", "others")
    # The pruned trial has no score to extrapolate from.
    assert [one.architecture for one in prior.trials] == [one.architecture for one in records if one.point]
    assert prior.trials[0].ap == records[0].result.ap
    assert prior.trials[0].latency_ms == pytest.approx(latency_ms(records[0].architecture))


@pytest.mark.parametrize(
    ("truth", "count", "said"),
    [(true_ap, 7, "'earlier' has 7 complete trials; a prior needs 8"), (lambda one: 0.3, 12, "12 .*, all of one AP")],
)
def test_a_study_that_says_nothing_is_refused(truth: Truth, count: int, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        learn_prior(study(truth, count, noise=0.0))


def test_a_study_whose_trials_inherited_weights_is_refused() -> None:
    with pytest.raises(StudyError, match="'earlier' cannot be a prior: its trials inherited weights"):
        learn_prior(replace(study(true_ap), inherit=True))


def test_of_a_long_study_the_latest_trials_are_kept() -> None:
    long = study(true_ap, 310)
    assert [one.architecture for one in learn_prior(long).trials] == [
        one.architecture for one in long.summary.records[10:]
    ]


def test_a_pruned_trial_of_an_earlier_study_counts_by_its_expected_end_with_its_uncertainty() -> None:
    earlier = study(true_ap)
    records = [
        replace(one, result=replace(one.result, history=((1, 1.0, (one.result.ap or 0) / 2, None),)))
        for one in earlier.summary.records
    ]
    records[3] = replace(records[3], result=replace(records[3].result, state="pruned", ap=0.15))
    prior = learn_prior(replace(earlier, summary=replace(earlier.summary, records=tuple(records))))
    assert [one.ap_std > 0 for one in prior.trials] == [number == 3 for number in range(40)]
    assert prior.trials[3].ap == pytest.approx(true_ap(records[3].architecture), abs=0.05)
    # The model takes a doubtful figure for less: what is said of its surroundings changes with the doubt.
    candidates, encoder = draw(50, seed=5), Encoder(num_classes=3)
    trials = list(prior.trials)
    for at, one in enumerate(trials):
        trials[at] = replace(one, ap=one.ap + 0.2 * (at % 2))
    sure = Belief(replace(prior, trials=tuple(replace(one, ap_std=0.0) for one in trials)), encoder, seed=0)
    doubted = tuple(replace(one, ap_std=0.3 * (at % 2)) for at, one in enumerate(trials))
    told = Belief(replace(prior, trials=doubted), encoder, seed=0).of(candidates)
    truth = values(true_ap, candidates)
    assert np.corrcoef(told, truth)[0, 1] > np.corrcoef(sure.of(candidates), truth)[0, 1]


def test_an_earlier_study_of_images_of_another_shape_says_the_same() -> None:
    candidates = draw(50, seed=5)
    belief = Belief(learn_prior(study(true_ap)), Encoder(num_classes=3), seed=0)
    wide = [one.replace(aspect="16:9") for one in candidates]
    np.testing.assert_allclose(belief.of(wide), belief.of(candidates))


def test_of_several_studies_each_counts_by_what_it_explains() -> None:
    pattern = np.array([-1.0, 1.0, -1.0, 1.0])
    much, little = 0.9 * pattern, 0.1 * pattern[[0, 1, 3, 2]]
    assert weighed(much[:, None]) == pytest.approx(much[:, None])
    assert weighed(np.column_stack((much, much))) == pytest.approx(np.column_stack((much, much)))
    assert weighed(np.column_stack((much, little))).mean(axis=1) == pytest.approx(0.9 * much + 0.1 * little)
    assert weighed(np.zeros((4, 2))) == pytest.approx(np.zeros((4, 2)))


def test_a_belief_orders_candidates_as_the_earlier_study_and_counts_by_what_it_explains() -> None:
    candidates = draw(200, seed=5)
    encoder = Encoder(num_classes=3)
    told = Belief(learn_prior(study(true_ap)), encoder, seed=0).of(candidates)
    assert np.corrcoef(told, values(true_ap, candidates))[0, 1] > 0.85
    assert told.mean() == pytest.approx(0, abs=1e-9)
    assert 0.5 < told.std() <= 1
    nothing = Belief(learn_prior(study(random_ap)), encoder, seed=0).of(candidates)
    assert nothing.std() < 0.4


def test_a_belief_depends_on_the_candidates_alone_and_not_on_what_was_asked_before() -> None:
    belief = Belief(learn_prior(study(true_ap)), Encoder(num_classes=3), seed=0)
    first, others = draw(30, seed=5), draw(30, seed=6)
    before = belief.of(first)
    belief.of(others)
    assert belief.of(first).tolist() == before.tolist()


def test_a_belief_is_the_model_s_mean_shrunk_by_its_doubt_and_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = replace(learn_prior(study(true_ap)), trials=learn_prior(study(true_ap)).trials[:2])
    candidates = [one.architecture for one in prior.trials]
    model = SimpleNamespace(scaled_mean=np.array([0.2, 0.4]), scaled_std=np.array([0.05, 0.05]), scaled_noise_std=0.1)

    def fit(*args: object, scales: Sequence[ApScale], **options: object) -> tuple[None, SimpleNamespace]:
        assert scales == (ApScale(power=1.0),)  # AP itself
        return None, model

    monkeypatch.setattr("search.strategy.accuracy.belief.fit_to_observations", fit)
    explained = 0.01 / (0.01 + 0.0025 + 0.01)
    assert Belief(prior, Encoder(num_classes=3), seed=0).of(candidates) == pytest.approx([-explained, explained])


def test_of_networks_that_learnt_hardly_anything_a_belief_still_has_an_order() -> None:
    """So it is of networks that are taken out of shared weights: most of them score 0."""
    earlier = study(lambda one: max(0.0, true_ap(one) - 0.35), noise=0.0)
    assert np.median([one.result.ap or 0.0 for one in earlier.summary.records]) == 0
    candidates = draw(200, seed=5)
    told = Belief(learn_prior(earlier), Encoder(num_classes=3), seed=0).of(candidates)
    assert len(set(told.tolist())) == len(candidates)
    assert kendalltau(told, values(true_ap, candidates)).statistic > 0.6


def test_a_study_that_explains_takes_the_place_of_half_of_what_is_assumed_to_rise() -> None:
    candidates = draw(60, seed=5)
    encoded = Encoder(num_classes=3).encode(candidates)
    told = Belief(learn_prior(study(true_ap)), Encoder(num_classes=3), seed=0).of(candidates)
    slopes = [slopes_of(encoded), slopes_of(replace(encoded, beliefs=told[:, None]))]
    assert slopes[1] == pytest.approx((1 - told.std() / 2) * slopes[0])
    # What two explain counts also where they contradict each other.
    both = slopes_of(replace(encoded, beliefs=np.column_stack((told, -told))))
    assert both == pytest.approx(slopes[1])


def slopes_of(candidates: Candidates) -> FloatArray:
    lookups = LatencyLookups(
        candidates, np.full(len(candidates), np.nan), measure=lambda wanted: [], max_lookups=0, seed=0
    )
    lookups.predict()
    slopes = lookups.inputs().slopes
    assert slopes is not None
    return slopes


def test_the_agreement_is_the_rank_correlation_of_what_was_expected_and_reached() -> None:
    prior = learn_prior(study(true_ap))
    now = study(true_ap, 20, seed=9).summary.records
    then = study(lambda one: 1 - true_ap(one), 20, seed=9).summary.records
    agreed, contradicted = agreement(prior, now), agreement(prior, then)
    assert agreed is not None
    assert contradicted is not None
    assert agreed.tau > 0.6
    assert agreed.low < agreed.tau < agreed.high
    assert contradicted.tau < -0.6
    assert contradicted.high < 0
    assert agreement(prior, now[:7]) is None


def propose(
    beliefs: FloatArray | None, candidates: list[Architecture], seen: Sequence[Observation], all_ms: FloatArray
) -> Suggestion:
    """Return what the strategy trains next, where all latencies are known."""
    suggestion = suggest(
        replace(Encoder(num_classes=3).encode(candidates), beliefs=beliefs),
        seen,
        latency_ms=all_ms,
        measure=lambda wanted: [],
        reference=Reference(ap=0.0, latency_ms=float(all_ms.max())),
        settings=StrategySettings(max_lookups=len(candidates)),
    )
    assert suggestion is not None
    return suggestion


def trained(beliefs: FloatArray | None, candidates: list[Architecture], num_trainings: int) -> list[int]:
    """Return what the strategy trains, where all latencies are known."""
    all_ms = values(latency_ms, candidates)
    seen: list[Observation] = []
    while len(seen) < num_trainings:
        place = propose(beliefs, candidates, seen, all_ms).candidate
        seen.append(Observation(candidate=place, ap=true_ap(candidates[place]), latency_ms=float(all_ms[place])))
    return [one.candidate for one in seen]


def test_a_first_training_names_the_earlier_studies_as_its_reason() -> None:
    candidates = draw(30, seed=5)
    told = Belief(learn_prior(study(true_ap)), Encoder(num_classes=3), seed=0).of(candidates)[:, None]
    all_ms = values(latency_ms, candidates)
    first = Observation(candidate=0, ap=0.3, latency_ms=float(all_ms[0]))
    for beliefs, seen, reason in (
        (None, [first], r"initial design: [\d.]+ ms, far from what was trained"),
        (told, [], r"initial design: [\d.]+ ms, where earlier studies lead to expect most"),
        (told, [first], r"initial design: [\d.]+ ms, where earlier studies lead to expect most"),
    ):
        assert re.fullmatch(reason, propose(beliefs, candidates, seen, all_ms).why)


def gain(chosen: list[int], candidates: list[Architecture]) -> float:
    """Return how much of what the unseen choices add the trainings have, from 0 to 1: AP without the input size's part."""
    aps = [true_ap(candidates[place]) - 0.001 * candidates[place].input_size - 0.2 for place in chosen]
    return float(np.mean(aps)) / 0.15


def test_first_trainings_are_what_an_earlier_study_found_good_and_a_contradicting_one_is_left() -> None:
    candidates = draw(150, seed=5)
    encoder = Encoder(num_classes=3)

    def told_by(truth: Truth) -> FloatArray:
        return Belief(learn_prior(study(truth)), encoder, seed=0).of(candidates)[:, None]

    alone = trained(None, candidates, 12)
    helped = trained(told_by(true_ap), candidates, 12)
    misled = trained(told_by(lambda one: 1 - true_ap(one)), candidates, 12)
    assert gain(helped[:5], candidates) > gain(alone[:5], candidates) + 0.2
    assert gain(misled[6:], candidates) > gain(alone[6:], candidates) - 0.2  # one of six says nothing
    # Two earlier studies of which one is wrong: still no worse than none.
    both = weighed(np.column_stack((told_by(true_ap), told_by(random_ap))))
    assert gain(trained(both, candidates, 5), candidates) > gain(alone[:5], candidates)
