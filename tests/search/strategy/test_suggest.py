import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from search.front.pareto import Reference, hypervolume
from search.strategy.accuracy.model import Observation
from search.strategy.candidates import Candidates
from search.strategy.settings import StrategySettings
from search.strategy.suggest import Suggestion, suggest

CORNER = Reference(ap=0.1, latency_ms=120.0)


@dataclass
class Table:
    """A made-up board: 360 candidates, AP with interactions, latency with the irregularities of a real one."""

    seed: int = 0
    candidates: Candidates = field(init=False)
    ap: np.ndarray = field(init=False)
    latency_ms: np.ndarray = field(init=False)
    measured_ms: np.ndarray = field(init=False)
    looked_up: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        axes = np.meshgrid(np.arange(5), np.arange(4), np.arange(6), np.arange(3), indexing="ij")
        depth, width, size, kind = (axis.ravel().astype(np.float64) for axis in axes)
        self.candidates = Candidates(
            ordered=np.column_stack((depth, width, size)), categories=kind[:, None].astype(np.int64)
        )
        work = np.log((1 + depth) * (1 + width) ** 1.5 * (2 + size) ** 2)
        self.latency_ms = 2.0 * np.exp(0.7 * work + 0.2 * kind + 0.1 * random.standard_normal(len(kind)))
        rise = 0.15 * depth + 0.35 * width + 0.3 * size - 0.05 * (width - size / 2) ** 2
        self.ap = 0.65 - 0.5 * np.exp(-0.35 * rise - 0.1 * kind) + 0.01 * random.standard_normal(len(kind))
        self.measured_ms = np.full(len(kind), np.nan)

    def measure(self, wanted: Sequence[int]) -> list[float]:
        assert np.isnan(self.measured_ms[list(wanted)]).all(), "a latency was looked up twice"
        self.measured_ms[list(wanted)] = self.latency_ms[list(wanted)]
        self.looked_up |= set(wanted)
        return [float(self.latency_ms[index]) for index in wanted]

    def observe(self, candidate: int) -> Observation:
        self.measured_ms[candidate] = self.latency_ms[candidate]
        ap, latency_ms = float(self.ap[candidate]), float(self.latency_ms[candidate])
        return Observation(candidate=candidate, ap=ap, latency_ms=latency_ms)

    def suggest(self, observations: Sequence[Observation], **arguments: Any) -> Suggestion | None:
        arguments = {"reference": CORNER, **arguments}
        return suggest(self.candidates, observations, latency_ms=self.measured_ms, measure=self.measure, **arguments)

    def search(self, num_trainings: int, **arguments: Any) -> list[Observation]:
        observations: list[Observation] = []
        while len(observations) < num_trainings and (chosen := self.suggest(observations, **arguments)):
            observations.append(self.observe(chosen.candidate))
        return observations

    def share(self, observations: Sequence[Observation]) -> float:
        chosen = [observation.candidate for observation in observations]
        found = hypervolume(self.ap[chosen], self.latency_ms[chosen], reference=CORNER)
        return found / hypervolume(self.ap, self.latency_ms, reference=CORNER)


def test_twenty_trainings_find_nearly_all_of_the_front_and_no_candidate_twice() -> None:
    table = Table()
    observations = table.search(20)
    assert len({observation.candidate for observation in observations}) == 20
    assert table.share(observations) > 0.95
    random = [Table().observe(index) for index in np.random.default_rng(0).choice(360, 20, replace=False)]
    assert table.share(observations) > table.share(random) + 0.03


def test_a_resumed_search_names_the_same() -> None:
    table, whole = Table(), Table().search(14, seed=3)
    observations = table.search(7, seed=3)
    while len(observations) < 14:
        chosen = table.suggest([*observations], seed=3)
        assert chosen is not None
        observations.append(table.observe(chosen.candidate))
    assert observations == whole
    assert Table().search(3, seed=4) != whole[:3]


def test_look_ups_stay_within_their_budget_and_then_predicted_latencies_decide() -> None:
    table = Table()
    settings = StrategySettings(num_first_lookups=12, max_lookups=16)
    observations = table.search(20, settings=settings)
    assert len(observations) == 20
    assert len(table.looked_up) <= 16
    # Not what was looked up and then passed over.
    assert sum(one.candidate in table.looked_up for one in observations[8:]) <= 3
    assert table.share(observations) > 0.95


def test_one_result_is_too_few_for_the_model_however_many_trainings_run() -> None:
    table = Table()
    running: list[int] = []
    for _ in range(6):
        found = table.suggest([table.observe(running[0])] if running else [], pending=running[1:])
        assert found is not None
        assert found.why.startswith("initial design: ")
        running.append(found.candidate)
    two = table.suggest([table.observe(one) for one in running[:2]], pending=running[2:])
    assert two is not None
    assert two.why.startswith("expected AP ")


def test_a_measured_latency_is_no_reason_for_a_first_training_where_earlier_studies_expect_more_of_another() -> None:
    table = Table()
    best = int(np.argmin(np.abs(table.latency_ms - 1.5 * table.latency_ms.min())))
    belief = np.where(np.arange(360) == best, 3.0, -0.01)
    for beliefs, is_best in ((belief[:, None], True), (None, False)):
        table.measured_ms = np.where((np.arange(360) % 3 > 0) & (np.arange(360) != best), table.latency_ms, np.nan)
        table.candidates = replace(table.candidates, beliefs=beliefs)
        settings = StrategySettings(num_first=1, num_first_lookups=0)
        found = table.suggest([], settings=settings)
        assert found is not None
        assert (found.candidate == best) == is_best


def test_a_first_training_that_earlier_studies_expect_much_of_is_seldom_over_the_limit() -> None:
    limit_ms = 25.0
    over = []
    for seed in range(20):
        table = Table(seed=seed)
        larger = np.log(table.latency_ms)
        table.candidates = replace(table.candidates, beliefs=((larger - larger.mean()) / larger.std())[:, None])
        settings = StrategySettings(num_first_lookups=6, num_lookups=0, max_latency_ms=limit_ms)
        found = table.suggest([], settings=settings, seed=seed)
        assert found is not None
        over.append(table.latency_ms[found.candidate] > limit_ms)
    assert sum(over) <= 7  # 18 where even chances suffice


def test_the_first_trainings_are_spread_over_log_latency_and_the_named_latency_is_measured() -> None:
    table = Table()
    first = table.suggest([])
    assert first is not None
    assert first.why == f"initial design: {table.measured_ms[first.candidate]:.3g} ms"
    observations = table.search(8, settings=StrategySettings(num_first=8))
    latencies = np.sort(np.log([observation.latency_ms for observation in observations]))
    assert latencies[-1] <= np.log(120.0)
    assert np.diff(latencies).max() < 0.4 * np.ptp(np.log(table.latency_ms))


def read_why(suggestion: Suggestion | None) -> tuple[float, float, float, float]:
    """Return the expected AP, its standard deviation, the latency in ms and the gain in % that a suggestion gives."""
    assert suggestion is not None
    pattern = r"expected AP (.+) ± (.+) at (.+) ms, expected gain (.+)% of the reference rectangle"
    match = re.fullmatch(pattern, suggestion.why)
    assert match is not None, suggestion.why
    return tuple(map(float, match.groups()))  # type: ignore[return-value]


def test_a_suggestion_gives_its_figures() -> None:
    table = Table()
    observations = table.search(2)
    last = table.suggest(observations)
    assert last is not None
    assert re.fullmatch(r"initial design: [\d.]+ ms, far from what was trained", last.why)
    chosen = table.suggest([*observations, table.observe(last.candidate)])
    assert chosen is not None
    ap, ap_std, latency_ms, gain = read_why(chosen)
    assert ap == pytest.approx(table.ap[chosen.candidate], abs=0.15)
    assert 0 < ap_std < 0.2
    assert latency_ms == pytest.approx(table.latency_ms[chosen.candidate], rel=0.01)
    assert 0 < gain < 100


def test_nothing_over_the_limit_is_trained() -> None:
    table = Table()
    observations = table.search(15, settings=StrategySettings(max_latency_ms=25.0))
    assert len(observations) == 15
    assert all(observation.latency_ms <= 25.0 for observation in observations)
    best_within = table.ap[table.latency_ms <= 25.0].max()
    assert max(observation.ap for observation in observations) > best_within - 0.02


def test_what_cannot_be_measured_is_not_named() -> None:
    table = Table()
    table.latency_ms = np.where(table.candidates.categories[:, 0] == 1, np.inf, table.latency_ms)
    observations = table.search(14, settings=StrategySettings(num_first_lookups=32, num_lookups=6))
    assert all(np.isfinite(observation.latency_ms) for observation in observations)


def test_a_device_that_can_run_nothing_ends_the_search() -> None:
    table = Table()
    table.latency_ms = np.full(360, np.inf)
    assert table.suggest([], settings=StrategySettings(num_first_lookups=400, max_lookups=400)) is None


def test_pending_and_excluded_candidates_are_left_alone_and_change_the_choice() -> None:
    table = Table()
    observations = table.search(9)
    first = table.suggest(observations)
    assert first is not None
    second = table.suggest(observations, pending=[first.candidate])
    third = table.suggest(observations, excluded=[first.candidate])
    assert second is not None
    assert third is not None
    assert first.candidate not in {second.candidate, third.candidate}
    assert table.suggest([], pending=[first.candidate]) is not None


def test_a_pruned_training_teaches_but_is_not_on_the_front() -> None:
    table = Table()
    observations = table.search(10)
    lucky = Observation(candidate=_free(observations), ap=0.99, latency_ms=1.0, ap_std=0.05)
    pruned, dull, complete = (
        read_why(table.suggest([*observations, one]))
        for one in (lucky, replace(lucky, ap=0.2), replace(lucky, ap_std=0.0))
    )
    assert pruned != dull
    assert pruned[3] > 10 * complete[3]  # which is on the front, and leaves hardly anything to gain


def test_every_candidate_is_named_once_and_then_none() -> None:
    table = Table()
    few = np.arange(0, 360, 30)
    table.candidates = Candidates(
        ordered=table.candidates.ordered[few],
        categories=table.candidates.categories[few],
        proxies=np.log1p(table.candidates.ordered[few].sum(axis=1))[:, None],
    )
    table.ap, table.latency_ms, table.measured_ms = table.ap[few], table.latency_ms[few], table.measured_ms[few]
    observations = table.search(20)
    assert sorted(observation.candidate for observation in observations) == list(range(12))


def test_two_hundred_trials_are_still_followed_by_an_untried_candidate() -> None:
    table = Table()
    trained = [int(index) for index in np.random.default_rng(0).choice(360, 200, replace=False)]
    suggestion = table.suggest([table.observe(index) for index in trained])
    assert suggestion is not None
    assert suggestion.candidate not in trained


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"latency_ms has shape \(3,\)"):
        suggest(Table().candidates, [], latency_ms=np.ones(3), measure=lambda _: [], reference=CORNER)
    with pytest.raises(ValueError, match="candidates have shapes"):
        Candidates(ordered=np.zeros((2, 1)), categories=np.zeros((3, 0), dtype=np.int64))
    with pytest.raises(ValueError, match="not finite"):
        Candidates(ordered=np.full((2, 1), np.nan), categories=np.zeros((2, 0), dtype=np.int64))


@pytest.mark.parametrize(
    ("name", "value"), [("max_latency_ms", 0.0), ("num_first", 0), ("max_lookups", 0), ("num_optimistic_std", -1.0)]
)
def test_settings_without_meaning_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        StrategySettings(**{name: value})


def _free(observations: Sequence[Observation]) -> int:
    return min(set(range(360)) - {observation.candidate for observation in observations})


def test_without_look_ups_the_first_trainings_spread_over_what_candidates_cost_on_paper() -> None:
    macs = np.geomspace(1e6, 1e9, 31)
    candidates = Candidates(
        ordered=np.zeros((31, 1)), categories=np.zeros((31, 0), dtype=np.int64), proxies=np.log(macs)[:, None]
    )
    settings = StrategySettings(num_first=4, num_first_lookups=0, num_lookups=0)

    def measure(wanted: Sequence[int]) -> Sequence[float]:
        raise AssertionError(f"{wanted} were looked up")

    started: list[int] = []
    for _ in range(4):
        found = suggest(
            candidates,
            [],
            latency_ms=np.full(31, np.nan),
            measure=measure,
            reference=CORNER,
            settings=settings,
            pending=started,
        )
        assert found is not None
        assert found.why.startswith("initial design: latency unknown")
        started.append(found.candidate)
    assert sorted(round(place / 10) for place in started) == [
        0,
        1,
        2,
        3,
    ]  # one near each of four latencies, evenly spread in the logarithm
