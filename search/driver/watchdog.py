"""How long a trial may be silent before it counts as hung."""

from collections.abc import Sequence
from statistics import median

from search.front.record import TrialRecord
from trials.latency.open_device import longest_measurement_s
from trials.progress import Phase

MIN_SILENCE_S = 1800.0
"""A training reports every half second; opening a large dataset, the last scoring of one and the ONNX file take minutes."""
_MIN_SILENCE_MEASURING_S = 4 * 3600.0
"""A measurement reports nothing. One on this machine takes seconds, and may wait for others there."""
_IN_TRIALS = 2.0


def longest_silence_s(finished: Sequence[TrialRecord], phase: Phase, *, devices: Sequence[str] = ()) -> float:
    """Return how many seconds a trial may go without a progress report: as long as two whole trials take, or the least.

    Args:
        finished: The study's trials; the median time of the complete ones counts.
        phase: What the trial last reported.
        devices: Where its latency is measured: a board ends a measurement by limits of its own, which its name may set.
    """
    least_s = MIN_SILENCE_S
    if phase == "measure":
        least_s = max(_MIN_SILENCE_MEASURING_S, *map(longest_measurement_s, devices), 0.0)
    took_s = [sum(record.result.seconds.values()) for record in finished if record.point is not None]
    return max(least_s, _IN_TRIALS * median(took_s)) if took_s else least_s
