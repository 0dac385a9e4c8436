"""Watches a training: progress, finite loss, scores by epoch, stopping early."""

import math
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from trials.progress import REPORT_EVERY_S, Progress, Report
from trials.scoring.average_precision import Scores
from trials.scoring.network_scorer import NetworkScorer
from trials.training.errors import DivergedError
from trials.training.weight_average import WeightAverage

LAST_FILE = "last.ckpt"
"""Lightning's checkpoint, for going on after an interruption."""


EpochRecord = tuple[int, float, float | None, float | None]
"""Epoch from 1, mean loss of a batch, AP and AP50; None where not scored."""


@dataclass
class Outcome:
    """What a training has come to so far."""

    history: list[EpochRecord] = field(default_factory=list)
    """One record for each epoch done."""
    scores: Scores | None = None
    """Of the last scored epoch."""
    is_pruned: bool = False
    """Whether a report said to stop."""
    seconds_train: float = 0.0
    """Time of the training steps, data included."""
    seconds_score: float = 0.0
    """Time of the scorings."""


class EpochReports(Callback):
    """Reports, scores and stops; last in the order of callbacks, so that a checkpoint holds what the others did.

    Args:
        report: Told of each epoch, and every half second in between.
        scorer: Of the validation split.
        average: Whose weights are scored; None scores the network as it is.
        num_epochs: Of the whole training.
        score_every: Epochs between scorings; the last is always scored.
        work_dir: Where `last.ckpt` is written after each epoch, None for nowhere.
    """

    def __init__(
        self,
        report: Report,
        scorer: NetworkScorer,
        *,
        average: WeightAverage | None,
        num_epochs: int,
        score_every: int,
        work_dir: Path | None,
    ) -> None:
        self.outcome = Outcome()
        self._report = report
        self._scorer = scorer
        self._average = average
        self._num_epochs = num_epochs
        self._score_every = score_every
        self._work_dir = work_dir
        self._loss_sum: Tensor | float = 0.0
        self._num_steps = 0
        self._started_at = 0.0
        self._reported_at = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the mean loss."""
        self._loss_sum, self._num_steps = 0.0, 0
        self._started_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the loss; look at it at each step on a CPU, on a GPU (where looking waits) when reporting."""
        loss: Tensor = outputs["loss"]
        self._num_steps += 1
        if loss.device.type == "cpu":
            self._loss_sum += float(loss)
            self._check_finite(trainer)
        else:
            self._loss_sum = self._loss_sum + loss
        now = time.monotonic()
        if now - self._reported_at >= REPORT_EVERY_S and not trainer.is_last_batch:
            self._reported_at = now
            self._check_finite(trainer)
            self._report(self._progress(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score where due, report, and stop where told to."""
        self._check_finite(trainer)
        self.outcome.seconds_train += time.monotonic() - self._started_at
        epoch = trainer.current_epoch + 1
        is_scored = epoch % self._score_every == 0 or epoch == self._num_epochs
        progress = self._score(trainer, pl_module) if is_scored else self._progress(trainer)
        assert progress.loss is not None  # an epoch has a step
        self.outcome.history.append((epoch, progress.loss, progress.ap, progress.ap50))
        if not self._report(progress) and is_scored:
            self.outcome.is_pruned = epoch < self._num_epochs
            trainer.should_stop = True
        if self._work_dir is not None:
            self._save(trainer, self._work_dir / LAST_FILE)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint needs to go on."""
        values = {**self.outcome.__dict__, "is_pruned": False}
        return {**values, "scores": dict(self.outcome.scores.__dict__) if self.outcome.scores else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on."""
        scores = state_dict["scores"]
        self.outcome = Outcome(**{**state_dict, "scores": Scores(**scores) if scores else None})

    def _score(self, trainer: Trainer, pl_module: LightningModule) -> Progress:
        started_at = time.monotonic()
        progress = self._progress(trainer)

        def report_scoring(scored: Progress) -> bool:
            return self._report(replace(progress, phase="score", step=scored.step, num_steps=scored.num_steps))

        with self._average.averaged(pl_module) if self._average else nullcontext():
            scores = self._scorer.score(pl_module.network, report_scoring)  # type: ignore[arg-type]
        self.outcome.scores = scores
        self.outcome.seconds_score += time.monotonic() - started_at
        return replace(progress, ap=scores.ap, ap50=scores.ap50)

    def _progress(self, trainer: Trainer) -> Progress:
        return Progress(
            phase="train",
            epoch=trainer.current_epoch + 1,
            num_epochs=self._num_epochs,
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

    def _save(self, trainer: Trainer, path: Path) -> None:
        partial = path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, path)
