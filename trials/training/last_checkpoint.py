"""Lightning's checkpoint of a running training, from which an interrupted one is resumed."""

import os
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

LAST_FILE = "last.ckpt"
"""In the trial's folder, where the settings are resumable."""


class LastCheckpoint(Callback):
    """Writes `last.ckpt` after each epoch but the last; last in the order of callbacks, so that it holds what the others did.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LAST_FILE

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it, whole or not at all."""
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            return  # from here Lightning would resume to the end without `on_train_end`, which leaves the average
        partial = self._path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self._path)
