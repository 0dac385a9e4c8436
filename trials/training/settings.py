"""The settings of a training."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from spaces.counted import counted
from trials.data.augmentation import AugmentSettings, modern_augmentation
from trials.data.batches import DEFAULT_CACHE_MIB
from trials.training.losses.aligned_loss import AlignedLossSettings
from trials.training.losses.anchored_loss import LossSettings, check_choice

OptimiserName = Literal["adamw", "adam", "sgd"]
"""AdamW; Adam, where weight decay is part of the gradient; SGD with Nesterov momentum 0.937."""

NumberFormat = Literal["fp32", "bf16"]
"""Float32, or bfloat16 autocast with float32 weights, loss and, on a CPU, small convolutions."""

Precision = Literal["auto", "fp32", "bf16"]
"""A number format, or ``auto``: bf16 on a GPU that computes in it and on a CPU that has AVX512-BF16, else fp32.

It does not depend on the network: the trials of a study compete, and with one rule none has an advantage by it. On a CPU
convolutions of few multiply-adds stay in float32, where they are faster (`trials.training.mixed_convolutions`).
"""

Accelerator = Literal["auto", "cpu"]
"""The GPU if there is one that PyTorch can use (`trials.gpus`), else the CPU; or the CPU in any case."""


LAST_FILE = "last.ckpt"
"""In a trial's folder while its training can be resumed."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a network is trained; the defaults are `trials.training.recipes.modern_recipe`'s, but for `calm_epochs`."""

    recipe: str = "modern"
    """Name of the preset, for the record."""
    epochs: int = 30
    """Passes over the training split, including frozen epochs; at least 1. Each pass leaves out the images of a last,
    incomplete batch, other ones each time."""
    batch_size: int = 8
    """Images of an optimiser step."""
    learning_rate: float = 1e-2
    """Peak learning rate, above 0; it falls by a half cosine to `final_learning_rate` of itself."""
    transfer_rate: float = 0.1
    """Share of the learning rate for values that start from ImageNet weights, above 0. On 252 photographs of cards 0.1 gave
    AP 0.617 ± 0.022 after 10 epochs and 1 gave 0.566 ± 0.041; on 205 of blood cells 0.414 ± 0.011 and 0.419 ± 0.004 (three
    seeds, `benchmarks/transfer_recipe.py`)."""
    final_learning_rate: float = 0.01
    """Share of `learning_rate` at the end, 0 to 1."""
    warmup_epochs: float = 1.0
    """Epochs over which the learning rate rises from near 0, not negative; at most a third of all epochs."""
    weight_decay: float = 0.05
    """For weights with two dimensions or more, not for norms, biases and scalars; not negative."""
    optimiser: OptimiserName = "adamw"
    """The update rule."""
    clip_norm: float = 10.0
    """Gradients are clipped to this norm; 0 for no clipping."""
    frozen_epochs: int = 0
    """Epochs at the start in which modules that start from ImageNet weights are frozen, their norms in evaluation mode; 0 to
    `epochs` - 1."""
    frozen_learning_rate: float = 1e-3
    """Peak learning rate of the frozen epochs, which have their own cosine; above 0."""
    ema_decay: float = 0.999
    """Decay of the averaged weights, which are scored and kept; it starts lower. 0 to below 1, 0 for no average."""
    loss: LossSettings = field(default_factory=LossSettings)
    """The loss and the assignment of heads with anchors."""
    aligned_loss: AlignedLossSettings = field(default_factory=AlignedLossSettings)
    """The loss and the assignment of heads without."""
    augmentation: AugmentSettings = field(default_factory=modern_augmentation)
    """The augmentation of training images."""
    calm_epochs: int = 0
    """Epochs at the end whose images are augmented less (`trials.data.augmentation.calm`), not negative; all of a training
    that has no more."""
    score_every: int = 1
    """Epochs between scorings on the validation split, at least 1; the last epoch is always scored."""
    precision: Precision = "auto"
    """Number format of training steps; scoring always uses float32, without TF32."""
    accelerator: Accelerator = "auto"
    """Where its steps run."""
    num_workers: int = -1
    """Processes that prepare images; -1 means none on a CPU, which trains at the same time, and up to 8 with a GPU."""
    num_threads: int = 0
    """Cores of this training: threads of torch on the CPU, and the most processes that prepare images; 0 for no limit."""
    cache_mib: int = DEFAULT_CACHE_MIB
    """Memory for decoded images, MiB, not negative; the same again for validation images."""
    seed: int = 0
    """Seed of order and augmentation, not negative; the caller initialises the weights."""
    is_resumable: bool = False
    """Whether `last.ckpt` is written after each epoch, for resuming."""

    def __post_init__(self) -> None:
        at_least = {"epochs": 1, "batch_size": 1, "score_every": 1, "num_workers": -1, "seed": 0}
        not_negative = ("warmup_epochs", "weight_decay", "clip_norm", "frozen_epochs", "calm_epochs", "num_threads")
        for name, lowest in {**at_least, **dict.fromkeys((*not_negative, "cache_mib"), 0)}.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {lowest}")
        for name in ("learning_rate", "transfer_rate", "frozen_learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        check_choice("optimiser", self.optimiser, get_args(OptimiserName))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("accelerator", self.accelerator, get_args(Accelerator))
        self._check_relations()

    def _check_relations(self) -> None:
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be from 0 to below 1")
        if not 0 <= self.final_learning_rate <= 1:
            raise ValueError(f"final_learning_rate is {self.final_learning_rate}; it must be from 0 to 1")
        if self.frozen_epochs >= self.epochs:
            raise ValueError(
                f"frozen_epochs is {self.frozen_epochs} of {counted(self.epochs, 'epoch(s)')}; at least one must "
                "not be frozen"
            )
