"""How a network is trained, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from trials.data.augmentation import AugmentSettings, modern_augmentation
from trials.data.batches import DEFAULT_CACHE_MIB
from trials.training.loss import LossSettings

OptimiserName = Literal["adamw", "adam", "sgd"]
"""AdamW; Adam, where weight decay is part of the gradient; SGD with Nesterov momentum 0.937."""

Precision = Literal["auto", "fp32", "bf16"]
"""``fp32``, or ``bf16`` autocast with float32 weights and loss.

``auto`` is bf16 on a GPU that computes in it, and on a CPU that has AVX512-BF16 from `BF16_FROM_PX` on, else fp32.
"""

BF16_FROM_PX = 256
"""Input size from which bfloat16 pays on a CPU: activations no longer fit its caches. A training step of yoloret-m0.75 took
0.7 times as long at 320 px, as long at 160 px; smaller networks gain nothing there (`benchmarks/training_step.py`)."""

FORMER_SETTINGS: Mapping[str, object] = {"norm_images": 0, "devices": 1, "strategy": "auto"}
"""Fields of `TrainSettings` in earlier versions, with the value under which a training was what it is without them."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a network is trained; the defaults are `trials.training.recipes.modern_recipe`'s."""

    recipe: str = "modern"
    """The preset these settings came from, for the record."""
    epochs: int = 30
    """Passes over the training split, at least 1, frozen ones included."""
    batch_size: int = 8
    """Images of an optimiser step."""
    learning_rate: float = 1e-2
    """The highest, above 0; it falls by a half cosine to `final_learning_rate` of itself."""
    final_learning_rate: float = 0.01
    """Share of `learning_rate` at the end, 0 to 1."""
    warmup_epochs: float = 1.0
    """Epochs over which the learning rate rises from near 0, not negative; at most a third of all is used."""
    weight_decay: float = 0.05
    """Of weights with two dimensions or more; norms, biases and scalars have none. Not negative."""
    optimiser: OptimiserName = "adamw"
    """Which update rule."""
    clip_norm: float = 10.0
    """Largest norm of the gradient, longer ones are scaled down; 0 for none."""
    frozen_epochs: int = 0
    """Epochs at the start with `network.backbone` as it came, norms in evaluation mode; 0 to `epochs` - 1."""
    frozen_learning_rate: float = 1e-3
    """The highest learning rate of the frozen epochs, which have a cosine of their own; above 0."""
    ema_decay: float = 0.999
    """Of the average of the weights that is scored and kept; it starts low. 0 to below 1, 0 for no average."""
    loss: LossSettings = field(default_factory=LossSettings)
    """What is minimised, assignment included."""
    augmentation: AugmentSettings = field(default_factory=modern_augmentation)
    """How far training images are changed."""
    score_every: int = 1
    """Epochs between scorings on the validation split, at least 1; the last epoch is always scored."""
    precision: Precision = "auto"
    """Number format of the training steps; scoring is always in float32."""
    accelerator: str = "auto"
    """Lightning's flag: auto, cpu, gpu, ..."""
    num_workers: int = -1
    """Processes that prepare images; -1 is none on a CPU, which trains at the same time, up to 8 a GPU."""
    num_threads: int = 0
    """Threads of torch on the CPU, 0 leaves its own choice."""
    cache_mib: int = DEFAULT_CACHE_MIB
    """Memory for decoded images, MiB, not negative; as much again for validation images."""
    seed: int = 0
    """Decides order and augmentation, not negative; the initial weights are the caller's."""
    is_resumable: bool = False
    """Whether `last.ckpt` is written after each epoch."""

    def __post_init__(self) -> None:
        at_least = {"epochs": 1, "batch_size": 1, "score_every": 1, "num_workers": -1, "seed": 0}
        not_negative = ("warmup_epochs", "weight_decay", "clip_norm", "frozen_epochs", "num_threads")
        for name, lowest in {**at_least, **dict.fromkeys((*not_negative, "cache_mib"), 0)}.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}; it is at least {lowest}")
        for name in ("learning_rate", "frozen_learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it is above 0")
        for name, choice in {"optimiser": OptimiserName, "precision": Precision}.items():
            if getattr(self, name) not in get_args(choice):
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is unknown; choose one of {', '.join(get_args(choice))}"
                )
        self._check_relations()

    def _check_relations(self) -> None:
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it is from 0 to below 1")
        if not 0 <= self.final_learning_rate <= 1:
            raise ValueError(f"final_learning_rate is {self.final_learning_rate}; it is from 0 to 1")
        if self.frozen_epochs >= self.epochs:
            raise ValueError(
                f"frozen_epochs is {self.frozen_epochs} of {self.epochs} epochs; one at least must not be frozen"
            )
