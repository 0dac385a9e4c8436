"""The gain that a forecast promises, and what the verdict makes of it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from search.front.pareto import Reference, hypervolume
from search.reports.forecast import Candidate, Forecast, forecast
from search.reports.report import make_report
from search.strategy.candidates import Encoder
from tests.search.driver.scripted import SPACE
from tests.search.reports.test_report import study, trials


def test_the_gain_is_the_expected_growth_of_the_hypervolume() -> None:
    summary = study(tuple(one for one in trials(60) if one.architecture.input_size != 128)).summary
    points = np.array([one.point for one in summary.records])
    quantiles = ndtri((np.arange(100) + 0.5) / 100)
    candidates = forecast(summary, SPACE).candidates
    assert candidates
    for one in candidates:
        wholes = [
            hypervolume(
                np.append(points[:, 0], ap), np.append(points[:, 1], one.latency_ms), reference=summary.reference
            )
            for ap in one.ap + one.ap_std * quantiles
        ]
        before = hypervolume(points[:, 0], points[:, 1], reference=summary.reference)
        # The front of the forecast may be smoothed; hence the room.
        assert 0.4 < one.gain / (np.mean(wholes) / before - 1) < 2.5


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "likely"), (0.0001, "unlikely")])
def test_the_verdict_follows_from_the_gain(gain: float, verdict: str) -> None:
    candidate = Candidate(architecture=SPACE[0], ap=0.5, ap_std=0.1, latency_ms=9.0, gain=gain)
    report = replace(make_report(study(trials(8))), forecast=Forecast(candidates=(candidate,)))
    assert report.verdict.startswith(f"more budget is {verdict} to pay: ")
    assert report.verdict.endswith(f"the most promising candidate is expected to add {gain:.1%}")


def test_a_network_over_the_limit_promises_nothing() -> None:
    """The study's reference lies beyond its limit, and the forecast finds candidates between the two."""
    opened = study(tuple(one for one in trials(60) if one.architecture.input_size != 128))
    opened = replace(opened, summary=replace(opened.summary, reference=Reference(ap=0.0, latency_ms=6.25)))
    unlimited, limited = (make_report(replace(opened, max_latency_ms=limit)).forecast for limit in (None, 3.0))
    assert unlimited.is_worth_it
    assert min(one.latency_ms for one in unlimited.candidates) > 3.5
    assert not limited.is_worth_it
    assert all(one.gain < 1e-6 for one in limited.candidates)


def test_what_was_looked_up_is_not_predicted() -> None:
    """A candidate that the device cannot run promises nothing, and a measured latency stands."""
    opened = study(tuple(one for one in trials(60) if one.architecture.input_size != 128))
    before = make_report(opened).forecast.candidates
    network = Encoder(num_classes=1).network
    measured_ms = 0.8 * before[1].latency_ms  # it promises more than it did
    looked_up_ms = {network(before[0].architecture): np.inf, network(before[1].architecture): measured_ms}
    after = make_report(replace(opened, looked_up_ms=looked_up_ms)).forecast.candidates
    assert before[0].architecture not in [one.architecture for one in after]
    assert [one.latency_ms for one in after if one.architecture == before[1].architecture] == [measured_ms]
    limited = forecast(opened.summary, SPACE, looked_up_ms=dict.fromkeys(map(network, SPACE), np.inf))
    assert limited.candidates == ()
