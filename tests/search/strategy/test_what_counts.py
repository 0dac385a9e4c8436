"""What a suggestion takes into account. Each test puts one choice before the strategy whose right answer is plain."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from search.strategy.accuracy_model import Observation
from search.strategy.candidates import Candidates
from search.strategy.settings import StrategySettings
from search.strategy.suggest import suggest
from search.study.pareto import Reference


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
TWINS = (0.5, 0.53)
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


def test_a_latency_that_may_be_better_than_predicted_is_measured() -> None:
    """The candidate at 0.7 is predicted to gain less than that at 0.5, and is in truth much faster."""
    line = Line(0, 0.1, 0.2, 0.5, 0.7, 0.9, 0.95, 1)
    line.latency_ms *= np.exp(0.15 * (-1.0) ** np.arange(8))  # predictions are uncertain
    known = line.latency_ms.copy()
    known[line.index(0.7)] = np.nan
    chosen = []
    for num_optimistic_std in (0.0, 4.0):
        found = suggest(
            line.candidates,
            [line.trained(place) for place in (0, 0.1, 0.2, 0.9, 0.95, 1)],
            latency_ms=known,
            measure=lambda wanted: [12.0] * len(wanted),
            reference=Reference(ap=0.0, latency_ms=100.0),
            settings=StrategySettings(
                num_first=1, num_first_lookups=0, num_lookups=1, num_optimistic_std=num_optimistic_std
            ),
        )
        assert found is not None
        chosen.append(line.places[found.candidate])
    assert chosen == [0.5, 0.7]
