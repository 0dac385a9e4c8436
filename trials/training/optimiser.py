"""The optimiser and its learning-rate schedule."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trials.training.settings import OptimiserName, TrainSettings

_MAX_WARMUP_SHARE = 1 / 3  # a search's trials may be a few epochs long


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Steps with a learning-rate schedule of their own: a linear warm-up, then a half cosine."""

    num_steps: int
    """Steps of the stage, at least 1."""
    warmup_steps: int
    """Steps of its warm-up, fewer than `num_steps`."""
    peak: float
    """Learning rate after the warm-up."""
    floor: float
    """Learning rate after the last step."""

    def at(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        share = min(1.0, (step - self.warmup_steps) / (self.num_steps - self.warmup_steps))
        return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True, kw_only=True)
class OptimiserFactory:
    """Builds the optimiser of a network and its learning-rate schedule."""

    settings: TrainSettings
    """Update rule, learning rates and weight decay."""
    steps_per_epoch: int
    """Optimiser steps of an epoch, at least 1."""
    pretrained: Sequence[nn.Module] = ()
    """Modules that start from ImageNet weights."""

    def __call__(self, network: nn.Module) -> tuple[Optimizer, LambdaLR]:
        """Build both; the schedule is stepped after each optimiser step."""
        settings = self.settings
        groups = self._parameter_groups(network)
        optimiser = _OPTIMISERS[settings.optimiser](groups, settings.learning_rate)
        stages = plan_stages(settings, self.steps_per_epoch)
        return optimiser, LambdaLR(optimiser, lambda step: learning_rate_at(stages, step) / settings.learning_rate)

    def _parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        settings = self.settings
        pretrained = {id(p) for module in self.pretrained for p in module.parameters()}
        if settings.transfer_rate == 1:
            pretrained = set()
        groups = []
        for is_pretrained in (False, True) if pretrained else (False,):
            parameters = [p for p in network.parameters() if (id(p) in pretrained) == is_pretrained]
            rate = settings.learning_rate * (settings.transfer_rate if is_pretrained else 1)
            groups += [
                {"params": [p for p in parameters if p.ndim > 1], "lr": rate, "weight_decay": settings.weight_decay},
                {"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
            ]
        return groups


def plan_stages(settings: TrainSettings, steps_per_epoch: int) -> tuple[Stage, ...]:
    """Return the frozen stage, if there is one, and the main stage."""
    plans = [(settings.frozen_epochs, settings.frozen_learning_rate)] if settings.frozen_epochs else []
    plans.append((settings.epochs - settings.frozen_epochs, settings.learning_rate))
    return tuple(
        Stage(
            num_steps=epochs * steps_per_epoch,
            warmup_steps=int(min(settings.warmup_epochs, epochs * _MAX_WARMUP_SHARE) * steps_per_epoch),
            peak=peak,
            floor=peak * settings.final_learning_rate,
        )
        for epochs, peak in plans
    )


def learning_rate_at(stages: tuple[Stage, ...], step: int) -> float:
    """Return the learning rate of a step counted from 0 over all stages."""
    for stage in stages[:-1]:
        if step < stage.num_steps:
            return stage.at(step)
        step -= stage.num_steps
    return stages[-1].at(step)


_OPTIMISERS: dict[OptimiserName, Callable[[list[dict[str, Any]], float], Optimizer]] = {
    # fused: one kernel a step, on CPU as on GPU
    "adamw": lambda groups, rate: AdamW(groups, lr=rate, fused=True),
    "adam": lambda groups, rate: Adam(groups, lr=rate, fused=True),
    "sgd": lambda groups, rate: SGD(groups, lr=rate, momentum=0.937, nesterov=True, fused=True),
}
