"""The effect of each value of each axis on accuracy and latency, all else being equal.

A sum of main effects is fitted to the AP of the complete trials, and another to the log latency of all measured trials
(`search.reports.main_effects`). Ranges are those of the posterior. Interactions between axes are not modelled: they count
as noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.front.pareto import FloatArray
from search.front.record import TrialRecord
from search.reports.main_effects import sample_main_effects
from spaces import Architecture
from spaces.space import AXES

_AXES = tuple(axis for axis in AXES if axis not in ("backbone", "truncation", "neck"))
"""Those with names of their own here: the backbone has its truncation, the scale set its neck."""
_MIN_TRIALS = 8
"""Fewer do not suffice for a dozen axes."""
_PERCENTILES = (5, 95)
_SEED = 0
"""Of the draws from the posteriors."""

_Value = tuple[str, str]
"""An axis and one of its values."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one value of one axis."""

    axis: str
    """``backbone`` includes the truncation."""
    value: str
    trials: int
    """Number of complete trials with the value."""
    ap: float
    """Expected added AP, relative to the mean of the complete trials."""
    ap_range: tuple[float, float]
    """From the 5th to the 95th percentile of its posterior."""
    latency: float
    """Expected factor on the latency, relative to the mean of the measured trials, trained or not."""
    latency_range: tuple[float, float]
    """From the 5th to the 95th percentile of its posterior."""

    @property
    def is_clear(self) -> bool:
        """Whether the range of the effect on accuracy leaves 0 out."""
        return self.ap_range[0] > 0 or self.ap_range[1] < 0


def estimate_effects(records: Sequence[TrialRecord]) -> list[Effect]:
    """Estimate the effects of every axis with at least two values, the most important axis for accuracy first.

    Args:
        records: A study's trials.

    Returns:
        The effects of the values that complete trials have; none where fewer than eight trials are complete.
    """
    complete = [(choices_of(record.architecture), record.point[0]) for record in records if record.point is not None]
    if len(complete) < _MIN_TRIALS:
        return []
    measured = [
        (choices_of(record.architecture), float(np.log(record.result.latency.median_ms)))
        for record in records
        if record.result.latency is not None
    ]
    on_ap, on_log_ms = _sample(complete), _sample(measured)
    effects = [
        Effect(
            axis=axis,
            value=value,
            trials=sum(choice[axis] == value for choice, _ in complete),
            ap=float(draws.mean()),
            ap_range=_range(draws),
            latency=float(np.exp(on_log_ms[axis, value].mean())),
            latency_range=_range(np.exp(on_log_ms[axis, value])),
        )
        for (axis, value), draws in on_ap.items()
    ]
    axes = {effect.axis for effect in effects}
    weight = {axis: _importance([effect for effect in effects if effect.axis == axis]) for axis in axes}
    return sorted(effects, key=lambda effect: -weight[effect.axis])


def _sample(trials: Sequence[tuple[Mapping[str, str], float]]) -> dict[_Value, FloatArray]:
    """Return the posterior's draws of the effect of each value, (draws,), for axes with at least two values."""
    columns: list[_Value] = []
    axes: list[int] = []
    for axis in trials[0][0]:
        values = sorted({choice[axis] for choice, _ in trials}, key=_order)
        if len(values) > 1:
            axes += [axes[-1] + 1 if axes else 0] * len(values)
            columns += [(axis, value) for value in values]
    if not columns:
        return {}
    design = np.array([[float(choice[axis] == value) for axis, value in columns] for choice, _ in trials])
    targets = np.array([target for _, target in trials])
    draws = sample_main_effects(design, targets, np.array(axes), seed=_SEED)
    return dict(zip(columns, draws.T, strict=True))


def choices_of(architecture: Architecture) -> dict[str, str]:
    """Return the value of each axis whose effects are estimated, by axis."""
    values = architecture.to_dict() | {"scale_set": architecture.neck_choice, "transfer": _transfer_of(architecture)}
    backbone = {"backbone": f"{architecture.backbone}[:{architecture.truncation}]"}
    return backbone | {axis: str(values[axis]) for axis in _AXES}


def _transfer_of(architecture: Architecture) -> str:
    """Return how many of the blocks start from ImageNet weights; as numbers, all of two backbones' would be two values."""
    if architecture.transfer == architecture.truncation:
        return "all blocks"
    return f"first {architecture.transfer} blocks" if architecture.transfer else "none"


def _order(value: str) -> tuple[float, str]:
    return (float(value), "") if value.isdigit() else (0.0, value)


def _range(draws: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(draws, _PERCENTILES)
    return float(low), float(high)


def _importance(effects: Sequence[Effect]) -> float:
    counts = np.array([effect.trials for effect in effects], dtype=np.float64)
    return float((counts / counts.sum()) @ np.array([effect.ap**2 for effect in effects]))
