"""The training step of shared weights: several networks learn from one batch.

Legend: B batch, S side of the square images.
"""

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from spaces import Architecture
from spaces.networks.shared_weights import SharedWeights
from trials.data.batches import Batch
from trials.data.images.letterbox import as_network_input
from trials.one_shot.losses import Losses
from trials.training.detection_module import split_targets
from trials.training.kept_memory import keep_freed_memory
from trials.training.mixed_convolutions import mix_convolutions

_SMALLEST_SIDE_PX = 2.0
"""Objects that a smaller image makes smaller are left out."""


class OneShotDetector(LightningModule):
    """Shared weights with their losses and optimiser.

    Args:
        weights: Of all networks of the space.
        draw: Returns the networks of a step, given its number from 0.
        losses: Of the networks' maps.
        make_optimiser: Returns the optimiser of the weights and a schedule in steps.
        clip_norm: Of the gradient, 0 for none.
        mixes_convolutions: Whether convolutions train as `MixedConv2d`.
    """

    def __init__(
        self,
        weights: SharedWeights,
        *,
        draw: Callable[[int], Sequence[Architecture]],
        losses: Losses,
        make_optimiser: Callable[[nn.Module], tuple[Optimizer, LRScheduler]],
        clip_norm: float,
        mixes_convolutions: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # one backward pass for each network
        self.weights = weights
        self._mixes_convolutions = mixes_convolutions
        self._draw, self._losses, self._make_optimiser, self._clip_norm = draw, losses, make_optimiser, clip_norm

    def setup(self, stage: str) -> None:
        """Keep freed memory in this process."""
        keep_freed_memory()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and schedule."""
        optimiser, schedule = self._make_optimiser(self.weights)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sum the gradients of the step's networks, take the step, and return their mean loss."""
        optimiser, schedule = self.optimizers(), self.lr_schedulers()
        optimiser.zero_grad()  # type: ignore[union-attr]
        at_size: dict[int, Batch] = {}
        losses = []
        for architecture in self._draw(self.global_step):
            size = architecture.input_size
            if size not in at_size:
                at_size[size] = shrink(batch, size)
            shrunk = at_size[size]
            network = self.weights.network(architecture)
            if self._mixes_convolutions:
                mix_convolutions(network)
            objects, ignored = split_targets(shrunk)
            maps = network(as_network_input(shrunk.images))
            loss: Tensor = self._losses.loss(network, input_size=size, device=self.device)(maps, objects, ignored).total
            self.manual_backward(loss)
            losses.append(loss.detach())
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self.weights.parameters(), self._clip_norm)
        optimiser.step()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr]
        return {"loss": torch.stack(losses).mean()}


def shrink(batch: Batch, size: int) -> Batch:
    """Return a batch of square images at a smaller size, without the objects that become too small.

    Args:
        batch: Images (B, 3, S, S) uint8, boxes in their pixels.
        size: S of the returned batch, at most that of the given one.
    """
    whole = batch.images.shape[-1]
    if size == whole:
        return batch
    images = F.interpolate(batch.images.float(), size=(size, size), mode="bilinear", antialias=True)
    boxes = batch.boxes * (size / whole)
    kept = ((boxes[:, 2:] - boxes[:, :2]) >= _SMALLEST_SIDE_PX).all(dim=1) | batch.ignored
    return batch._replace(
        images=images.round().clamp(0, 255).to(torch.uint8),
        boxes=boxes[kept],
        labels=batch.labels[kept],
        image_index=batch.image_index[kept],
        ignored=batch.ignored[kept],
    )
