"""From the options about training to its settings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trials.training.recipes import RECIPES
from trials.training.settings import TrainSettings
from yoloret_nas.options.data import is_generated


def choose_training(flags: Mapping[str, Any]) -> TrainSettings:
    """Give the recipe that `--recipe` names, or the data's own, with `--epochs` and `--batch-size` applied.

    A recipe that freezes the backbone at first keeps the share of its epochs that does.
    """
    recipe = RECIPES[flags["recipe"] or ("quick" if is_generated(flags["data"]) else "modern")]()
    epochs = flags["epochs"] or recipe.epochs
    return replace(
        recipe,
        epochs=epochs,
        frozen_epochs=recipe.frozen_epochs * epochs // recipe.epochs,
        batch_size=flags["batch_size"] or recipe.batch_size,
    )
