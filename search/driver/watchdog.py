"""How long a trial may be silent before it counts as hung."""

from collections.abc import Sequence
from statistics import median

from search.front.record import TrialRecord
from trials.progress import Phase

MIN_SILENCE_S = 1800.0
"""A training reports every half second; opening a large dataset, the last scoring of one and the ONNX file take minutes."""
_MIN_SILENCE_MEASURING_S = 4 * 3600.0
"""A measurement reports nothing. A board ends it by limits of its own (`trials.latency.board.settings`): 2 hours in its
queue, 40 minutes for an engine, 10 minutes for each run."""
_IN_TRIALS = 2.0


def longest_silence_s(finished: Sequence[TrialRecord], phase: Phase) -> float:
    """Return how many seconds a trial may go without a progress report: as long as two whole trials take, or the least.

    Args:
        finished: The study's trials; the median time of the complete ones counts.
        phase: What the trial last reported.
    """
    least_s = _MIN_SILENCE_MEASURING_S if phase == "measure" else MIN_SILENCE_S
    took_s = [sum(record.result.seconds.values()) for record in finished if record.point is not None]
    return max(least_s, _IN_TRIALS * median(took_s)) if took_s else least_s
