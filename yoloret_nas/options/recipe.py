"""From the options about training to its settings."""

from dataclasses import replace

from trials.training import RECIPES, RecipeName, TrainSettings
from yoloret_nas.options.data import is_generated


def choose_training(
    recipe: RecipeName | None, *, data: str, epochs: int | None, batch_size: int | None
) -> TrainSettings:
    """Return the requested recipe, or the data's own, with the requested epochs and batch size.

    A recipe that begins with frozen blocks keeps the share of its epochs in which they are.

    Args:
        recipe: Its name; None takes ``quick`` on generated images and ``modern`` on any other data.
        data: The data as the user typed it.
        epochs: None for the recipe's.
        batch_size: None for the recipe's.
    """
    chosen = RECIPES[recipe or ("quick" if is_generated(data) else "modern")]()
    length = epochs or chosen.epochs
    return replace(
        chosen,
        epochs=length,
        frozen_epochs=chosen.frozen_epochs * length // chosen.epochs,
        batch_size=batch_size or chosen.batch_size,
    )
