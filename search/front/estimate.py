"""Estimates of AP: one training's score is the network's accuracy plus luck, and the best of many scores is the luckiest.

An estimate comes from a model of all trials (`search.strategy.accuracy.estimates`), or from repeats with other seeds.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import hypot
from statistics import fmean

from search.front.record import TrialRecord
from spaces import Architecture

NOISE = 0.02
"""Standard deviation of AP over seeds, where nothing is known of a study's own. Two trainings of one network on 205 images
that differed only in their seed differed by 0.03 on average (`benchmarks/recipe_ablation.py`)."""
_NOISE_TRAININGS = 4
"""`NOISE` counts as much as so many repeats beyond the first: two or three seeds say little of their deviation."""
_WITHIN = 1.645
"""Standard deviations of a normal distribution from its median to its 95th percentile."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected AP of a network over the seeds of its training."""

    ap: float
    std: float
    """Standard deviation of `ap`, more than 0."""

    @property
    def ap_range(self) -> tuple[float, float]:
        """From the 5th to the 95th percentile."""
        return self.ap - _WITHIN * self.std, self.ap + _WITHIN * self.std

    def is_clearly_above(self, other: "Estimate") -> bool:
        """Return whether this AP is above the other with a probability of more than 95 %, errors taken as independent."""
        return self.ap - other.ap > _WITHIN * hypot(self.std, other.std)

    def __str__(self) -> str:
        return f"{self.ap:.3f} ± {self.std:.3f}"


def group_repeats(records: Sequence[TrialRecord]) -> dict[Architecture, list[TrialRecord]]:
    """Return the complete trainings of each architecture, in the order of the records."""
    groups: dict[Architecture, list[TrialRecord]] = {}
    for record in records:
        if record.point is not None:
            groups.setdefault(record.architecture, []).append(record)
    return groups


def mean_ap(repeats: Sequence[TrialRecord]) -> float:
    """Return the mean AP of complete trainings, at least one."""
    return fmean(record.point[0] for record in repeats if record.point is not None)


def noise_variance(groups: Collection[Sequence[TrialRecord]]) -> float:
    """Return the variance of AP over seeds, by repeats and by `NOISE`, more than 0.

    Args:
        groups: Complete trainings of one architecture each.
    """
    num_repeats = sum(len(group) - 1 for group in groups)
    squares = sum((record.point[0] - mean_ap(group)) ** 2 for group in groups for record in group if record.point)
    return (_NOISE_TRAININGS * NOISE**2 + squares) / (_NOISE_TRAININGS + num_repeats)


def estimate_from_repeats(records: Sequence[TrialRecord]) -> dict[int, Estimate]:
    """Estimate AP as the mean over seeds; the deviation over seeds is taken to be the same for all architectures.

    Returns:
        The estimate of each complete training by its number; repeats share one. Empty where nothing was repeated.
    """
    groups = list(group_repeats(records).values())
    if all(len(group) == 1 for group in groups):
        return {}
    variance = noise_variance(groups)
    return {
        record.number: Estimate(ap=mean_ap(group), std=(variance / len(group)) ** 0.5)
        for group in groups
        for record in group
    }
