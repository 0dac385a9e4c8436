"""The heads. `Head` is the paper's: one light detection layer per scale, and paths between the scales.

A new name also goes into `spaces.architecture`.
Legend: B batch, C channels, H W grid of a stride, A anchors per cell, K classes.

Source: YOLO-ReT's authors' code (prakharg24/yoloret): an FPN down and a PAN up. The maps that its layers exchange are
predictions, A·(5 + K) channels wide.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from spaces.architecture import Architecture, HeadName
from spaces.networks.conv_cost import ConvCost
from spaces.networks.conv_norm import conv_norm
from spaces.networks.decoupled_head import DecoupledHead, decoupled_convs
from spaces.networks.resample import resample

NUM_ANCHORS = 3
"""A: anchors per cell of `Head`, at each output stride."""
_SE_REDUCTION = 4
"""Channels of a detection layer per channel of its squeeze-excite bottleneck, which has at least one."""


class DetectionLayer(nn.Module):
    """1×1 expansion, depthwise 3×3, squeeze-excite, 1×1 projection: (B, in_channels, H, W) to (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, width: int, *, out_channels: int) -> None:
        super().__init__()
        self.expand = conv_norm(in_channels, width, activation=nn.ReLU6(inplace=True))
        self.depthwise = conv_norm(width, width, 3, groups=width, activation=nn.SiLU(inplace=True))
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, _gate_width(width), 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(_gate_width(width), width, 1),
            nn.Sigmoid(),
        )
        self.project = conv_norm(width, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return the layer's prediction map."""
        features = self.depthwise(self.expand(features))
        return self.project(features * self.gate(features))  # type: ignore[no-any-return]


class Head(nn.Module):
    """The detection layers of all scales, the paths between them, and the last convolutions.

    Args:
        channels: Output stride in pixels to channels of the features there.
        has_fpn: Whether each coarser scale sends its map to the next finer one.
        has_pan: Whether each finer scale then sends its refined map to the next coarser one.
        width: Channels of the finest scale's detection layers; each coarser scale has twice as many.
        out_channels: A·(5 + K).
        prediction_bias: Whether the last convolutions have a bias.
    """

    has_anchors = True

    def __init__(
        self,
        channels: Mapping[int, int],
        *,
        has_fpn: bool,
        has_pan: bool,
        width: int,
        out_channels: int,
        prediction_bias: bool,
    ) -> None:
        super().__init__()
        self.strides = tuple(sorted(channels))
        pairs = list(itertools.pairwise(self.strides)) if has_fpn else []
        widths = {stride: width * 2**step for step, stride in enumerate(self.strides)}
        # In both directions a path has as many channels as the finer of its two scales is wide.
        self.down = nn.ModuleDict({f"s{c}_to_s{f}": _path(out_channels, widths[f]) for f, c in pairs})
        self.top_down = nn.ModuleDict()
        for stride in self.strides:
            received = widths[stride] if any(stride == fine for fine, _ in pairs) else 0
            self.top_down[f"s{stride}"] = DetectionLayer(
                channels[stride] + received, widths[stride], out_channels=out_channels
            )
        self.up = nn.ModuleDict()
        self.bottom_up = nn.ModuleDict()
        if has_pan:
            self.up.update({f"s{f}_to_s{c}": _path(out_channels, widths[f]) for f, c in pairs})
            for step, stride in enumerate(self.strides):
                received = widths[self.strides[step - 1]] if step else 0
                self.bottom_up[f"s{stride}"] = DetectionLayer(
                    out_channels + received, widths[stride], out_channels=out_channels
                )
        self.predict = nn.ModuleDict(
            {f"s{s}": nn.Conv2d(out_channels, out_channels, 1, bias=prediction_bias) for s in self.strides}
        )

    @property
    def prediction_convs(self) -> list[nn.Module]:
        """The last convolution of each output stride, fine to coarse."""
        return list(self.predict.values())

    def forward(self, features: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            features: Output stride to (B, C, H, W).

        Returns:
            One map per output stride, fine to coarse, each (B, A·(5 + K), H, W).
        """
        maps: dict[int, Tensor] = {}
        for coarser, stride in zip((0, *self.strides[:0:-1]), self.strides[::-1], strict=True):
            maps[stride] = self._layer("top_down", features[stride], stride, maps.get(coarser), coarser)
        if self.bottom_up:
            refined: dict[int, Tensor] = {}
            for finer, stride in zip((0, *self.strides[:-1]), self.strides, strict=True):
                refined[stride] = self._layer("bottom_up", maps[stride], stride, refined.get(finer), finer)
            maps = refined
        return tuple(self.predict[f"s{stride}"](maps[stride]) for stride in self.strides)

    def _layer(self, way: str, own: Tensor, stride: int, other: Tensor | None, other_stride: int) -> Tensor:
        paths, layers = (self.down, self.top_down) if way == "top_down" else (self.up, self.bottom_up)
        if other is not None and paths:
            sent = paths[f"s{other_stride}_to_s{stride}"](other)
            own = torch.cat([resample(sent, from_stride=other_stride, to_stride=stride), own], dim=1)
        return layers[f"s{stride}"](own)  # type: ignore[no-any-return]


def _path(in_channels: int, out_channels: int) -> nn.Sequential:
    return conv_norm(in_channels, out_channels, activation=nn.ReLU6(inplace=True))


AnyHead = Head | DecoupledHead


class HeadEntry(Protocol):
    """One head. Both methods take the architecture, stride to channels of the head's input, and K."""

    def build(self, architecture: Architecture, channels: Mapping[int, int], num_classes: int) -> AnyHead:
        """Build the module."""

    def convs(self, architecture: Architecture, channels: Mapping[int, int], num_classes: int) -> Iterator[ConvCost]:
        """List the convolutions of that module."""


@dataclass(frozen=True, kw_only=True)
class PaperHead:
    """The paper's head, or one with fewer paths."""

    has_fpn: bool
    """As for `Head`."""
    has_pan: bool
    """As for `Head`."""

    def build(self, architecture: Architecture, channels: Mapping[int, int], num_classes: int) -> Head:
        """Build the module."""
        return Head(
            channels,
            has_fpn=self.has_fpn,
            has_pan=self.has_pan,
            width=architecture.head_width,
            out_channels=prediction_channels(num_classes),
            prediction_bias=architecture.prediction_bias,
        )

    def convs(self, architecture: Architecture, channels: Mapping[int, int], num_classes: int) -> Iterator[ConvCost]:
        """List the convolutions of that module."""
        out_channels = prediction_channels(num_classes)
        strides = sorted(channels)
        widths = {stride: architecture.head_width * 2**step for step, stride in enumerate(strides)}
        pairs = list(itertools.pairwise(strides)) if self.has_fpn else []
        from_coarser = {fine: widths[fine] for fine, _ in pairs}
        for fine, coarse in pairs:
            yield ConvCost(coarse, out_channels, widths[fine])
        for stride in strides:
            in_channels = channels[stride] + from_coarser.get(stride, 0)
            yield from _layer_convs(stride, in_channels, widths[stride], out_channels)
        if self.has_pan:
            from_finer = {coarse: widths[fine] for fine, coarse in pairs}
            for fine, _ in pairs:
                yield ConvCost(fine, out_channels, widths[fine])
            for stride in strides:
                in_channels = out_channels + from_finer.get(stride, 0)
                yield from _layer_convs(stride, in_channels, widths[stride], out_channels)
        for stride in strides:
            yield ConvCost(stride, out_channels, out_channels, has_norm=False, has_bias=architecture.prediction_bias)


class _Decoupled:
    """The decoupled head."""

    def build(self, architecture: Architecture, channels: Mapping[int, int], num_classes: int) -> DecoupledHead:
        return DecoupledHead(
            channels,
            width=architecture.head_width,
            num_classes=num_classes,
            prediction_bias=architecture.prediction_bias,
        )

    def convs(self, architecture: Architecture, channels: Mapping[int, int], num_classes: int) -> Iterator[ConvCost]:
        return decoupled_convs(
            channels,
            width=architecture.head_width,
            num_classes=num_classes,
            prediction_bias=architecture.prediction_bias,
        )


def prediction_channels(num_classes: int) -> int:
    """Return the channels of a prediction map of a head with anchors, A·(5 + K)."""
    return NUM_ANCHORS * (5 + num_classes)


def _gate_width(width: int) -> int:
    """Return the channels of the squeeze-excite bottleneck of a detection layer."""
    return max(1, width // _SE_REDUCTION)


def _layer_convs(stride: int, in_channels: int, width: int, out_channels: int) -> Iterator[ConvCost]:
    yield ConvCost(stride, in_channels, width)
    yield ConvCost(stride, width, width, 3, is_depthwise=True)
    yield ConvCost(0, width, _gate_width(width), has_norm=False, has_bias=True)
    yield ConvCost(0, _gate_width(width), width, has_norm=False, has_bias=True)
    yield ConvCost(stride, width, out_channels)


HEADS: dict[HeadName, HeadEntry] = {
    "fpn_pan": PaperHead(has_fpn=True, has_pan=True),
    "decoupled": _Decoupled(),
    "fpn": PaperHead(has_fpn=True, has_pan=False),
    "plain": PaperHead(has_fpn=False, has_pan=False),
}
"""Name to head."""
