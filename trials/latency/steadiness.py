"""Whether a timed run can be trusted: spread, drift along the run, clock."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trials.latency.board.probe import BoardState

_MOST_VARIATION = 0.05
"""Boards with locked clocks show 0.1 to 0.6 %."""
_WORTH_A_NOTE = 0.02
_MOST_DRIFT = 0.02
"""Of the last third's median against the first third's."""
_MOST_CLOCK_FALL = 0.02
_ENOUGH = 30
"""Samples below which thirds say nothing."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What speaks against a run."""

    faults: tuple[str, ...]
    """Why it must be measured again; empty where it is steady."""
    notes: tuple[str, ...]
    """What is odd, yet no fault."""


def judge_run(samples_ms: Sequence[float], *, before: BoardState, after: BoardState) -> Verdict:
    """Look at a run's samples and at the board before and after it.

    Args:
        samples_ms: All, in order, in milliseconds.
        before: The board's state before the run.
        after: The state after it.
    """
    faults, notes = [], []
    spread = variation(samples_ms)
    if spread > _MOST_VARIATION:
        faults.append(f"passes vary by {spread:.1%} (at most {_MOST_VARIATION:.0%})")
    elif spread > _WORTH_A_NOTE:
        notes.append(f"passes vary by {spread:.1%}")
    moved = drift(samples_ms)
    if abs(moved) > _MOST_DRIFT:
        way = "slower" if moved > 0 else "faster"
        faults.append(f"it ran {abs(moved):.1%} {way} at the end of the run than at its beginning")
    if fall := _clock_fall(before, after):
        faults.append(fall)
    if before.is_clock_locked is False:
        notes.append("the GPU's clock was not locked")
    return Verdict(faults=tuple(faults), notes=tuple(notes))


def variation(samples_ms: Sequence[float]) -> float:
    """Give the coefficient of variation, the slowest hundredth left out: single passes that something interrupted."""
    values = np.sort(np.asarray(samples_ms, dtype=np.float64))
    kept = values[: max(1, int(np.ceil(len(values) * 0.99)))]
    return float(kept.std() / kept.mean())


def drift(samples_ms: Sequence[float]) -> float:
    """Give how much slower the last third was than the first, as a share; 0 for too few samples."""
    third = len(samples_ms) // 3
    if len(samples_ms) < _ENOUGH:
        return 0.0
    return float(np.median(samples_ms[-third:]) / np.median(samples_ms[:third]) - 1)


def _clock_fall(before: BoardState, after: BoardState) -> str:
    """Tell of a locked clock that fell, which is throttling; one that is free falls by itself when the work is done."""
    if not before.is_clock_locked or before.gpu_max_mhz is None or after.gpu_mhz is None:
        return ""
    if after.gpu_mhz >= before.gpu_max_mhz * (1 - _MOST_CLOCK_FALL):
        return ""
    heat = "" if after.temperature_c is None else f" at {after.temperature_c:.0f} °C"
    return f"the GPU's clock fell from {before.gpu_max_mhz:.0f} to {after.gpu_mhz:.0f} MHz{heat}: the board throttles"
