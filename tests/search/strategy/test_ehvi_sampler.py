"""What the default sampler hands to its strategy: trials that run, and candidates beyond its pool."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from search.front.pareto import FloatArray
from search.strategy.accuracy.belief import Belief, weighed
from search.strategy.candidates import Candidates, Encoder, draw_pool
from search.strategy.ehvi_sampler import EhviSampler
from search.strategy.settings import StrategySettings
from search.strategy.suggest import Suggestion, suggest
from search.study.database.parameters import distributions, from_parameters
from search.study.prior import Prior, PriorTrial
from search.study.study import PRIORS
from spaces import Architecture
from tests.search.driver.scripted import SPACE, fake_ap, fake_latency_ms, latency
from trials.trial_result import TrialResult

SETTINGS = StrategySettings(num_first=4, num_first_lookups=8, num_lookups=1)


@pytest.fixture(autouse=True)
def _small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.strategy.candidates.POOL_SIZE", 12)


def new_study(settings: StrategySettings = SETTINGS) -> optuna.Study:
    sampler = EhviSampler(SPACE, fake_latency_ms, notice=lambda note: None, num_classes=3, settings=settings, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.set_user_attr("reference_latency_ms", 1.1 * max(fake_latency_ms(one) for one in SPACE))
    return study


def ask(study: optuna.Study) -> tuple[optuna.Trial, Architecture]:
    trial = study.ask(distributions(SPACE))
    architecture = from_parameters(SPACE, trial.params)
    trial.set_user_attr("architecture", architecture.to_dict())
    return trial, architecture


def complete(study: optuna.Study, trial: optuna.Trial, architecture: Architecture) -> None:
    ap, latency_ms = fake_ap(architecture), fake_latency_ms(architecture)
    result = TrialResult(state="complete", latency=latency(latency_ms), ap=ap)
    trial.set_user_attr("result", result.to_dict())
    trial.set_user_attr("state", "complete")
    study.tell(trial, [ap, latency_ms])


def ask_in_parallel(num_complete: int, *, fail: bool) -> list[str]:
    """Return five architectures asked for one after the other, each while the former ones run, or after they failed."""
    study = new_study()
    for _ in range(num_complete):
        complete(study, *ask(study))
    keys = []
    for _ in range(5):
        trial, architecture = ask(study)
        keys.append(architecture.key)
        if fail:
            study.tell(trial, state=TrialState.FAIL)
    return keys


@pytest.mark.parametrize("num_complete", [0, 6])
def test_a_running_trial_is_not_proposed_again_and_counts_unlike_a_failed_one(num_complete: int) -> None:
    running, failed = (ask_in_parallel(num_complete, fail=fail) for fail in (False, True))
    assert running[0] == failed[0]
    assert running[1:] != failed[1:]
    assert len(set(running)) == len(set(failed)) == 5


def test_a_search_leaves_its_pool_for_the_neighbours_of_the_front() -> None:
    pool = {one.key for one in draw_pool(SPACE, 0)}
    assert len(pool) == 12 < SPACE.size
    study, asked = new_study(), list[Architecture]()
    for _ in range(16):
        trial, architecture = ask(study)
        if architecture.key not in pool:
            assert any(architecture in SPACE.neighbours(one) for one in asked)
        asked.append(architecture)
        complete(study, trial, architecture)
    assert len({one.key for one in asked}) == 16


def test_a_trial_over_the_limit_teaches_latency_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without look-ups, trials alone measure: one that was over the limit says what the others will take."""
    known: list[float] = []

    def spy(*given: Any, latency_ms: FloatArray, **settings: Any) -> Suggestion | None:
        known[:] = latency_ms[~np.isnan(latency_ms)]
        return suggest(*given, latency_ms=latency_ms, **settings)

    monkeypatch.setattr("search.strategy.ehvi_sampler.suggest", spy)
    study = new_study(StrategySettings(num_first_lookups=0, num_lookups=0))
    trial, architecture = ask(study)
    result = TrialResult(state="infeasible", latency=latency(fake_latency_ms(architecture)))
    trial.set_user_attr("result", result.to_dict())
    study.tell(trial, [0.0, fake_latency_ms(architecture)])
    ask(study)
    assert known == [pytest.approx(fake_latency_ms(architecture))]


def test_what_each_of_several_priors_expects_of_the_candidates_reaches_the_strategy_by_its_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prior(name: str, ap_of: Callable[[Architecture], float]) -> Prior:
        some = [one for place, one in enumerate(SPACE) if place % 9 == 0]
        trials = [
            PriorTrial(architecture=one, ap=ap_of(one), ap_std=0.0, latency_ms=fake_latency_ms(one)) for one in some
        ]
        return Prior(study=name, dataset="others", trials=tuple(trials))

    heard: list[Candidates] = []

    def listen(candidates: Candidates, *args: Any, **options: Any) -> Suggestion | None:
        heard.append(candidates)
        return suggest(candidates, *args, **options)

    monkeypatch.setattr("search.strategy.ehvi_sampler.suggest", listen)
    priors = [prior("much", fake_ap), prior("little", lambda one: int(one.key, 16) % 89 / 100)]
    study = new_study()
    study.set_user_attr(PRIORS, [one.to_dict() for one in priors])
    ask(study)
    pool = draw_pool(SPACE, seed=0)
    encoder = Encoder(num_classes=3)
    told = np.column_stack([Belief(one, encoder, seed=0).of(pool) for one in priors])
    beliefs = heard[0].beliefs
    assert beliefs is not None
    assert beliefs == pytest.approx(weighed(told))
    assert told.std(axis=0)[0] > told.std(axis=0)[1]  # so that weights matter
