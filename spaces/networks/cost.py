"""What an architecture costs on paper, without building its network: thousands a second, for choosing among them.

Backbones are run once each, without memory. Neck and head are written down as their layers, as `rfcr.py` and `head.py` build
them; a test holds the sums against whole networks.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from spaces.architecture import Architecture
from spaces.networks.backbones import build_blocks
from spaces.networks.bifpn import BiFpn
from spaces.networks.head import SE_REDUCTION
from spaces.networks.macs import count_params, counting_macs
from spaces.networks.network import NUM_ANCHORS, feature_channels, head_channels

_SMALL, _LARGE = 64, 128


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one network, or of a part."""

    macs: int
    """Multiply-adds of one image, as :func:`spaces.networks.macs.count_macs` counts them."""
    params: int
    """Trainable values, as :func:`spaces.networks.macs.count_params` counts them."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part that was run. Its multiply-adds grow with the area of the image, but for those after a global pooling."""

    small_macs: int
    """At `_SMALL` pixels."""
    large_macs: int
    """At `_LARGE` pixels."""
    params: int

    def at(self, input_size: int) -> Cost:
        growth = (self.large_macs - self.small_macs) * (input_size**2 - _SMALL**2) // (_LARGE**2 - _SMALL**2)
        return Cost(macs=self.small_macs + growth, params=self.params)


@dataclass(frozen=True)
class _Conv:
    """A convolution of neck or head that was not run."""

    stride: int
    """Pixels of the image for a cell of its output; 0 after a global pooling."""
    in_channels: int
    out_channels: int
    kernel: int = 1
    is_depthwise: bool = False
    has_norm: bool = True
    has_bias: bool = False

    def at(self, input_size: int) -> Cost:
        cells = (input_size // self.stride) ** 2 if self.stride else 1
        weights = (1 if self.is_depthwise else self.in_channels) * self.out_channels * self.kernel**2
        others = (2 * self.has_norm + self.has_bias) * self.out_channels
        return Cost(macs=cells * weights, params=weights + others)


def count_cost(architecture: Architecture, *, num_classes: int) -> Cost:
    """Count an architecture's network.

    Args:
        architecture: Any legal one.
        num_classes: Classes of the detector, at least 1.
    """
    channels = feature_channels(architecture)
    parts: list[_Part | _Conv] = [_backbone(architecture.backbone)[architecture.truncation]]
    num_weights = 0
    if architecture.scale_set is not None:
        parts += _rfcr(architecture, channels)
        num_weights = len(architecture.scale_set.collect) + (architecture.shortcut_stride is not None)
    reaching = head_channels(architecture, channels)
    if architecture.head == "bifpn":
        parts.append(_bifpn(tuple(reaching.items()), architecture.head_width))
        reaching = dict.fromkeys(reaching, architecture.head_width)
    parts += _head(architecture, reaching, out_channels=NUM_ANCHORS * (5 + num_classes))
    costs = [part.at(architecture.input_size) for part in parts]
    return Cost(macs=sum(cost.macs for cost in costs), params=sum(cost.params for cost in costs) + num_weights)


def _rfcr(architecture: Architecture, channels: Mapping[int, int]) -> Iterator[_Conv]:
    scale_set, width, shortcut_stride = architecture.scale_set, architecture.rfcr_width, architecture.shortcut_stride
    assert scale_set is not None  # asked for only where there is one
    for stride in scale_set.collect:
        yield _Conv(stride, channels[stride], width, has_norm=False)
    if shortcut_stride is not None:
        factor = scale_set.fuse // shortcut_stride if architecture.shortcut == "conv" else 1
        yield _Conv(scale_set.fuse, channels[shortcut_stride], width, factor, has_norm=False)
    yield _Conv(scale_set.fuse, width, width, architecture.rfcr_kernel, is_depthwise=True)
    yield _Conv(scale_set.fuse, width, architecture.rfcr_channels)


def _head(architecture: Architecture, channels: Mapping[int, int], *, out_channels: int) -> Iterator[_Conv]:
    strides = sorted(channels)
    widths = {stride: architecture.head_width * 2**step for step, stride in enumerate(strides)}
    pairs = list(itertools.pairwise(strides)) if architecture.head in ("fpn", "fpn_pan") else []
    sent = {coarse: widths[fine] for fine, coarse in pairs}
    for fine, coarse in pairs:
        yield _Conv(coarse, out_channels, widths[fine])
    for stride in strides:
        received = widths[stride] if stride in (fine for fine, _ in pairs) else 0
        yield from _detection_layer(stride, channels[stride] + received, widths[stride], out_channels)
    if architecture.head == "fpn_pan":
        for fine, _ in pairs:
            yield _Conv(fine, out_channels, widths[fine])
        for stride in strides:
            yield from _detection_layer(stride, out_channels + sent.get(stride, 0), widths[stride], out_channels)
    for stride in strides:
        yield _Conv(stride, out_channels, out_channels, has_norm=False, has_bias=architecture.prediction_bias)


def _detection_layer(stride: int, in_channels: int, width: int, out_channels: int) -> Iterator[_Conv]:
    yield _Conv(stride, in_channels, width)
    yield _Conv(stride, width, width, 3, is_depthwise=True)
    yield _Conv(0, width, width // SE_REDUCTION, has_norm=False, has_bias=True)
    yield _Conv(0, width // SE_REDUCTION, width, has_norm=False, has_bias=True)
    yield _Conv(stride, width, out_channels)


@cache
def _backbone(name: str) -> list[_Part]:
    """Give the cost of the stem and the first 0, 1, … blocks."""
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


@cache
def _bifpn(channels: tuple[tuple[int, int], ...], width: int) -> _Part:
    with torch.device("meta"):
        module, macs = BiFpn(dict(channels), width=width), []
        for size in (_SMALL, _LARGE):
            with counting_macs(module) as counted:
                module({stride: torch.empty(1, count, size // stride, size // stride) for stride, count in channels})
            macs.append(sum(counted))
    return _Part(small_macs=macs[0], large_macs=macs[1], params=count_params(module))
