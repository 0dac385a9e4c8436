"""What a driver runs: a study that is asked for trials, or an experiment's list of trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from search.study.record import TrialRecord
from search.study.settings import RunSettings
from search.study.summary import Summary
from spaces import Architecture
from trials.progress import Progress
from trials.training import TrainSettings
from trials.trial_result import TrialRequest, TrialResult


class Work(Protocol):
    """A source of trials and the record of how they ended."""

    id: str
    """Distinguishes this study or experiment from others of its name in a shared MLflow store."""
    budget: int
    """Finished trials in all, earlier runs counted."""
    description: Mapping[str, str]
    """What MLflow shows of it, by short names, beside data and device."""
    seconds_measuring: float
    """Time the driver itself has spent measuring latencies, during which idle workers waited."""

    @property
    def summary(self) -> Summary:
        """The finished trials, by number, and the reference point."""

    def ask(self) -> tuple[TrialRequest, str] | None:
        """Return the next trial and why it is tried; None where no architecture is left."""

    def tell(self, number: int, result: TrialResult) -> TrialRecord:
        """Record a trial's end, once."""

    def interrupt(self, number: int) -> None:
        """Give up a running trial without a result; it is tried again first."""

    def why_prune(self, request: TrialRequest, progress: Sequence[Progress]) -> str:
        """Return why a running trial should be stopped; empty where it should not.

        Args:
            request: The trial.
            progress: Its messages that carried a latency or a score, oldest first.
        """

    def write_reports(self, summary: Summary, title: str) -> Sequence[Path]:
        """Write tables and pictures; return the files.

        Args:
            summary: The finished trials, with estimates.
            title: The run, its data, its device.
        """


def to_request(
    settings: RunSettings,
    number: int,
    architecture: Architecture,
    *,
    device_key: str,
    train: TrainSettings,
    max_latency_ms: float | None = None,
    parent: Path | None = None,
) -> TrialRequest:
    """Return the request of one trial.

    Args:
        settings: The run it belongs to.
        number: The trial.
        architecture: What it tries.
        device_key: Key of the identity of the run's device.
        train: How it trains.
        max_latency_ms: Over this it is not trained; None for no limit.
        parent: Checkpoint it starts from; None for none.
    """
    return TrialRequest(
        number=number,
        architecture=architecture,
        dataset=settings.dataset,
        skip_broken=settings.skip_broken,
        device=settings.device,
        device_key=device_key,
        also_measure=settings.also_measure,
        max_latency_ms=max_latency_ms,
        train=train,
        parent=parent,
        work_dir=settings.trial_folder(number),
        latency_cache=settings.latency_cache,
    )
