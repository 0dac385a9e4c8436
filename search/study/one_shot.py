"""What a one-shot study makes of the training of one network: a training of shared weights, and short ones of the trials.

Blood cells, mobilenetv2_050 of space `tiny`: 24 epochs of a network alone and 40 of the shared weights lead to the same AP
on average; the latter leave every network of the space trained. What they cost: docs/choices.md, "Search with shared
weights".
"""

import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.study.prior import Prior
from trials.training import TrainSettings
from trials.training.settings import LAST_FILE
from trials.trial_result import RESULT_FILE, read_json

SHARED_FOLDER = "one-shot"
"""Of the shared weights, in the study's folder."""
NUM_SCORED = 64
"""Networks that are taken out and scored: what the sampler knows before the first trial."""

_OWNER_FILE = "study"
"""In the folder: the id of its study."""
_SHARED_EPOCHS = 2.0
"""Epochs of the shared weights in epochs of a training from random weights."""
_TRIAL_EPOCHS = 0.125
"""Epochs of a trial in the same."""
_TRIAL_RATE = 0.2
"""Learning rate of a trial in that of a training from random weights: at 1 it loses what the shared weights know."""


def shared_training(train: TrainSettings) -> TrainSettings:
    """Return how shared weights are trained, where `train` says how a network is trained from random weights."""
    return replace(
        train, epochs=round(_SHARED_EPOCHS * train.epochs), frozen_epochs=0, calm_epochs=0, is_resumable=True
    )


def trial_training(train: TrainSettings) -> TrainSettings:
    """Return how a trial is trained that begins with its slice of the shared weights."""
    epochs = max(1, round(_TRIAL_EPOCHS * train.epochs))
    return replace(
        train, epochs=epochs, frozen_epochs=0, calm_epochs=0, learning_rate=_TRIAL_RATE * train.learning_rate
    )


@dataclass(frozen=True, kw_only=True)
class SharedRecord:
    """What a study keeps of the training of its shared weights."""

    prior: Prior
    """What networks scored that were taken out untrained."""
    seconds: float
    """Of the training and these scores."""
    losses: tuple[tuple[int, float], ...]
    """Epoch, from 1, and its mean loss."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {"prior": self.prior.to_dict(), "seconds": self.seconds, "losses": self.losses}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SharedRecord":
        """Return what `to_dict` wrote."""
        losses = tuple((epoch, loss) for epoch, loss in values["losses"])
        return cls(prior=Prior.from_dict(values["prior"]), seconds=values["seconds"], losses=losses)


def claim_folder(folder: Path, study_id: str) -> None:
    """Make the folder of a study's shared weights, empty if it was that of another study of its name.

    A study whose database was deleted leaves the checkpoint of a training behind, which would be resumed.
    """
    if not _is_owned(folder, study_id):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _OWNER_FILE).write_text(study_id, encoding="utf-8")


def is_trained_in_part(folder: Path, study_id: str) -> bool:
    """Return whether a study would go on with shared weights: half trained, or trained when its driver was killed.

    A training that failed may have failed of the data.

    Raises:
        DamagedFileError: the file of their result is no JSON.
    """
    if not _is_owned(folder, study_id):
        return False
    path = folder / RESULT_FILE
    if not path.is_file():
        return (folder / LAST_FILE).is_file()
    hint = f"delete it (rm {shlex.quote(str(path))}): the shared weights are then trained again"
    return bool(read_json(path, hint=hint).get("state") == "complete")


def _is_owned(folder: Path, study_id: str) -> bool:
    owner = folder / _OWNER_FILE
    return owner.is_file() and owner.read_text(encoding="utf-8") == study_id
