"""The training step and the validation step around a network.

Legend: B batch, A anchors a cell, K classes.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spaces.networks.heads import NUM_ANCHORS
from trials.data.batches import Batch
from trials.data.images.letterbox import as_network_input
from trials.scoring import DetectionScorer, Scores, without_tf32
from trials.training.kept_memory import keep_freed_memory
from trials.training.losses.choose import AnyLoss
from trials.training.losses.targets import Targets


class DetectionModule(LightningModule):
    """A network with its loss, optimiser and scorer; it contains only steps.

    Args:
        network: Returns raw maps.
        loss: Of the raw maps.
        scorer: Of the validation split.
        make_optimiser: Returns the network's optimiser and a schedule in steps.
        pretrained: Modules of the network that start from ImageNet weights.
        frozen_epochs: Epochs at the start in which these are frozen.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: AnyLoss,
        *,
        scorer: DetectionScorer,
        make_optimiser: Callable[[nn.Module], tuple[Optimizer, LRScheduler]],
        pretrained: Sequence[nn.Module] = (),
        frozen_epochs: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.scores: Scores | None = None  # of the last validation
        self._scorer = scorer
        self._make_optimiser = make_optimiser
        self._pretrained = pretrained
        self._frozen_epochs = frozen_epochs

    def setup(self, stage: str) -> None:
        """Keep freed memory in this process."""
        keep_freed_memory()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and schedule."""
        optimiser, schedule = self._make_optimiser(self.network)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradient's norm; Lightning's own refuses fused optimisers in bfloat16, which needs no unscaling."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_train_epoch_start(self) -> None:
        """Freeze or unfreeze what starts from ImageNet weights, and have the last epoch scored."""
        if self.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1  # the last epoch is scored even if it is not a multiple
        if self._frozen_epochs:
            set_frozen(self._pretrained, is_frozen=self.current_epoch < self._frozen_epochs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        maps = self.network(as_network_input(batch.images))
        objects, ignored = split_targets(batch)
        total: Tensor = self.loss(maps, objects, ignored).total
        return total

    def on_validation_epoch_start(self) -> None:
        """Forget the detections of the last validation."""
        self._scorer.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Detect objects in a batch, in float32 even if training uses bfloat16, so that scores are comparable."""
        with torch.autocast(self.device.type, enabled=False), without_tf32():
            self._scorer.update(self.network(as_network_input(batch.images)), batch.sample_index)

    def on_validation_epoch_end(self) -> None:
        """Score the split."""
        self.scores = self._scorer.compute()


def split_targets(batch: Batch) -> tuple[Targets, Targets]:
    """Split a batch's boxes into objects and ignored ones."""
    targets = Targets(batch.boxes, batch.labels, batch.image_index)
    return targets.take(~batch.ignored), targets.take(batch.ignored)


def set_frozen(modules: Iterable[nn.Module], *, is_frozen: bool) -> None:
    """Freeze or unfreeze modules; frozen, they have no gradients and their batch norms keep their statistics."""
    for module in modules:
        module.requires_grad_(not is_frozen)
        module.train(not is_frozen)


def initialise_prediction_bias(
    network: nn.Module,
    *,
    num_classes: int,
    objects_per_image: float,
    input_hw: tuple[int, int],
    num_anchors: int = NUM_ANCHORS,
) -> None:
    """Initialise the biases so that objectness and class scores start at their average.

    Convolutions without a bias, such as the paper's, and networks without `prediction_convs` are not changed.

    Args:
        network: Its `prediction_convs` are the last convolutions, its `output_strides` their strides in pixels; with
            `has_anchors`.
        num_classes: K.
        objects_per_image: Mean over the training split, above 0.
        input_hw: Height and width of the network's input, pixels.
        num_anchors: A; not used without anchors.

    Source: Lin et al., Focal Loss, section 3.3; the values are YOLOv5's, and YOLOv8's without anchors.
    """
    convs: list[nn.Conv2d] = getattr(network, "prediction_convs", [])
    strides: tuple[int, ...] = getattr(network, "output_strides", ())
    for conv, stride in zip(convs, strides, strict=False):
        if conv.bias is None:
            continue
        num_cells = input_hw[0] * input_hw[1] / stride**2
        objectness = min(0.5, max(1e-4, objects_per_image / num_cells))
        with torch.no_grad():
            if not network.has_anchors:
                conv.bias.fill_(_logit(objectness / num_classes))
                continue
            bias = conv.bias.view(num_anchors, 5 + num_classes)
            bias[:, 4] = _logit(objectness)
            bias[:, 5:] = _logit(min(0.9, 0.6 / num_classes))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
