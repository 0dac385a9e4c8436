"""What the study remembers of a trial."""

from dataclasses import dataclass

from spaces import Architecture
from trials.trial_result import TrialResult


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A finished trial: its number, what was tried, how it ended."""

    number: int
    """From 0; numbers of interrupted trials are not used again, so there can be gaps."""
    architecture: Architecture
    result: TrialResult
    preset: str = ""
    """Name of the paper's preset this is, empty where it is none."""

    @property
    def point(self) -> tuple[float, float] | None:
        """AP and median latency in ms where the trial is complete, None elsewhere."""
        result = self.result
        if result.state != "complete" or result.ap is None or result.latency is None:
            return None
        return result.ap, result.latency.median_ms

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """Scored epochs, from 1, and AP then."""
        return tuple((epoch, ap) for epoch, _, ap, _ in self.result.history if ap is not None)
