"""Progress messages of a running trial."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["build", "measure", "train", "score"]
"""What the trial is doing."""

REPORT_EVERY_S = 0.5
"""Least time between two progress messages within an epoch or a scoring."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a trial."""

    phase: Phase
    """What the trial is doing."""
    epoch: int = 0
    """The running epoch, from 1; 0 outside training."""
    num_epochs: int = 0
    """Epochs of the training; 0 where unknown."""
    step: int = 0
    """Finished steps of this epoch, or scored images."""
    num_steps: int = 0
    """Steps of an epoch, or images to score; 0 where unknown."""
    loss: float | None = None
    """Mean training loss since the epoch began; None before the first step."""
    latency_ms: float | None = None
    """Median latency, milliseconds; only in the message that follows the measurement."""
    ap: float | None = None
    """AP@[.5:.95] on the validation split, 0 to 1; only in the message at the end of a scored epoch."""
    ap50: float | None = None
    """AP at IoU 0.5, 0 to 1; only together with `ap`."""


Report = Callable[[Progress], bool]
"""Receives a progress and returns whether to continue; False prunes the trial, but only where `ap` is given."""


def ignore_progress(progress: Progress) -> bool:
    """Discard the progress, and continue."""
    del progress
    return True
