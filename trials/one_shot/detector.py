"""The training step of shared weights: several networks learn from one batch.

Legend: B batch, H W height and width of the images.
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
from trials.data.augmentation import SMALLEST_SIDE_PX
from trials.data.batches import Batch
from trials.data.images.letterbox import PAD_RGB, as_network_input
from trials.one_shot.losses import Losses
from trials.training.detection_module import split_targets
from trials.training.kept_memory import keep_freed_memory
from trials.training.mixed_convolutions import mix_convolutions


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
        at_size: dict[tuple[int, int], Batch] = {}
        losses = []
        for architecture in self._draw(self.global_step):
            input_hw = architecture.input_hw
            if input_hw not in at_size:
                at_size[input_hw] = shrink(batch, input_hw)
            shrunk = at_size[input_hw]
            network = self.weights.network(architecture)
            if self._mixes_convolutions:
                mix_convolutions(network)
            objects, ignored = split_targets(shrunk)
            maps = network(as_network_input(shrunk.images))
            criterion = self._losses.loss(network, input_hw=input_hw, device=self.device)
            loss: Tensor = criterion(maps, objects, ignored).total
            self.manual_backward(loss)
            losses.append(loss.detach())
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self.weights.parameters(), self._clip_norm)
        optimiser.step()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr]
        return {"loss": torch.stack(losses).mean()}


def shrink(batch: Batch, input_hw: tuple[int, int]) -> Batch:
    """Return a batch at a smaller input size, without the objects that become too small.

    The images keep their aspect. Where the shorter side of the input is longer or shorter than that of the shrunk images,
    since it is a multiple of a stride, they get margins or lose their edges, half on each side, as letterboxing has it.

    Args:
        batch: Images (B, 3, H, W) uint8, boxes in their pixels.
        input_hw: H, W of the returned batch, of which the longer side is at most that of the given one.
    """
    whole_hw = batch.images.shape[-2:]
    if input_hw == tuple(whole_hw):
        return batch
    scale = max(input_hw) / max(whole_hw)
    height, width = (max(1, round(side * scale)) for side in whole_hw)
    images = F.interpolate(batch.images.float(), size=(height, width), mode="bilinear", antialias=True)
    left, top = (input_hw[1] - width) // 2, (input_hw[0] - height) // 2  # below 0 where edges are lost
    pad = torch.tensor(PAD_RGB, device=images.device).view(3, 1, 1)
    margins = (left, input_hw[1] - width - left, top, input_hw[0] - height - top)
    images = F.pad(images - pad, margins) + pad
    boxes = batch.boxes * scale + batch.boxes.new_tensor([left, top, left, top])
    boxes = boxes.clamp(boxes.new_zeros(4), boxes.new_tensor([*input_hw[::-1], *input_hw[::-1]]))
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = (sides >= SMALLEST_SIDE_PX).all(dim=1) | (batch.ignored & (sides > 0).all(dim=1))
    return batch._replace(
        images=images.round().clamp(0, 255).to(torch.uint8),
        boxes=boxes[kept],
        labels=batch.labels[kept],
        image_index=batch.image_index[kept],
        ignored=batch.ignored[kept],
    )
