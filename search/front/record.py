"""A finished trial as its study keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spaces import Architecture
from trials.latency import Latency
from trials.latency.open_device import without_limits
from trials.trial_result import TrialResult


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A finished trial: its number, its architecture, how it ended."""

    number: int
    """From 0; numbers of interrupted trials are not reused, so there can be gaps."""
    architecture: Architecture
    result: TrialResult
    label: str = ""
    """Name of the preset or of the experiment's variant; empty for any other trial."""
    why: str = ""
    """The sampler's reason to try it; empty where it gave none."""

    @property
    def point(self) -> tuple[float, float] | None:
        """AP and median latency in ms of a complete trial; None of any other."""
        result = self.result
        if result.state != "complete" or result.ap is None or result.latency is None:
            return None
        return result.ap, result.latency.median_ms

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """Scored epochs, from 1, and their AP."""
        return tuple((epoch, ap) for epoch, _, ap, _ in self.result.history if ap is not None)


def first_latencies(records: Sequence[TrialRecord], device: str) -> dict[str, Latency]:
    """Return the first latency on each device of a run, whose scale its others have (`trials.latency.cache`).

    Args:
        records: What the run has so far, by number.
        device: Its device as the user typed it; the further ones are named in the results.

    Returns:
        Device without its time limits to the latency.
    """
    first: dict[str, Latency] = {}
    for record in records:
        if record.result.latency is not None:
            first.setdefault(without_limits(device), record.result.latency)
        for spec, latency in record.result.also.items():
            first.setdefault(spec, latency)
    return first


def trial_folder(study_folder: Path, number: int) -> Path:
    """Return the folder of a trial's files, in the folder of its study or experiment."""
    return study_folder / "trials" / f"{number:04d}"
