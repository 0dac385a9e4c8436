"""How many latencies a search measures before its first trial, for each recipe."""

import optuna

from search.driver.search import make_sampler
from search.study.parameters import distributions
from search.study.settings import StudySettings
from spaces import Architecture
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import fake_latency_ms
from trials.training import RECIPES


def count_lookups(settings: MakeSettings, recipe: str, *, max_latency_ms: float | None) -> int:
    """Return how many latencies the first proposal measured."""
    seconds = list[float]()

    def measure_ms(architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
        return fake_latency_ms(architecture)

    sampler = make_sampler(
        settings(sampler="ehvi", train=RECIPES[recipe](), max_latency_ms=max_latency_ms),
        num_classes=3,
        measure_ms=measure_ms,
        on_look_up=seconds.append,
        notice=lambda note: None,
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.set_user_attr("reference_latency_ms", 100.0)
    study.ask(distributions(settings().space))
    return len(seconds)


def test_short_trainings_are_not_kept_waiting_for_look_ups(settings: MakeSettings) -> None:
    """A look-up costs as much as a training of the quick recipe; only a limit needs some."""
    without, limited = (count_lookups(settings, "quick", max_latency_ms=limit) for limit in (None, 30.0))
    assert without == 0
    assert 0 < limited < count_lookups(settings, "modern", max_latency_ms=30.0)
    assert count_lookups(settings, "modern", max_latency_ms=None) > 8
