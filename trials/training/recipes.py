"""Presets of training settings."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from trials.data.augmentation import AugmentSettings, modern_augmentation, paper_augmentation
from trials.training.losses.anchored_loss import modern_loss, paper_loss
from trials.training.settings import TrainSettings

_CALM_EPOCHS = 30
"""To calm all of 20 epochs is worth more than to calm half of them: AP +0.013 ± 0.005 on blood cells, +0.05 ± 0.02 on cards
(two networks, two seeds). Of 60 epochs, to calm all is worth no more than half: -0.001 and -0.006 (one network)."""

RecipeName = Literal["modern", "quick", "paper"]


def modern_recipe() -> TrainSettings:
    """Return our recipe: AdamW, warm-up, cosine, averaged weights, several anchors and neighbouring cells for each object.

    The default of `yoloret-nas search --data PATH`. Small data gives few steps, so batches are small and the learning rate
    is high: on 205 real images (blood cells), 15 epochs of mobilenetv3_small_050 at 160 px reached AP 0.27 with batches of 8
    at 1e-2, and under 0.01 with batches of 16 at 2e-3.
    """
    return TrainSettings(
        recipe="modern", loss=modern_loss(), augmentation=modern_augmentation(), calm_epochs=_CALM_EPOCHS
    )


def quick_recipe() -> TrainSettings:
    """Return `modern_recipe` for 240 steps from random weights on generated images.

    The default of `yoloret-nas search` without `--data`: 320 images, 10 to 50 s a trial on one core. Generated images vary
    enough by themselves: without augmentation mobilenetv3_small_050 at 96 px reached AP 0.16 instead of 0.12. Every second
    epoch is scored, so that a poor trial can be pruned after two thirds of them.

    Such short trainings would differ between seeds by as much as between networks. Twice the learning rate, no average of
    weights that change so fast, and six epochs rather than four reduce that (`benchmarks/quick_recipe.py`).
    """
    return replace(
        modern_recipe(),
        recipe="quick",
        epochs=6,
        learning_rate=2e-2,
        ema_decay=0.0,
        score_every=2,
        augmentation=AugmentSettings(),
        calm_epochs=0,
    )


def paper_recipe() -> TrainSettings:
    """Return YOLO-ReT's recipe: Adam, 100 epochs at 1e-3 with ImageNet's weights frozen, 150 at 1e-4, each with a cosine.

    `--recipe paper`. Source: prakharg24/yoloret, `code/train.py` (MIT).
    """
    return TrainSettings(
        recipe="paper",
        epochs=250,
        frozen_epochs=100,
        frozen_learning_rate=1e-3,
        learning_rate=1e-4,
        transfer_rate=1.0,
        final_learning_rate=0.0,
        warmup_epochs=0.0,
        batch_size=8,
        optimiser="adam",
        weight_decay=0.0,
        clip_norm=0.0,
        ema_decay=0.0,
        loss=paper_loss(),
        augmentation=paper_augmentation(),
    )


RECIPES: dict[RecipeName, Callable[[], TrainSettings]] = {
    "modern": modern_recipe,
    "quick": quick_recipe,
    "paper": paper_recipe,
}
"""Name to preset."""
