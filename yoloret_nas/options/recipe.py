"""From the options about training to its settings."""

from dataclasses import replace

from search.study.settings import MACHINE_SETTINGS
from trials.training import RECIPES, RecipeName, TrainSettings
from yoloret_nas.options.data import is_generated

_REQUESTED = ("epochs", "batch_size", "seed", "precision")


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


def as_begun(asked: TrainSettings, begun: TrainSettings | None) -> TrainSettings:
    """Return the requested training by its recipe as it was when the study or the trainings began.

    A recipe may be another one in a later version; what began with it goes on with it. What a user asks for, and what the
    machine gives, is that of the request.

    Args:
        asked: The training by the recipe of this version.
        begun: As it is recorded; None for what has not begun. By another recipe, the request stays, to be refused.
    """
    if begun is None or begun.recipe != asked.recipe:
        return asked
    requested = {name: getattr(asked, name) for name in (*_REQUESTED, *MACHINE_SETTINGS)}
    frozen_epochs = begun.frozen_epochs if begun.epochs == asked.epochs else asked.frozen_epochs
    return replace(begun, **requested, frozen_epochs=frozen_epochs)
