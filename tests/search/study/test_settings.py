"""What a run records of its settings, and what is read of it again."""

import dataclasses
import json

import pytest

from search.study.settings import MACHINE_SETTINGS, fixed_training, to_train_settings
from trials.training import TrainSettings
from trials.training.losses.aligned_loss import AlignedLossSettings
from trials.training.recipes import modern_recipe, paper_recipe, quick_recipe


@pytest.mark.parametrize("recipe", [quick_recipe(), modern_recipe(), paper_recipe()], ids=lambda one: one.recipe)
def test_recorded_training_settings_are_read_again(recipe: TrainSettings) -> None:
    recorded = json.loads(json.dumps(fixed_training(recipe)))
    machine = {name: getattr(TrainSettings(), name) for name in MACHINE_SETTINGS}
    assert to_train_settings(recorded) == dataclasses.replace(recipe, **machine)


def test_training_settings_of_older_studies_are_read() -> None:
    recorded = json.loads(json.dumps(fixed_training(paper_recipe())))
    del recorded["aligned_loss"]
    found = to_train_settings({**recorded, "norm_images": 0})
    assert (found.recipe, found.aligned_loss) == ("paper", AlignedLossSettings())


def test_studies_of_before_pretrained_parts_had_a_rate_of_their_own_are_trained_as_then() -> None:
    recorded = json.loads(json.dumps(fixed_training(modern_recipe())))
    assert to_train_settings(recorded).transfer_rate == 0.1
    del recorded["transfer_rate"]
    assert to_train_settings(recorded).transfer_rate == 1.0
