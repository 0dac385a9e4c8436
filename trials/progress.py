"""What a trial tells about itself while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["build", "measure", "train", "score"]
"""What the trial is busy with."""

REPORT_EVERY_S = 0.5
"""Least time between two progress messages that end nothing."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a trial stands."""

    phase: Phase
    """What the trial is busy with."""
    epoch: int = 0
    """The running epoch, from 1; 0 outside training."""
    num_epochs: int = 0
    """Epochs in all; 0 where unknown."""
    step: int = 0
    """Steps done in this epoch, or images scored."""
    num_steps: int = 0
    """Steps of an epoch, or images to score; 0 where unknown."""
    loss: float | None = None
    """Mean training loss an image since the epoch began; None before the first step."""
    latency_ms: float | None = None
    """Median latency, milliseconds; only in the message that follows the measurement."""
    ap: float | None = None
    """AP@[.5:.95] on the validation split, 0 to 1; only in the message that ends a scored epoch."""
    ap50: float | None = None
    """AP at IoU 0.5, 0 to 1; beside `ap`."""


Report = Callable[[Progress], bool]
"""Takes a progress, answers whether to go on; False stops the trial as pruned, honoured where `ap` is given."""


def ignore_progress(progress: Progress) -> bool:
    """Report to nobody, and go on."""
    del progress
    return True
