"""Which network is trained once more."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from search.front.estimate import NOISE
from search.front.record import TrialRecord
from search.strategy.repeats import choose_repeat, expected_gains
from spaces import Architecture
from tests.search.records import ARCHITECTURES, record

LIMIT_MS = 80.0


def begun(*records: TrialRecord) -> Counter[Architecture]:
    return Counter(one.architecture for one in records)


def by_number(gains: dict[Architecture, float]) -> dict[int, float]:
    return {ARCHITECTURES.index(one): gain for one, gain in gains.items()}


def tried_gain(ap: list[float], latency_ms: list[float], counts: list[int], place: int) -> float:
    """Give the gain of training one network once more, by trying 400 changes of its mean and seeing which is taken."""
    means, limits = np.array(ap), np.geomspace(min(latency_ms), LIMIT_MS, 1001)
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
    gains = by_number(expected_gains(rows, {**begun(*rows), ARCHITECTURES[2]: 3}, max_latency_ms=LIMIT_MS, more=1))
    tried = {place: tried_gain(ap, latency_ms, counts, place) for place in range(4)}
    assert gains == pytest.approx(tried, rel=0.02, abs=1e-6)
    assert list(gains) == [0, 1, 2, 3]


def test_the_gain_follows_the_noise_that_repeats_show_and_the_latency_of_a_network_is_its_smallest() -> None:
    steady = [record(0, 0.30, 10.0), record(1, 0.33, 20.0)]
    unsteady = [*steady, *(record(1, ap, 25.0) for ap in (0.13, 0.53, 0.13, 0.53))]
    known = {one.architecture: 5 for one in steady}
    calm = by_number(expected_gains(steady, known, max_latency_ms=LIMIT_MS, more=1))
    # Squares of 0.04 four times over the repeats, and the prior's four of 0.0004, over 4 + 4.
    change = math.sqrt((4 * 0.04 + 4 * NOISE**2) / 8 * (1 / 5 - 1 / 6))
    z = -0.03 / change
    part = math.log(LIMIT_MS / 20.0) / math.log(LIMIT_MS / 10.0)
    expected = part * change * (z * ndtr(z) + math.exp(-z * z / 2) / math.sqrt(2 * math.pi))
    assert by_number(expected_gains(unsteady, known, max_latency_ms=LIMIT_MS, more=1))[0] == pytest.approx(expected)
    assert calm[0] < 1e-3 * expected


def test_many_more_trainings_add_more_than_one() -> None:
    rows = [record(0, 0.30, 10.0), record(1, 0.34, 20.0)]
    one, five, certain = (
        expected_gains(rows, begun(*rows), max_latency_ms=LIMIT_MS, more=more)[ARCHITECTURES[1]]
        for more in (1, 5, math.inf)
    )
    assert 0 < one < five < certain
    z = -0.04 / NOISE
    part = math.log(LIMIT_MS / 20.0) / math.log(LIMIT_MS / 10.0)
    assert certain == pytest.approx(part * NOISE * (z * ndtr(z) + math.exp(-z * z / 2) / math.sqrt(2 * math.pi)))


def test_networks_that_cannot_be_told_apart_are_trained_again_and_the_others_are_not() -> None:
    clear, rivals = record(0, 0.2, 10.0), (record(2, 0.400, 30.0), record(6, 0.405, 35.0))
    best = record(3, 0.9, 60.0)
    rows = [best, clear, *rivals]
    first = choose_repeat(rows, begun(*rows), max_latency_ms=LIMIT_MS)
    assert first in (rivals[0].architecture, rivals[1].architecture)
    # With that one in training, the other one of the two is next.
    second = choose_repeat(rows, begun(*rows) + Counter([first]), max_latency_ms=LIMIT_MS)
    assert {first, second} == {one.architecture for one in rivals}
    gains = by_number(expected_gains(rows, begun(*rows), max_latency_ms=LIMIT_MS, more=1))
    assert gains[0] < 1e-9
    assert gains[3] < 1e-9


def test_what_serves_more_limits_comes_first() -> None:
    close = [record(0, 0.300, 10.0), record(1, 0.305, 10.5), record(2, 0.500, 11.0), record(3, 0.505, 12.0)]
    assert choose_repeat(close, {}, max_latency_ms=LIMIT_MS) in (ARCHITECTURES[2], ARCHITECTURES[3])


def test_trainings_that_failed_count_as_begun_and_those_of_the_record_as_well() -> None:
    """A network that fails each time must not be chosen for ever; `begun` may leave networks out."""
    rivals = [record(2, 0.400, 30.0), record(6, 0.400, 30.5)]
    first, second = (one.architecture for one in rivals)
    failed = record(6, None, None, state="failed", reason="the loss is nan")
    rows = [*rivals, failed]
    assert choose_repeat(rows, begun(*rows), max_latency_ms=LIMIT_MS) == first
    twice = [*rivals, rivals[0]]
    assert choose_repeat(twice, {}, max_latency_ms=LIMIT_MS) == second


def test_nothing_is_repeated_where_it_would_change_nothing() -> None:
    apart = [record(0, 0.2, 10.0), record(2, 0.5, 30.0), record(3, 0.8, 60.0)]
    assert choose_repeat(apart, begun(*apart), max_latency_ms=LIMIT_MS) is None
    assert choose_repeat(apart[:1], begun(*apart), max_latency_ms=LIMIT_MS) is None
    assert choose_repeat([], {}, max_latency_ms=LIMIT_MS) is None
    assert expected_gains(apart[:1], {}, max_latency_ms=LIMIT_MS, more=1) == {ARCHITECTURES[0]: 0.0}
    failed = record(1, None, None, state="failed", reason="the loss is nan")
    assert choose_repeat([*apart, failed], begun(*apart, failed), max_latency_ms=LIMIT_MS) is None


def test_equal_networks_of_one_latency_are_no_division_by_zero() -> None:
    alike = [record(0, 0.3, 80.0), record(1, 0.3, 80.0)]
    assert choose_repeat(alike, begun(*alike), max_latency_ms=LIMIT_MS) is None
