"""What the estimates beside a front mean, in words."""

from collections.abc import Sequence

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.strategy.accuracy.estimates import MIN_TRIALS


def estimate_words(summary: Summary) -> str:
    """Return sentences on a front's estimates: what they are, and which members they cannot tell apart."""
    if not summary.estimates and summary.states["complete"] >= MIN_TRIALS:
        return "All complete trials have the same AP, from which nothing can be estimated."
    if not summary.estimates:
        return (
            "AP is the score of one training; the best of many scores is too high on average. An estimate with less bias "
            f"needs {MIN_TRIALS} complete trials, or retrainings with several seeds (--refit EPOCHS --repeats 10)."
        )
    words = "Estimated: expected AP ± its standard deviation, from all trainings; the knee is chosen by it."
    groups = "; ".join(map(_enumerated, summary.indistinct))
    if groups:
        words += (
            f" Cannot be told apart: {groups}. None of a group is more accurate than its first, which is the fastest, "
            "with a probability above 95 %."
        )
    return words


def inherit_words(summary: Summary) -> str:
    """Return a sentence on inherited or shared weights; empty where all trials began with their own."""
    trained = [record for record in summary.records if record.result.epochs]
    if any(record.result.is_from_shared for record in trained):
        return (
            "Trials began with slices of shared weights (--one-shot) and trained for a few epochs: their AP can be compared "
            "with each other's, not with that of other studies."
        )
    heirs = sum(record.result.inherited > 0 for record in trained)
    if not heirs:
        return ""
    return (
        f"{heirs} of {len(trained)} trained trials inherited weights from an earlier one (--inherit): they score higher "
        "than from scratch, so later trials look better than earlier ones."
    )


def _enumerated(group: Sequence[TrialRecord]) -> str:
    *others, last = (f"#{member.number}" for member in group)
    return f"{', '.join(others)} and {last}"
