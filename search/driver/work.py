"""What a driver runs: a study that is asked for trials, or an experiment's list of trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.settings import RunSettings
from spaces import Architecture
from trials.data.opening import whole_spec
from trials.latency import Latency
from trials.progress import Progress
from trials.training import TrainSettings
from trials.trial_result import TrialRequest, TrialResult


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The next trial."""

    request: TrialRequest
    why: str = ""
    """Why it is tried."""
    is_retry: bool = False
    """Whether its architecture failed in an earlier run; it then says nothing new to fail again."""


class Work(Protocol):
    """A source of trials and the record of how they ended."""

    id: str
    """Distinguishes this study or experiment from others of its name in a shared MLflow store."""

    @property
    def budget(self) -> int:
        """Finished trials in all, those of earlier runs counted: the ones that failed there come on top.

        It may shrink, where what was tried makes others needless.
        """

    @property
    def description(self) -> Mapping[str, str]:
        """What MLflow shows of it, by short names, beside data and device."""

    seconds_measuring: float
    """Time the driver itself has spent measuring latencies, during which idle workers waited."""

    @property
    def summary(self) -> Summary:
        """The finished trials, by number, and the reference point."""

    @property
    def shared_losses(self) -> Sequence[tuple[int, float]]:
        """Epoch, from 1, and mean loss of the training before the first trial; empty without one, or before its end."""

    def preparation(self) -> TrialRequest | None:
        """Return the training that has to end before the first trial; None where there is none, or it has ended."""

    def prepared(self, result: TrialResult) -> None:
        """Take up how that training ended.

        Raises:
            YoloRetError: it failed, so that no trial can run.
        """

    def ask(self) -> Proposal | Literal["later"] | None:
        """Return the next trial; ``later`` where a running one has to end first, None where nothing is left.

        Raises:
            ProposalStoppedError: the user ended the run meanwhile.
        """

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

    def end(self) -> None:
        """Record that the run came to its end, rather than to an interruption or an error."""

    def close(self) -> None:
        """Let another process drive it."""


def in_one_format(train: TrainSettings, records: Sequence[TrialRecord]) -> TrainSettings:
    """Return training settings with the number format of a run's earlier trainings.

    A run resumed on other hardware keeps its format, which ``auto`` would choose anew there.

    Args:
        train: The run's settings.
        records: Its finished trials; without a trained one among them the settings stay as they are.
    """
    known = next((record.result.precision for record in records if record.result.precision), None)
    return replace(train, precision=known) if known and train.precision == "auto" else train


def further_keys(records: Sequence[TrialRecord]) -> dict[str, str]:
    """Return each further device, without its time limits, with the key of its identity in the first record that has it."""
    keys: dict[str, str] = {}
    for record in records:
        for spec, latency in record.result.also.items():
            keys.setdefault(spec, latency.device.key)
    return keys


def to_request(
    settings: RunSettings,
    number: int,
    architecture: Architecture,
    *,
    study_id: str,
    device_key: str,
    also_keys: Mapping[str, str],
    scales: Mapping[str, Latency],
    broken_images: tuple[str, ...],
    fingerprint: str,
    num_classes: int,
    train: TrainSettings,
) -> TrialRequest:
    """Return the request of one trial, without a limit of latency and with weights of its own.

    Args:
        settings: The run it belongs to.
        number: The trial.
        architecture: What it tries.
        study_id: The run's own id, which the trial's result holds.
        device_key: Key of the identity of the run's device.
        also_keys: As `further_keys` returns them.
        scales: Device to a latency to whose scale that of the trial is brought.
        broken_images: Samples that it leaves out.
        fingerprint: Of the dataset without them.
        num_classes: Of the dataset.
        train: How it trains.
    """
    return TrialRequest(
        study_id=study_id,
        number=number,
        architecture=architecture,
        dataset=whole_spec(settings.dataset),  # the nodes of a cluster work in folders of their own
        skip_broken=settings.skip_broken,
        broken_images=broken_images,
        fingerprint=fingerprint,
        num_classes=num_classes,
        device=settings.device,
        device_key=device_key,
        also_measure=settings.also_measure,
        also_keys=also_keys,
        scales=scales,
        max_latency_ms=None,
        train=train,
        work_dir=settings.trial_folder(number),
        latency_cache=settings.latency_cache,
    )
