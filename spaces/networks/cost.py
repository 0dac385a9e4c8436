"""The cost of an architecture on paper, without building its network: thousands per second, to choose among many.

Each backbone is run once, without memory. Necks and heads are described by their convolutions (`necks.py`, `heads.py`); a
test compares the sums with whole networks.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from spaces.architecture import Architecture
from spaces.networks.backbones import build_blocks
from spaces.networks.conv_cost import ConvCost, Cost
from spaces.networks.heads import HEADS
from spaces.networks.macs import count_params, counting_macs
from spaces.networks.necks import NECKS
from spaces.networks.network import feature_channels

_SMALL, _LARGE = 64, 128


def count_cost(architecture: Architecture, *, num_classes: int) -> Cost:
    """Count the cost of an architecture's network.

    Args:
        architecture: Any legal one.
        num_classes: Classes of the detector, at least 1.
    """
    channels, neck = feature_channels(architecture), NECKS[architecture.neck]
    head_channels = neck.out_channels(architecture, channels)
    parts: list[_Part | ConvCost] = [
        _backbone(architecture.backbone)[architecture.truncation],
        *neck.convs(architecture, channels),
        *HEADS[architecture.head].convs(architecture, head_channels, num_classes),
    ]
    costs = [part.at(architecture.input_hw) for part in parts]
    return Cost(macs=sum(cost.macs for cost in costs), params=sum(cost.params for cost in costs))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part that was run. Its multiply-adds grow with the image's area, except for those after a global pooling."""

    small_macs: int
    """At `_SMALL` pixels."""
    large_macs: int
    """At `_LARGE` pixels."""
    params: int

    def at(self, input_hw: tuple[int, int]) -> Cost:
        growth = (
            (self.large_macs - self.small_macs) * (input_hw[0] * input_hw[1] - _SMALL**2) // (_LARGE**2 - _SMALL**2)
        )
        return Cost(macs=self.small_macs + growth, params=self.params)


@cache
def _backbone(name: str) -> list[_Part]:
    """Return the costs of the stem with the first 0, 1, … blocks."""
    with torch.device("meta"):
        stem, blocks = build_blocks(name)
        steps = [stem, *blocks]
        by_size = []
        for size in (_SMALL, _LARGE):
            after, features = [], torch.empty(1, 3, size, size)
            with counting_macs(nn.ModuleList(steps)) as counted:
                for step in steps:
                    features = step(features)
                    after.append(sum(counted))
            by_size.append(after)
    params = [sum(count_params(one) for one in steps[: end + 1]) for end in range(len(steps))]
    return [
        _Part(small_macs=small, large_macs=large, params=count)
        for small, large, count in zip(*by_size, params, strict=True)
    ]
