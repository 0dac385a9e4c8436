"""Which network is trained once more."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy.special import ndtri

from search.front.estimate import NOISE
from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.strategy.repeats import choose_repeat, expected_gains
from spaces import Architecture
from tests.search.records import ARCHITECTURES, record

REFERENCE = Reference(ap=0.0, latency_ms=80.0)


def begun(*records: TrialRecord) -> Counter[Architecture]:
    return Counter(one.architecture for one in records)


def by_number(gains: dict[Architecture, float]) -> dict[int, float]:
    return {ARCHITECTURES.index(one): gain for one, gain in gains.items()}


def tried_gain(ap: list[float], latency_ms: list[float], counts: list[int], place: int) -> float:
    """Give the gain of training one network once more, by trying 400 changes of its mean and seeing which is taken."""
    means, limits = np.array(ap), np.geomspace(min(latency_ms), REFERENCE.latency_ms, 1001)
    std = NOISE * math.sqrt(1 / counts[place] - 1 / (counts[place] + 1))
    within = np.array(latency_ms)[None] <= limits[:, None]
    before = np.where(within, means, -1.0).max(axis=1).mean()
    after = []
    for change in std * ndtri((np.arange(400) + 0.5) / 400):
        moved = means + change * (np.arange(len(ap)) == place)
        after.append(np.where(within, moved, -1.0).max(axis=1).mean())
    return float(np.mean(after) - before)


def test_the_gain_of_a_repeat_is_what_trying_its_outcomes_gives() -> None:
    ap, latency_ms, counts = [0.30, 0.31, 0.305, 0.36], [10.0, 15.0, 30.0, 40.0], [1, 1, 3, 1]
    rows = [record(number, one, latency_ms[number]) for number, one in enumerate(ap)]
    gains = by_number(expected_gains(rows, {**begun(*rows), ARCHITECTURES[2]: 3}, reference=REFERENCE))
    tried = {place: tried_gain(ap, latency_ms, counts, place) for place in range(4)}
    assert gains == pytest.approx(tried, rel=0.02, abs=1e-6)
    assert list(gains) == [0, 1, 2, 3]


def test_networks_that_cannot_be_told_apart_are_trained_again_and_the_others_are_not() -> None:
    clear, rivals = record(0, 0.2, 10.0), (record(2, 0.400, 30.0), record(6, 0.405, 35.0))
    best = record(3, 0.9, 60.0)
    rows = [best, clear, *rivals]
    first = choose_repeat(rows, begun(*rows), reference=REFERENCE)
    assert first in (rivals[0].architecture, rivals[1].architecture)
    # With that one in training, the other one of the two is next.
    second = choose_repeat(rows, begun(*rows) + Counter([first]), reference=REFERENCE)
    assert {first, second} == {one.architecture for one in rivals}
    gains = by_number(expected_gains(rows, begun(*rows), reference=REFERENCE))
    assert gains[0] < 1e-9
    assert gains[3] < 1e-9


def test_what_serves_more_limits_comes_first() -> None:
    close = [record(0, 0.300, 10.0), record(1, 0.305, 10.5), record(2, 0.500, 11.0), record(3, 0.505, 12.0)]
    assert choose_repeat(close, {}, reference=REFERENCE) in (ARCHITECTURES[2], ARCHITECTURES[3])


def test_nothing_is_repeated_where_it_would_change_nothing() -> None:
    apart = [record(0, 0.2, 10.0), record(2, 0.5, 30.0), record(3, 0.8, 60.0)]
    assert choose_repeat(apart, begun(*apart), reference=REFERENCE) is None
    assert choose_repeat(apart[:1], begun(*apart), reference=REFERENCE) is None
    assert choose_repeat([], {}, reference=REFERENCE) is None
    assert expected_gains(apart[:1], {}, reference=REFERENCE) == {ARCHITECTURES[0]: 0.0}
    failed = record(1, None, None, state="failed", reason="the loss is nan")
    assert choose_repeat([*apart, failed], begun(*apart, failed), reference=REFERENCE) is None


def test_equal_networks_of_one_latency_are_no_division_by_zero() -> None:
    alike = [record(0, 0.3, 80.0), record(1, 0.3, 80.0)]
    assert choose_repeat(alike, begun(*alike), reference=REFERENCE) is None
