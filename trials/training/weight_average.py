"""An exponential moving average of the weights, which is what gets scored and kept."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class WeightAverage(WeightAveraging):
    """Averages weights and BN statistics after each step, with a decay that starts low.

    After update n the decay is min(decay, (1 + n) / (10 + n)), so that short runs do not end in their random start: it
    passes 0.99 after 900 updates and 0.999 after 9 000.

    Args:
        decay: Of the average, 0 to below 1; nearer 1 is longer.

    Source: the ramp is TensorFlow's ``ExponentialMovingAverage(num_updates=…)``.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is not from 0 to below 1")
        super().__init__()
        self.decay = decay
        self.num_updates = 0
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._counters: list[tuple[Tensor, Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pair average with current tensors, once: walking both modules takes as long as the averaging."""
        assert self._average_model is not None  # made by `setup`
        averaged = [*self._average_model.module.parameters(), *self._average_model.module.buffers()]
        current = [*pl_module.parameters(), *pl_module.buffers()]
        pairs = [(a.detach(), c.detach()) for a, c in zip(averaged, current, strict=True)]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._pairs = ([a for a, _ in floats], [c for _, c in floats])
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average towards the weights after the step."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        with torch.no_grad():
            torch._foreach_lerp_(self._pairs[0], self._pairs[1], 1 - decay)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over what cannot be averaged: BN's counts of batches."""
        for average, current in self._counters:
            average.copy_(current)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the network."""
        self.leave_in(pl_module)

    def leave_in(self, pl_module: LightningModule) -> None:
        """Copy the average into the network; nothing where there is none.

        Lightning's own averaging would leave the initial weights there if no step was ever averaged.
        """
        if self.num_updates and self._average_model is not None:
            self._copy_average_to_current(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint needs to go on with the ramp."""
        return {"num_updates": self.num_updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the ramp."""
        self.num_updates = state_dict["num_updates"]
