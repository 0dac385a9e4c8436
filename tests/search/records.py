"""Finished trials to make summaries of."""

from typing import Any

from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from tests.search.driver.scripted import SPACE, latency
from trials.trial_result import TrialResult

ARCHITECTURES = list(SPACE)


def record(number: int, ap: float | None, latency_ms: float | None, **changes: Any) -> TrialRecord:
    """Give a trial of these figures, complete unless said otherwise."""
    known = None if latency_ms is None else latency(latency_ms)
    values = {
        "state": "complete",
        "latency": known,
        "ap": ap,
        "ap50": ap,
        "macs": 3_000_000,
        "params": 2_000,
        **changes,
    }
    return TrialRecord(number=number, architecture=ARCHITECTURES[number], result=TrialResult(**values))


def summary(*records: TrialRecord, reference_ms: float = 100.0) -> Summary:
    """Give what these trials come to."""
    return Summary(records=records, reference=Reference(ap=0.0, latency_ms=reference_ms))


STAIRCASE = (
    record(0, 0.2, 10.0),
    record(1, None, 300.0, state="infeasible", reason="over the limit"),
    record(2, 0.4, 30.0),
    record(3, 0.3, 40.0),
    record(4, 0.9, 5.0, state="pruned", reason="would miss the front"),
    record(5, None, None, state="failed", reason="the loss is nan"),
    record(6, 0.5, 60.0),
)
"""Three of a front (0, 2, 6), one behind it, and one of each other end."""

BENT = summary(record(0, 0.1, 10.0), record(1, 0.5, 20.0), record(2, 0.55, 50.0), record(3, 0.6, 90.0))
"""A front whose fastest member (0), knee (1) and best member (3) are three."""
