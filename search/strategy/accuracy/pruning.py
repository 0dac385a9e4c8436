"""Early stopping of trials that are unlikely to reach the front.

The latency of a trial is known before it trains, so its target is one number: the best AP among finished trials at or under
its latency. Its final AP is predicted from the finished trials by linear regression on AP at the same epoch and on log
latency, since large networks begin as low as small ones and end higher. The prediction's uncertainty (Student's t, with
seed noise in the residuals) gives the probability of reaching the target. A trial below `RISK` is stopped, which bounds the
probability that one such decision loses a member of the front.

`SearchWork.why_prune` in `search.driver.search` asks; `trials.training.epoch_reports` stops the training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from search.front.pareto import FloatArray
from search.front.record import TrialRecord

RISK = 0.05
"""A trial continues while its probability of reaching the front is at least this."""
MIN_CURVES = 8
"""Finished trials needed before any is stopped: fewer predict too little."""
MIN_SHARE = 1 / 3
"""Share of its epochs that every trial may run."""
_LEAST_NOISE = 0.005
"""AP; trainings repeat no better than this, even where few curves happen to lie on a line."""
_NUM_AGREEING = 2
"""Consecutive scores that must agree, so that one noisy epoch does not stop a trial."""

Curve = Sequence[tuple[int, float]]
"""Scored epochs, from 1, and their AP."""


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The predicted end of a curve."""

    ap: float
    """Expected AP of the last epoch."""
    ap_std: float
    """Scale of its Student's t distribution."""
    num_curves: int
    """Finished curves that it is predicted from, at least `MIN_CURVES`."""
    freedom: int
    """Degrees of freedom of its Student's t distribution, at least 1."""

    def probability_of_reaching(self, level: float) -> float:
        """Return the probability that the final AP is `level` or more."""
        return float(student.sf((level - self.ap) / self.ap_std, df=self.freedom))


CurvesByEpoch = Mapping[int, Sequence[tuple[float, float, float]]]
"""Of each scored epoch: AP then, latency in ms and final AP of the complete trials that were scored at it."""


def by_epoch(finished: Sequence[TrialRecord]) -> CurvesByEpoch:
    """Return the curves of the complete trials among finished ones."""
    found: dict[int, list[tuple[float, float, float]]] = {}
    for record in finished:
        if record.point is not None:
            for epoch, then in dict(record.curve).items():
                found.setdefault(epoch, []).append((then, record.point[1], record.point[0]))
    return found


def extrapolate(curve: Curve, latency_ms: float, finished: CurvesByEpoch) -> Extrapolation | None:
    """Predict the final AP of a curve by linear regression over the finished trials.

    Args:
        curve: At least one score; the last is extrapolated.
        latency_ms: The trial's median latency, the regression's second variable.
        finished: The study's finished trials.

    Returns:
        None where fewer than `MIN_CURVES` trials count.
    """
    epoch, now = curve[-1]
    rows = finished.get(epoch, ())
    if len(rows) < MIN_CURVES:
        return None
    at_epoch, finished_ms, at_end = np.array(rows, dtype=np.float64).T
    # Where all curves are alike there is no slope: the distance from them is assumed to stay.
    is_alike = float(np.ptp(at_epoch)) < 1e-6
    target = at_end - at_epoch if is_alike else at_end
    known = {"log_ms": (np.log(finished_ms), np.log(latency_ms)), "at_epoch": (at_epoch, now)}
    names = [name for name, (values, _) in known.items() if np.ptp(values) >= 1e-6]
    fit = _Line([known[name] for name in names], target)
    if "at_epoch" in names and fit.weights[-1] < 0:  # a higher score never predicts a lower end
        fit = _Line([known[name] for name in names[:-1]], target)
    return Extrapolation(
        ap=fit.expected + (now if is_alike else 0.0),
        ap_std=max(fit.noise, _LEAST_NOISE) * float(np.sqrt(1 + fit.leverage)),
        num_curves=len(rows),
        freedom=fit.freedom,
    )


class _Line:
    """A least-squares fit of N points, and its prediction for one more.

    Args:
        variables: For each variable, its values at the points, (N,), and its value at the new point.
        target: (N,) values of the points.
    """

    def __init__(self, variables: Sequence[tuple[FloatArray, float]], target: FloatArray) -> None:
        design = np.column_stack((np.ones(len(target)), *(values - values.mean() for values, _ in variables)))
        at = np.array([1.0, *(wanted - values.mean() for values, wanted in variables)])
        self.weights = np.linalg.pinv(design) @ target
        self.expected = float(at @ self.weights)
        self.freedom = len(target) - design.shape[1]
        self.noise = float(np.sqrt(((target - design @ self.weights) ** 2).sum() / self.freedom))
        self.leverage = float(at @ np.linalg.pinv(design.T @ design) @ at)


def cannot_reach_front(
    curve: Curve, latency_ms: float, *, num_epochs: int, finished: Sequence[TrialRecord], risk: float = RISK
) -> str:
    """Return why a trial should be stopped, with the decision's figures; empty where it should continue.

    Args:
        curve: The trial's scores so far.
        latency_ms: Its median latency.
        num_epochs: Epochs of a whole training.
        finished: The study's finished trials.
        risk: Probability of reaching the front below which a trial is stopped, 0 (never) to 1.
    """
    epoch, now = curve[-1]
    if epoch < MIN_SHARE * num_epochs or epoch >= num_epochs or len(curve) < _NUM_AGREEING:
        return ""
    rivals = [(one.point[0], one.number) for one in finished if one.point and one.point[1] <= latency_ms]
    if not rivals:
        return ""
    level, rival = max(rivals)
    curves = by_epoch(finished)
    ends = [extrapolate(curve[: len(curve) - back], latency_ms, curves) for back in range(_NUM_AGREEING)]
    views = [end for end in ends if end is not None]
    chance = max((view.probability_of_reaching(level) for view in views), default=1.0)
    if len(views) < _NUM_AGREEING or chance >= risk:
        return ""
    view = views[0]
    return (
        f"AP {now:.3f} after epoch {epoch} of {num_epochs}; expected to end at {view.ap:.3f} ± {view.ap_std:.3f} (from "
        f"{view.num_curves} finished curves), it reaches the {level:.3f} of trial {rival}, which is no slower, with a "
        f"probability of {chance:.1%}, below the risk of {risk:.0%}"
    )
