"""Lightning's checkpoint of a running training, for resuming it after an interruption."""

import os
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

LAST_FILE = "last.ckpt"
"""In the trial's folder, if the settings are resumable."""


class LastCheckpoint(Callback):
    """Writes `last.ckpt` after each epoch but the last; it must be the last callback, to hold the state of the others.

    Args:
        folder: Of the file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LAST_FILE

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint atomically."""
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            return  # resumed from here, Lightning would not call `on_train_end`, which copies the averaged weights
        partial = self._path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self._path)
