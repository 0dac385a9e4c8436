"""The effect of each value of each axis on accuracy and latency, all else being equal.

Ridge regression fits a sum of main effects to the AP and the log latency of complete trials. The uncertainty is that over
bootstrap resamples of the trials. Interactions between axes are not modelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.study.pareto import FloatArray
from search.study.record import TrialRecord
from spaces import Architecture

_AXES = ("scale_set", "shortcut", "rfcr_width", "rfcr_channels", "rfcr_kernel", "head", "head_width", "input_size")
_RIDGE = 1.0
_MIN_TRIALS = 8
"""Fewer do not suffice for a dozen axes."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one value of one axis, relative to the mean of the trials."""

    axis: str
    """``backbone`` includes the truncation."""
    value: str
    trials: int
    """Number of complete trials with the value."""
    ap: float
    """Added AP."""
    ap_range: tuple[float, float]
    """From the 5th to the 95th percentile of the resamples."""
    latency: float
    """Factor on the latency."""
    latency_range: tuple[float, float]
    """From the 5th to the 95th percentile of the resamples."""

    @property
    def is_clear(self) -> bool:
        """Whether the effect on accuracy has a sign in 90 % of the resamples."""
        return self.ap_range[0] > 0 or self.ap_range[1] < 0


def estimate_effects(records: Sequence[TrialRecord], *, num_resamples: int = 200, seed: int = 0) -> list[Effect]:
    """Estimate the effects of every axis with at least two values, the most important axis for accuracy first.

    Args:
        records: A study's trials.
        num_resamples: Bootstrap resamples for the uncertainty.
        seed: Seed of the resamples.

    Returns:
        An empty list where fewer than eight trials are complete.
    """
    points = [(record.architecture, record.point) for record in records if record.point is not None]
    if len(points) < _MIN_TRIALS:
        return []
    choices = [_choices(architecture) for architecture, _ in points]
    columns = [
        (axis, value)
        for axis in choices[0]
        if len(values := sorted({choice[axis] for choice in choices}, key=_order)) > 1
        for value in values
    ]
    if not columns:
        return []
    design = np.array([[float(choice[axis] == value) for axis, value in columns] for choice in choices])
    targets = np.array([[point[0], np.log(point[1])] for _, point in points if point is not None])
    random = np.random.default_rng(seed)
    whole = _fit(design, targets, columns)
    drawn = (random.integers(len(points), size=len(points)) for _ in range(num_resamples))
    samples = np.stack([_fit(design[rows], targets[rows], columns) for rows in drawn])  # (resamples, columns, 2)
    low, high = np.percentile(samples, (5, 95), axis=0)
    counts = design.sum(axis=0)
    effects = [
        Effect(
            axis=axis,
            value=value,
            trials=int(counts[place]),
            ap=float(whole[place, 0]),
            ap_range=(float(low[place, 0]), float(high[place, 0])),
            latency=float(np.exp(whole[place, 1])),
            latency_range=(float(np.exp(low[place, 1])), float(np.exp(high[place, 1]))),
        )
        for place, (axis, value) in enumerate(columns)
    ]
    weight = {axis: _importance([effect for effect in effects if effect.axis == axis]) for axis, _ in columns}
    return sorted(effects, key=lambda effect: -weight[effect.axis])


def _choices(architecture: Architecture) -> dict[str, str]:
    values = architecture.to_dict() | {"scale_set": architecture.neck_choice}
    backbone = {"backbone": f"{architecture.backbone}[:{architecture.truncation}]"}
    return backbone | {axis: str(values[axis]) for axis in _AXES}


def _order(value: str) -> tuple[float, str]:
    return (float(value), "") if value.isdigit() else (0.0, value)


def _fit(design: FloatArray, targets: FloatArray, columns: Sequence[tuple[str, str]]) -> FloatArray:
    """Return (columns, 2) effects; within each axis their mean over the trials is 0."""
    centred = design - design.mean(axis=0)
    gram = centred.T @ centred + _RIDGE * np.eye(design.shape[1])
    effects = np.linalg.solve(gram, centred.T @ (targets - targets.mean(axis=0)))
    counts = design.sum(axis=0)
    for axis in {axis for axis, _ in columns}:
        own = np.array([place for place, (name, _) in enumerate(columns) if name == axis])
        weights = counts[own] / max(1.0, counts[own].sum())
        effects[own] -= weights @ effects[own]
    return np.asarray(effects)


def _importance(effects: Sequence[Effect]) -> float:
    counts = np.array([effect.trials for effect in effects], dtype=np.float64)
    return float((counts / counts.sum()) @ np.array([effect.ap**2 for effect in effects]))
