"""What a run records of its settings, and what is read of it again."""

import dataclasses
import json

import pytest

from search.study.settings import MACHINE_SETTINGS, fixed_training, to_train_settings
from trials.training import TrainSettings
from trials.training.recipes import modern_recipe, paper_recipe, quick_recipe


@pytest.mark.parametrize("recipe", [quick_recipe(), modern_recipe(), paper_recipe()], ids=lambda one: one.recipe)
def test_recorded_training_settings_are_read_again(recipe: TrainSettings) -> None:
    recorded = json.loads(json.dumps(fixed_training(recipe)))
    machine = {name: getattr(TrainSettings(), name) for name in MACHINE_SETTINGS}
    assert to_train_settings(recorded) == dataclasses.replace(recipe, **machine)
