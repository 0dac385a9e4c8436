"""A study's copy of an earlier one, from which its sampler learns before the first training.

`search.strategy.accuracy.belief` makes it and reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces import Architecture

BUILT_IN = "built-in"
"""In place of a study's name: the prior that comes with the tool (`search.strategy.accuracy.built_in_prior`)."""
SHARED_WEIGHTS = "(shared weights)"
"""In place of a study's name: what networks scored that were taken out of a study's own shared weights. No study has it."""


@dataclass(frozen=True, kw_only=True)
class PriorTrial:
    """What one trial of an earlier study found."""

    architecture: Architecture
    ap: float
    """Its AP, 0 to 1; where it was pruned, that expected of its end, which may lie outside."""
    ap_std: float
    """Uncertainty of `ap` beyond the noise of training; 0 for a complete trial."""
    latency_ms: float
    """Median latency on that study's device."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The trials of an earlier study, of which a new one keeps a copy."""

    study: str
    """Its name; its folder where it is in another one than the new study; `BUILT_IN` or `SHARED_WEIGHTS`."""
    dataset: str
    """Its data, as the user typed them."""
    trials: tuple[PriorTrial, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        trials = [[one.architecture.to_dict(), one.ap, one.ap_std, one.latency_ms] for one in self.trials]
        return {"study": self.study, "dataset": self.dataset, "trials": trials}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Prior":
        """Return what `to_dict` wrote."""
        trials = tuple(
            PriorTrial(architecture=Architecture.from_dict(architecture), ap=ap, ap_std=ap_std, latency_ms=latency_ms)
            for architecture, ap, ap_std, latency_ms in values["trials"]
        )
        return cls(study=values["study"], dataset=values["dataset"], trials=trials)
