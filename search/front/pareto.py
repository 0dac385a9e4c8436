"""Pareto fronts and hypervolumes of accuracy against latency.

Everywhere in this module AP is maximised and latency minimised, both in their natural sign. Arrays are float64 of shape
(N,), one entry per trial; AP in [0, 1], latency in milliseconds. NaN is refused: the caller leaves out trials without a
score or a latency, since they are on no front.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Staircase = tuple[FloatArray, FloatArray]
"""A front's levels and edges, as `staircase` returns them."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The worst corner that a hypervolume is counted from; only a trial better on both axes counts."""

    ap: float
    """AP in [0, 1]."""
    latency_ms: float
    """Milliseconds, more than 0."""

    def __post_init__(self) -> None:
        """Refuse a corner that bounds no area."""
        if not np.isfinite(self.ap):
            raise ValueError(f"reference ap is {self.ap}; it must be a finite number")
        if not (np.isfinite(self.latency_ms) and self.latency_ms > 0):
            raise ValueError(f"reference latency_ms is {self.latency_ms}; it must be a finite number above 0")


def front_indices(ap: FloatArray, latency_ms: FloatArray) -> IntArray:
    """Return the trials that no other trial beats, fastest first.

    Args:
        ap: (N,), maximised.
        latency_ms: (N,), minimised.

    Returns:
        (M,) indices; AP and latency both strictly increase along them. Of equal trials only the first is kept.

    Raises:
        ValueError: The shapes differ, or a value is NaN.

    Example:
        >>> front_indices(np.array([0.3, 0.5, 0.4]), np.array([10.0, 20.0, 30.0])).tolist()
        [0, 1]
    """
    ap, latency_ms = _checked(ap, latency_ms)
    order = np.lexsort((-ap, latency_ms))
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(ap[order])[:-1]))
    return np.asarray(order[ap[order] > best_before], dtype=np.int64)


def hypervolume(ap: FloatArray, latency_ms: FloatArray, *, reference: Reference) -> float:
    """Return the area between the front and the reference point, exactly, in AP times milliseconds.

    Args:
        ap: (N,), maximised; N may be 0.
        latency_ms: (N,), minimised.
        reference: The worst corner.

    Example:
        >>> float(hypervolume(np.array([0.5]), np.array([10.0]), reference=Reference(ap=0.25, latency_ms=50.0)))
        10.0
    """
    step_ap, step_latency_ms = staircase(ap, latency_ms, reference=reference)
    widths = np.diff(step_latency_ms)
    return float(np.sum((step_ap[1:] - reference.ap) * widths[1:]))


def knee_index(ap: FloatArray, latency_ms: FloatArray) -> int | None:
    """Return the front's knee: beyond it a millisecond brings less AP than along the front as a whole.

    The knee is the member farthest above the chord from the fastest to the most accurate member.

    Returns:
        An index into the arrays; None without trials. Where no member lies above the chord, as in a front of one or two, the
        most accurate member.

    Source:
        Das, "On characterizing the 'knee' of the Pareto curve based on Normal-Boundary Intersection", 1999.
    """
    members = front_indices(ap, latency_ms)
    if len(members) == 0:
        return None
    if len(members) < 3:
        return int(members[-1])
    member_ap, member_latency_ms = ap[members], latency_ms[members]
    rise = (member_ap - member_ap[0]) / (member_ap[-1] - member_ap[0])
    run = (member_latency_ms - member_latency_ms[0]) / (member_latency_ms[-1] - member_latency_ms[0])
    above = rise - run
    return int(members[np.argmax(above)] if above.max() > 0 else members[-1])


def staircase(ap: FloatArray, latency_ms: FloatArray, *, reference: Reference) -> Staircase:
    """Return the front as a step function: the best AP within each latency.

    Returns:
        Levels (M + 1,) and edges (M + 2,): `levels[i]` holds from `edges[i]` to `edges[i + 1]`. The first level is
        the reference's AP, from 0 ms on; the last edge is the reference's latency. Levels strictly increase.
    """
    ap, latency_ms = _checked(ap, latency_ms)
    counts = (ap > reference.ap) & (latency_ms < reference.latency_ms)
    ap, latency_ms = ap[counts], latency_ms[counts]
    members = front_indices(ap, latency_ms)
    edges = np.concatenate(([0.0], latency_ms[members], [reference.latency_ms]))
    return np.concatenate(([reference.ap], ap[members])), edges


def _checked(ap: FloatArray, latency_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
    ap, latency_ms = np.asarray(ap, dtype=np.float64), np.asarray(latency_ms, dtype=np.float64)
    if ap.ndim != 1 or ap.shape != latency_ms.shape:
        raise ValueError(f"ap has shape {ap.shape}, latency_ms {latency_ms.shape}; both must be (N,)")
    if np.isnan(ap).any() or np.isnan(latency_ms).any():
        raise ValueError("ap or latency_ms holds NaN; leave out the trials without a score or a latency")
    return ap, latency_ms
