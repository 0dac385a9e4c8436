"""Lightning's checkpoint of a running training, for resuming it after an interruption."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from spaces.weights.tensor_file import read_tensors
from trials.training.errors import UnusableCheckpointError
from trials.training.settings import LAST_FILE
from trials.whole_file import whole_file

_FORMAT = 3
"""Changes when callbacks or the module change what they save."""


class LastCheckpoint(Callback):
    """Writes `last.ckpt` after each epoch but the last; it must be the last callback, to hold the state of the others.

    Args:
        folder: Of the file.
        data: Fingerprint of the dataset.
    """

    def __init__(self, folder: Path, *, data: str) -> None:
        self._path = folder / LAST_FILE
        self._data = data

    def state_dict(self) -> dict[str, int | str]:
        """Return the format and the data, which `find_last` reads."""
        return {"format": _FORMAT, "data": self._data}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint atomically."""
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            return  # resumed from here, Lightning would not call `on_train_end`, which copies the averaged weights
        with whole_file(self._path) as partial:
            trainer.save_checkpoint(partial)


def find_last(folder: Path, *, data: str) -> Path | None:
    """Return the checkpoint to resume from; None without one, or where it is of other data: a training sees one dataset.

    Args:
        folder: Of the file.
        data: Fingerprint of the dataset.

    Raises:
        UnusableCheckpointError: another version wrote it, or it is damaged.
    """
    path = folder / LAST_FILE
    if not path.is_file():
        return None
    try:
        values = read_tensors(path)
    except ValueError as error:
        raise UnusableCheckpointError(
            f"{path}, from which the training would be resumed, cannot be read: {error}",
            hint="run the same command again: the training then starts over",
        ) from error
    callbacks = values.get("callbacks") if isinstance(values, dict) else None
    saved = callbacks.get(LastCheckpoint.__name__) if isinstance(callbacks, dict) else None
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise UnusableCheckpointError(
            f"another version of yoloret-nas wrote {path}",
            hint="run the same command again: the training then starts over",
        )
    return path if saved.get("data") == data else None
