"""When to stop a trial that cannot reach the front any more.

Its latency is known before it trains, so what it has to beat is one number: the best AP among finished trials at or under
its latency.
"""

from collections.abc import Sequence

from search.record import TrialRecord

MIN_CURVES = 8
"""Finished trials needed before any is stopped: fewer say too little about how curves go on."""
MIN_SHARE = 0.5
"""Share of its epochs every trial may run."""


def cannot_reach_front(
    scores: Sequence[tuple[int, float]], latency_ms: float, *, num_epochs: int, finished: Sequence[TrialRecord]
) -> str:
    """Say why a trial is not worth going on with; empty where it is.

    It is given the better of its last two scores, and from there the largest gain that any finished trial made from that
    epoch to its end. If even so it ends below a finished trial that is at most as slow, it is not on the front.

    Args:
        scores: The trial's epochs (from 1) and AP so far.
        latency_ms: Its median latency.
        num_epochs: Epochs a whole training has.
        finished: The study's finished trials.
    """
    epoch = scores[-1][0]
    complete = [record for record in finished if record.result.state == "complete"]
    if epoch < MIN_SHARE * num_epochs or epoch >= num_epochs or len(complete) < MIN_CURVES:
        return ""
    rivals = [ap for ap, rival_ms in filter(None, (record.point for record in complete)) if rival_ms <= latency_ms]
    gains = [gain for record in complete if (gain := _gain_after(record, epoch)) is not None]
    if not rivals or len(gains) < MIN_CURVES:
        return ""
    now = max(ap for _, ap in scores[-2:])
    if now + max(gains) >= max(rivals):
        return ""
    return (
        f"AP {now:.3f} after epoch {epoch} of {num_epochs}; with the largest gain seen from there ({max(gains):.3f}) it "
        f"would still miss the {max(rivals):.3f} of a trial that is no slower"
    )


def _gain_after(record: TrialRecord, epoch: int) -> float | None:
    """Give how much a finished trial gained from an epoch to its end, None where it was not scored then."""
    scored = {row[0]: row[2] for row in record.result.history if row[2] is not None}
    if epoch not in scored or record.result.ap is None:
        return None
    return record.result.ap - scored[epoch]
