"""What a suggestion takes into account. Each test puts one choice before the strategy whose right answer is plain."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from search.front.pareto import Reference
from search.strategy.accuracy.model import Observation
from search.strategy.candidates import Candidates
from search.strategy.settings import StrategySettings
from search.strategy.suggest import Suggestion, suggest
from search.strategy.surrogate import SurrogateSettings


class Line:
    """Candidates of one ordered choice between 0 and 1, with which AP and log latency rise evenly."""

    def __init__(self, *places: float) -> None:
        self.places = np.array(sorted(places))
        self.ap = 0.2 + 0.3 * self.places
        self.latency_ms = 5 * 16**self.places
        self.candidates = Candidates(
            ordered=self.places[:, None], categories=np.zeros((len(places), 0), dtype=np.int64)
        )

    def index(self, place: float) -> int:
        return int(np.flatnonzero(self.places == place)[0])

    def trained(self, place: float, *, luck: float = 0.0, ap_std: float = 0.0) -> Observation:
        index = self.index(place)
        ap, latency_ms = float(self.ap[index]) + luck, float(self.latency_ms[index])
        return Observation(candidate=index, ap=ap, latency_ms=latency_ms, ap_std=ap_std)

    def suggest(
        self,
        observations: Sequence[Observation],
        *,
        pending: Sequence[float] = (),
        excluded: Sequence[float] = (),
        **settings: Any,
    ) -> float:
        """Return the place of the candidate to train next; all latencies are known."""
        found = suggest(
            self.candidates,
            observations,
            latency_ms=self.latency_ms,
            measure=lambda _: [],
            reference=Reference(ap=0.0, latency_ms=100.0),
            settings=StrategySettings(num_first=1, **settings),
            pending=[self.index(place) for place in pending],
            excluded=[self.index(place) for place in excluded],
        )
        assert found is not None
        return float(self.places[found.candidate])


# The front has a wide gap, in whose middle two candidates are nearly the same, and a narrow one.
TWINS = (0.5, 0.505)
GAPS = Line(0, 0.1, 0.2, *TWINS, 0.8, 0.9, 1)
AROUND = [GAPS.trained(place) for place in (0, 0.1, 0.2, 0.8, 1)]


def test_a_running_trial_counts_as_trained() -> None:
    assert GAPS.suggest(AROUND) in TWINS
    assert GAPS.suggest(AROUND, excluded=[TWINS[0]]) == TWINS[1]
    assert GAPS.suggest(AROUND, pending=[TWINS[0]]) == 0.9  # its twin would add nothing


def test_a_pruned_training_leaves_its_gap_in_the_front() -> None:
    assert GAPS.suggest([*AROUND, GAPS.trained(TWINS[0], ap_std=0.001)]) == TWINS[1]
    assert GAPS.suggest([*AROUND, GAPS.trained(TWINS[0])]) == 0.9


def test_one_lucky_score_does_not_hide_the_candidates_behind_it() -> None:
    places = (0, 0.1, 0.2, 0.26, 0.28, 0.3, 0.32, 0.34, 0.7, 0.72, 0.74, 0.98, 1)
    line = Line(*places, 0.5, 0.86)
    lucky_ap = line.ap[line.index(0.3)] + 0.12
    observations = [
        line.trained(place, luck=0.12 if place == 0.3 else 0.01 * (-1) ** number) for number, place in enumerate(places)
    ]
    assert lucky_ap > line.ap[line.index(0.5)] + 0.05
    assert line.suggest(observations) == 0.5


def test_of_equal_gains_the_cheaper_training_is_chosen() -> None:
    line = Line(0, 0.2, 0.4, 0.6, 0.8, 1)
    ends = [line.trained(0), line.trained(1)]
    assert line.suggest(ends, fixed_cost=0.0) < line.suggest(ends, fixed_cost=1e6)


def test_the_choice_does_not_depend_on_how_fast_the_device_is() -> None:
    """Costs are counted in median latencies; a device a million times as fast has the same cheap and dear networks."""
    chosen = []
    for factor in (1e-3, 1e3):
        line = Line(0, 0.2, 0.4, 0.6, 0.8, 1)
        line.latency_ms *= factor
        found = suggest(
            line.candidates,
            [line.trained(0), line.trained(1)],
            latency_ms=line.latency_ms,
            measure=lambda _: [],
            reference=Reference(ap=0.0, latency_ms=100.0 * factor),
            settings=StrategySettings(num_first=1),
        )
        assert found is not None
        chosen.append(line.places[found.candidate])
    assert chosen[0] == chosen[1]


REST = (0, 0.1, 0.2, 0.9, 0.95, 1)
"""Trained places of `uncertain_line`."""


def uncertain_line() -> Line:
    line = Line(*REST, 0.5, 0.7)
    line.latency_ms *= np.exp(0.15 * (-1.0) ** np.arange(8))  # predictions are uncertain
    return line


def suggest_of(
    line: Line, *, unknown: Sequence[float], measured: list[float], excluded: Sequence[float] = (), **settings: Any
) -> Suggestion | None:
    """Suggest where latencies are unknown; each that is looked up turns out to be 12 ms, and its place is recorded."""
    known = line.latency_ms.copy()
    known[[line.index(place) for place in unknown]] = np.nan

    def measure(wanted: Sequence[int]) -> list[float]:
        measured.extend(line.places[list(wanted)])
        return [12.0] * len(wanted)

    return suggest(
        line.candidates,
        [line.trained(place) for place in REST],
        latency_ms=known,
        measure=measure,
        reference=Reference(ap=0.0, latency_ms=100.0),
        settings=StrategySettings(num_first=1, num_first_lookups=0, **settings),
        excluded=[line.index(place) for place in excluded],
    )


@pytest.mark.parametrize(
    ("num_lookups", "num_optimistic_std", "place", "looked_up"),
    [(1, 0.0, 0.5, []), (1, 4.0, 0.7, [0.7]), (0, 4.0, 0.5, [])],  # without look-ups the expected latency counts
)
def test_a_latency_that_may_be_better_than_predicted_is_measured(
    num_lookups: int, num_optimistic_std: float, place: float, looked_up: list[float]
) -> None:
    """The candidate at 0.7 is predicted to gain less than that at 0.5, and is in truth much faster."""
    line, measured = uncertain_line(), list[float]()
    settings = {"num_lookups": num_lookups, "num_optimistic_std": num_optimistic_std}
    found = suggest_of(line, unknown=[0.7], measured=measured, **settings)
    assert found is not None
    assert line.places[found.candidate] == place
    assert measured == looked_up


def test_what_leads_by_a_predicted_latency_is_measured_before_it_is_chosen_where_that_is_allowed() -> None:
    line, measured = uncertain_line(), list[float]()
    found = suggest_of(line, unknown=[0.5], measured=measured, num_lookups=0)
    assert found is not None
    assert (line.places[found.candidate], measured) == (0.5, [])
    assert "(predicted)" in found.why
    found = suggest_of(line, unknown=[0.5, 0.7], measured=measured, num_lookups=1)
    assert found is not None
    assert measured == [line.places[found.candidate]]
    assert "(predicted)" not in found.why


def test_once_all_look_ups_are_spent_a_predicted_latency_is_better_than_none() -> None:
    line, measured = uncertain_line(), list[float]()
    found = suggest_of(line, unknown=[0.5, 0.7], measured=measured, max_lookups=len(REST))
    assert found is not None
    assert line.places[found.candidate] in (0.5, 0.7)
    assert measured == []


def test_nothing_is_measured_where_nothing_is_left() -> None:
    line, measured = uncertain_line(), list[float]()
    assert suggest_of(line, unknown=[0.5, 0.7], measured=measured, excluded=[0.5, 0.7]) is None
    assert measured == []


def test_where_nothing_more_can_be_gained_the_limit_still_counts() -> None:
    """Beyond the reference's latency every gain is 0; both candidates beat its AP, one is probably over the limit."""
    line = Line(0, 0.1, 0.2, 0.5, 0.9, 1)
    known = line.latency_ms.copy()
    known[[line.index(0.5), line.index(0.9)]] = np.nan
    found = suggest(
        line.candidates,
        [line.trained(place) for place in (0, 0.1, 0.2, 1)],
        latency_ms=known,
        measure=lambda _: [],
        reference=Reference(ap=0.0, latency_ms=4.0),
        settings=StrategySettings(num_first=1, num_first_lookups=0, num_lookups=0, max_latency_ms=40.0),
    )
    assert found is not None
    assert line.places[found.candidate] == 0.5


def test_the_expected_gain_is_a_share_of_the_reference_rectangle_over_log_latency() -> None:
    reference = Reference(ap=0.1, latency_ms=100.0)
    found = suggest(
        GAPS.candidates,
        AROUND,
        latency_ms=GAPS.latency_ms,
        measure=lambda _: [],
        reference=reference,
        settings=StrategySettings(num_first=1),
    )
    assert found is not None
    chosen, below, above = found.candidate, GAPS.index(0.2), GAPS.index(0.8)
    log_ms = np.log(GAPS.latency_ms)
    added = (GAPS.ap[chosen] - GAPS.ap[below]) * (log_ms[above] - log_ms[chosen])
    whole = (1 - reference.ap) * (np.log(reference.latency_ms) - log_ms.min())
    gain = re.search(r"expected gain ([\d.]+)%", found.why)
    assert gain is not None
    assert float(gain[1]) == pytest.approx(100 * added / whole, rel=0.05)


def test_the_surrogate_is_fitted_with_the_settings_and_the_seed_given() -> None:
    observations = [GAPS.trained(place, luck=0.02 * (-1) ** n) for n, place in enumerate((0, 0.1, 0.2, 0.8, 1))]

    def why(seed: int, **surrogate: Any) -> str:
        found = suggest(
            GAPS.candidates,
            observations,
            latency_ms=GAPS.latency_ms,
            measure=lambda _: [],
            reference=Reference(ap=0.0, latency_ms=100.0),
            settings=StrategySettings(num_first=1, surrogate=SurrogateSettings(**surrogate)),
            seed=seed,
        )
        assert found is not None
        return found.why

    assert why(0, noise_median=1.0) != why(0, noise_median=1e-6)
    rough = [why(seed, num_starts=3, max_iterations=1) for seed in range(6)]
    assert rough == [why(seed, num_starts=3, max_iterations=1) for seed in range(6)]
    assert len(set(rough)) > 1
