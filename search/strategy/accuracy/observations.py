"""What the model of accuracy learns from: scores of complete trials, and expected final scores of pruned ones."""

from collections.abc import Mapping, Sequence

from search.front.record import TrialRecord
from search.strategy.accuracy.model import Observation
from search.strategy.accuracy.pruning import by_epoch, extrapolate


def observe(records: Sequence[TrialRecord], places: Mapping[int, int]) -> list[Observation]:
    """Return the AP of complete trials, and the expected final AP of pruned ones.

    Args:
        records: Finished trials.
        places: Number of a trial to the index of its candidate.
    """
    finished = by_epoch(records)
    observations = []
    for record in records:
        ap, ap_std, latency = record.result.ap, 0.0, record.result.latency
        if record.result.state == "pruned" and latency is not None and record.curve:
            end = extrapolate(record.curve, latency.median_ms, finished)
            ap, ap_std = (end.ap, end.ap_std) if end is not None else (None, 0.0)
        elif record.point is None:
            continue
        if ap is not None and latency is not None:
            place, latency_ms = places[record.number], latency.median_ms
            observations.append(Observation(candidate=place, ap=ap, latency_ms=latency_ms, ap_std=ap_std))
    return observations
