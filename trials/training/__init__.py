"""Training of one network: loss, assignment, optimiser, recipes, and Lightning's module, data module and callbacks.

`trials.training.train` runs a training; it is not re-exported here, since it imports Lightning, which takes seconds.
"""

from trials.training.checkpoint import CHECKPOINT_FILE, Checkpoint, load_trained, read_checkpoint
from trials.training.errors import DivergedError, OutOfMemoryError, TrainingError
from trials.training.inheritance import inherit_weights
from trials.training.recipes import RECIPES, RecipeName
from trials.training.settings import (
    NumberFormat,
    Precision,
    TrainSettings,
)

__all__ = [
    "CHECKPOINT_FILE",
    "RECIPES",
    "Checkpoint",
    "DivergedError",
    "NumberFormat",
    "OutOfMemoryError",
    "Precision",
    "RecipeName",
    "TrainSettings",
    "TrainingError",
    "inherit_weights",
    "load_trained",
    "read_checkpoint",
]
