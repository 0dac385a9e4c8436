"""Linear algebra on one thread."""

import numpy as np
import pytest
import scipy.linalg  # its BLAS is a library of its own
from threadpoolctl import threadpool_info, threadpool_limits

from search.front.pareto import FloatArray, IntArray, Reference
from search.strategy.accuracy import estimates
from search.strategy.accuracy.model import Observation
from search.strategy.candidates import Candidates
from search.strategy.suggest import suggest

CANDIDATES = Candidates(
    ordered=np.arange(12.0)[:, None], categories=np.zeros((12, 1), dtype=np.int64), is_rising=np.array([True])
)
OBSERVATIONS = [Observation(candidate=place, ap=0.1 * place, latency_ms=1.0 + place) for place in range(4)]


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_suggestions_and_estimates_use_one_thread_and_leave_the_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert scipy.linalg.inv(np.eye(2)).sum() == 2
    seen: list[set[int]] = []

    def measure(wanted: IntArray) -> FloatArray:
        seen.append(threads())
        return 1.0 + np.asarray(wanted, dtype=np.float64)

    def fail(*_: object, **__: object) -> None:
        seen.append(threads())
        raise RuntimeError("no model")

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()  # {2}, unless a BLAS takes no more threads than there are cores
        suggest(
            CANDIDATES,
            OBSERVATIONS,
            latency_ms=np.full(12, np.nan),
            measure=measure,
            reference=Reference(ap=0.0, latency_ms=20.0),
        )
        assert threads() == before
        monkeypatch.setattr(estimates, "AccuracyModel", fail)
        with pytest.raises(RuntimeError, match="no model"):
            estimates.fit_to_observations(CANDIDATES, OBSERVATIONS, latency_ms=np.full(12, 1.0))
        assert threads() == before
    assert len(seen) > 1
    assert all(one == {1} for one in seen)
