"""Progress reports of a training, which stop it when it diverges or is pruned."""

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from trials.progress import REPORT_EVERY_S, Progress, Report
from trials.scoring import Scores
from trials.training.detection_module import DetectionModule
from trials.training.errors import DivergedError

EpochRecord = tuple[int, float, float | None, float | None]
"""Epoch from 1, mean loss of a batch, AP and AP50; None where not scored."""


@dataclass
class TrainRecord:
    """The results of a training so far."""

    history: list[EpochRecord] = field(default_factory=list)
    """One record for each finished epoch."""
    scores: Scores | None = None
    """Of the last scored epoch."""
    is_pruned: bool = False
    """Whether a report ended the training early."""
    seconds_train: float = 0.0
    """Time of the training steps, data included."""
    seconds_score: float = 0.0
    """Time of the scorings."""


class EpochReports(Callback):
    """Reports at the end of each epoch, and every half second in between.

    Args:
        report: Called with each progress; False at a score stops the training.
    """

    def __init__(self, report: Report) -> None:
        self.record = TrainRecord()
        self._report = report
        self._loss_sum: Tensor | float = 0.0
        self._num_steps = 0
        self._scores: Scores | None = None  # of the running epoch
        self._num_scored = 0
        self._seconds_score = 0.0
        self._epoch_began_at = self._scoring_began_at = self._reported_at = 0.0
        self.seconds_before = 0.0
        """Of the steps and scorings before an interruption, which `record` counts."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock and mean loss."""
        self._loss_sum, self._num_steps = 0.0, 0
        self._scores, self._seconds_score = None, 0.0
        self._epoch_began_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the loss; check it at each step on a CPU, but on a GPU, where reading it waits, only before reports."""
        loss: Tensor = outputs["loss"]
        self._num_steps += 1
        if loss.device.type == "cpu":
            self._loss_sum += float(loss)
            self._check_finite(trainer)
        else:
            self._loss_sum = self._loss_sum + loss
        if self._is_report_due() and not trainer.is_last_batch:
            self._check_finite(trainer)
            self._report(self._progress(trainer))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the scoring."""
        self._check_finite(trainer)
        self._num_scored = 0
        self._scoring_began_at = self._reported_at = time.monotonic()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *rest: int
    ) -> None:
        """Report how many images are scored."""
        self._num_scored += len(batch.images)
        if self._is_report_due():
            num_images = len(trainer.val_dataloaders.dataset)  # type: ignore[union-attr]
            progress = self._progress(trainer)
            self._report(replace(progress, phase="score", step=self._num_scored, num_steps=num_images))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the scores."""
        assert isinstance(pl_module, DetectionModule)
        self.record.scores = self._scores = pl_module.scores
        self._seconds_score = time.monotonic() - self._scoring_began_at

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch, with its scores if it has any, and stop if the answer is False."""
        self._check_finite(trainer)
        self.record.seconds_score += self._seconds_score
        self.record.seconds_train += time.monotonic() - self._epoch_began_at - self._seconds_score
        progress = self._progress(trainer)
        if self._scores is not None:
            progress = replace(progress, ap=self._scores.ap, ap50=self._scores.ap50)
        assert progress.loss is not None  # an epoch has a step
        self.record.history.append((progress.epoch, progress.loss, progress.ap, progress.ap50))
        if not self._report(progress) and self._scores is not None:
            self.record.is_pruned = progress.epoch < progress.num_epochs
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs, of types that `torch.load` reads without running code."""
        values = {**self.record.__dict__, "is_pruned": False}
        return {**values, "scores": dict(self.record.scores.__dict__) if self.record.scores else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the record of the interrupted training."""
        scores = state_dict["scores"]
        self.record = TrainRecord(**{**state_dict, "scores": Scores(**scores) if scores else None})
        self.seconds_before = self.record.seconds_train + self.record.seconds_score

    def _is_report_due(self) -> bool:
        now = time.monotonic()
        if now - self._reported_at < REPORT_EVERY_S:
            return False
        self._reported_at = now
        return True

    def _progress(self, trainer: Trainer) -> Progress:
        return Progress(
            phase="train",
            epoch=trainer.current_epoch + 1,
            num_epochs=trainer.max_epochs or 0,
            step=self._num_steps,
            num_steps=int(trainer.num_training_batches),
            loss=float(self._loss_sum) / max(1, self._num_steps),
        )

    def _check_finite(self, trainer: Trainer) -> None:
        if math.isfinite(self._loss_sum):
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        raise DivergedError(
            f"the loss is {float(self._loss_sum)} at epoch {trainer.current_epoch + 1}, step {self._num_steps}, "
            f"learning rate {rate:.2g}",
            hint="lower the learning rate",
        )
