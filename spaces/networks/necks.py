"""The necks: what stands between the backbone's features and the head. A new name also goes into `spaces.architecture`.

Each entry of `NECKS` holds a neck's builder, its cost on paper, and the channels it passes to the head. The module of a
neck takes a mapping of stride to (B, C, H, W) and returns one for the strides it changes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from spaces.architecture import Architecture, NeckName
from spaces.networks.bifpn import BiFpn
from spaces.networks.conv_cost import ConvCost
from spaces.networks.rfcr import Rfcr
from spaces.networks.shortcuts import SHORTCUTS
from spaces.scale_set import ScaleSet

Channels = Mapping[int, int]
"""Stride in pixels to the channels of the features there."""


@dataclass(frozen=True, kw_only=True)
class NeckEntry:
    """One neck. Each function takes the architecture and the channels of the backbone's tapped features."""

    build: Callable[[Architecture, Channels], nn.Module | None]
    """Builds the module; None if there is nothing to compute."""
    convs: Callable[[Architecture, Channels], Iterator[ConvCost]]
    """Lists the convolutions of that module."""
    out_channels: Callable[[Architecture, Channels], dict[int, int]]
    """Returns the channels that reach the head, for each output stride."""


def _build_rfcr(architecture: Architecture, channels: Channels) -> Rfcr:
    return Rfcr(
        channels,
        scale_set=_scale_set(architecture),
        shortcut=architecture.shortcut,
        shortcut_stride=architecture.shortcut_stride,
        width=architecture.rfcr_width,
        out_channels=architecture.rfcr_channels,
        kernel=architecture.rfcr_kernel,
    )


def _rfcr_convs(architecture: Architecture, channels: Channels) -> Iterator[ConvCost]:
    scale_set, width, finer = _scale_set(architecture), architecture.rfcr_width, architecture.shortcut_stride
    for stride in scale_set.collect:
        yield ConvCost(stride, channels[stride], width, has_norm=False)
    if finer is not None:
        shortcut, factor = SHORTCUTS[architecture.shortcut], scale_set.fuse // finer
        yield shortcut.conv(channels[finer], width, factor=factor, fuse=scale_set.fuse)
    num_summands = len(scale_set.collect) + (finer is not None)
    kernel = architecture.rfcr_kernel
    yield ConvCost(scale_set.fuse, width, width, kernel, is_depthwise=True, num_summands=num_summands)
    yield ConvCost(scale_set.fuse, width, architecture.rfcr_channels)


def _rfcr_channels(architecture: Architecture, channels: Channels) -> dict[int, int]:
    handed = _scale_set(architecture).hand_back
    return {s: channels[s] + (architecture.rfcr_channels if s in handed else 0) for s in architecture.outputs}


def _scale_set(architecture: Architecture) -> ScaleSet:
    assert architecture.scale_set is not None  # the architecture requires one with this neck
    return architecture.scale_set


def _bifpn_convs(architecture: Architecture, channels: Channels) -> Iterator[ConvCost]:
    strides, width = architecture.outputs, architecture.head_width
    for stride in strides:
        yield ConvCost(stride, channels[stride], width)
    top_down = [(stride, 2) for stride in strides[:-1]]
    bottom_up = [(stride, 2 if stride == strides[-1] else 3) for stride in strides[1:]]
    for stride, num_summands in (*top_down, *bottom_up):
        yield ConvCost(stride, width, width, 3, is_depthwise=True, has_norm=False, num_summands=num_summands)
        yield ConvCost(stride, width, width)


def _output_channels(architecture: Architecture, channels: Channels) -> dict[int, int]:
    return {stride: channels[stride] for stride in architecture.outputs}


NECKS: dict[NeckName, NeckEntry] = {
    "bifpn": NeckEntry(
        build=lambda architecture, channels: BiFpn(
            _output_channels(architecture, channels), width=architecture.head_width
        ),
        convs=_bifpn_convs,
        out_channels=lambda architecture, channels: dict.fromkeys(architecture.outputs, architecture.head_width),
    ),
    "rfcr": NeckEntry(build=_build_rfcr, convs=_rfcr_convs, out_channels=_rfcr_channels),
    "none": NeckEntry(
        build=lambda architecture, channels: None,
        convs=lambda architecture, channels: iter(()),
        out_channels=_output_channels,
    ),
}
"""Name to neck."""
