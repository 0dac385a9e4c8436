from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from search.strategy.candidates import Candidates
from search.strategy.latency.lookups import LatencyLookups


def test_one_measured_latency_tells_the_others_by_what_they_cost_on_paper() -> None:
    macs = np.geomspace(1e6, 1e9, 31)
    candidates = Candidates(
        ordered=np.zeros((31, 1)), categories=np.zeros((31, 0), dtype=np.int64), proxies=np.log(macs)[:, None]
    )
    known = np.full(31, np.nan)
    known[10] = 5.0
    lookups = LatencyLookups(candidates, known, measure=lambda _: [], max_lookups=9, seed=0)
    lookups.predict()
    assert lookups.latency_ms[20] / 5.0 == pytest.approx(10**0.7, rel=0.2)
    assert np.all(np.diff(lookups.latency_ms) > 0)


def test_ap_is_expected_to_rise_with_macs_latency_and_what_is_said_to_rise() -> None:
    rng = np.random.default_rng(0)
    candidates = Candidates(
        ordered=rng.random((9, 2)),
        categories=np.zeros((9, 1), dtype=np.int64),
        proxies=rng.random((9, 2)),
        is_rising=np.array([False, True]),
    )
    lookups = LatencyLookups(candidates, np.linspace(1, 2, 9), measure=lambda _: [], max_lookups=9, seed=0)
    slopes = lookups.inputs().slopes
    assert slopes is not None
    assert slopes.tolist() == [0, 1, 1, 0, 1]  # two choices, log MACs, log parameters, log latency
    with pytest.raises(ValueError, match="is_rising has shape"):
        replace(candidates, is_rising=np.array([True]))


def test_one_measurement_serves_all_trainings_of_a_network() -> None:
    """Nine candidates, three to a network: they differ in which blocks start from ImageNet weights."""
    candidates = Candidates(
        ordered=np.repeat([[0.0], [1.0], [2.0]], 3, axis=0) + 0.01 * np.tile([[0], [1], [2]], (3, 1)),
        categories=np.zeros((9, 0), dtype=np.int64),
        networks=np.repeat([5, 7, 9], 3),
    )
    asked: list[int] = []

    def measure(wanted: Sequence[int]) -> list[float]:
        asked.extend(wanted)
        return [np.inf if 3 <= one < 6 else 1.0 + one for one in wanted]

    lookups = LatencyLookups(candidates, np.full(9, np.nan), measure=measure, max_lookups=3, seed=0)
    lookups.look_up_spread(2)
    assert len({one // 3 for one in asked}) == len(asked) == 2
    assert lookups.num_left == 1
    lookups.look_up(np.arange(9))
    assert len({one // 3 for one in asked}) == len(asked) == 3
    assert lookups.num_left == 0
    assert lookups.is_known.all()
    assert np.isinf(lookups.latency_ms).tolist() == [False] * 3 + [True] * 3 + [False] * 3
    assert [len(set(lookups.latency_ms[first : first + 3])) for first in (0, 3, 6)] == [1, 1, 1]
    with pytest.raises(ValueError, match="networks has shape"):
        replace(candidates, networks=np.array([1]))
