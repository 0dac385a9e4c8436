"""The decoupled head: boxes and classes from branches of their own, without anchors and objectness.

Legend: B batch, C channels, H W grid of a stride, K classes, N bins of a distance.

Its scales exchange features, where the paper's heads exchange predictions. All convolutions over space are depthwise.

Source: Ge et al., YOLOX, section 2.1 (branches); Li et al., Generalized Focal Loss, section 3.2 (distributions);
Liu et al., PANet, section 3.1 (paths).
"""

import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from spaces.networks.conv_cost import ConvCost
from spaces.networks.conv_norm import conv_norm
from spaces.networks.resample import resample

NUM_BINS = 16
"""N: a side is at most N − 1 cells from its cell's centre."""
_DEPTH = 2
"""Depthwise-separable convolutions of a branch."""


class DecoupledHead(nn.Module):
    """Paths down and up between the scales, then two branches for each.

    Args:
        channels: Output stride in pixels to channels of the features there.
        width: Channels of all scales and branches.
        num_classes: K.
        prediction_bias: Whether the last convolutions have a bias.
    """

    has_anchors = False

    def __init__(self, channels: Mapping[int, int], *, width: int, num_classes: int, prediction_bias: bool) -> None:
        super().__init__()
        self.strides = tuple(sorted(channels))
        self.lateral = nn.ModuleDict({f"s{s}": _conv(channels[s], width) for s in self.strides})
        self.top_down = nn.ModuleDict({f"s{s}": _separable(2 * width, width) for s in self.strides[:-1]})
        self.reduce = nn.ModuleDict(
            {f"s{c}": _conv(width, width, 3, groups=width, step=c // f) for f, c in itertools.pairwise(self.strides)}
        )
        self.bottom_up = nn.ModuleDict({f"s{s}": _separable(2 * width, width) for s in self.strides[1:]})
        self.box_branch, self.class_branch = (
            nn.ModuleDict(
                {f"s{s}": nn.Sequential(*(_separable(width, width) for _ in range(_DEPTH))) for s in self.strides}
            )
            for _ in range(2)
        )
        self.predict_box, self.predict_class = (
            nn.ModuleDict({f"s{s}": nn.Conv2d(width, values, 1, bias=prediction_bias) for s in self.strides})
            for values in (4 * NUM_BINS, num_classes)
        )

    @property
    def prediction_convs(self) -> list[nn.Module]:
        """The last convolution of the classes of each output stride, fine to coarse."""
        return list(self.predict_class.values())

    def forward(self, features: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            features: Output stride to (B, C, H, W).

        Returns:
            One map per output stride, fine to coarse, each (B, 4·N + K, H, W).
        """
        maps = {stride: self.lateral[f"s{stride}"](features[stride]) for stride in self.strides}
        for finer, coarser in reversed(list(itertools.pairwise(self.strides))):
            sent = resample(maps[coarser], from_stride=coarser, to_stride=finer)
            maps[finer] = self.top_down[f"s{finer}"](torch.cat((sent, maps[finer]), dim=1))
        for finer, coarser in itertools.pairwise(self.strides):
            sent = self.reduce[f"s{coarser}"](maps[finer])
            maps[coarser] = self.bottom_up[f"s{coarser}"](torch.cat((sent, maps[coarser]), dim=1))
        return tuple(self._predict(maps[stride], f"s{stride}") for stride in self.strides)

    def _predict(self, features: Tensor, name: str) -> Tensor:
        box = self.predict_box[name](self.box_branch[name](features))
        return torch.cat((box, self.predict_class[name](self.class_branch[name](features))), dim=1)


def decoupled_convs(
    channels: Mapping[int, int], *, width: int, num_classes: int, prediction_bias: bool
) -> Iterator[ConvCost]:
    """List the convolutions of that module; arguments as for `DecoupledHead`."""
    strides = sorted(channels)
    for stride in strides:
        yield ConvCost(stride, channels[stride], width)
    for stride in strides[1:]:
        yield ConvCost(stride, width, width, 3, is_depthwise=True)
    for stride in (*strides[:-1], *strides[1:]):
        yield from _separable_convs(stride, 2 * width, width)
    for stride in strides:
        for _ in range(2 * _DEPTH):
            yield from _separable_convs(stride, width, width)
        for out_channels in (4 * NUM_BINS, num_classes):
            yield ConvCost(stride, width, out_channels, has_norm=False, has_bias=prediction_bias)


def _conv(in_channels: int, out_channels: int, kernel: int = 1, *, groups: int = 1, step: int = 1) -> nn.Sequential:
    return conv_norm(in_channels, out_channels, kernel, groups=groups, step=step, activation=nn.SiLU(inplace=True))


def _separable(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, in_channels, 3, groups=in_channels), _conv(in_channels, out_channels))


def _separable_convs(stride: int, in_channels: int, out_channels: int) -> Iterator[ConvCost]:
    yield ConvCost(stride, in_channels, in_channels, 3, is_depthwise=True)
    yield ConvCost(stride, in_channels, out_channels)
