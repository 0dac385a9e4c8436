"""The detection head: one light detection layer a scale, and paths between the scales.

Legend: B batch, C channels, H W grid of a stride, A anchors a cell, K classes.

Source: YOLO-ReT's authors' code (prakharg24/yoloret): an FPN down and a PAN up whose maps between the layers are
predictions themselves, A·(5 + K) channels wide.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from spaces.architecture import HeadName
from spaces.networks.bifpn import BiFpn
from spaces.networks.rfcr import NORM_EPS, NORM_MOMENTUM, resample

SE_REDUCTION = 4
"""Channels of a detection layer for one of its squeeze-excite gate."""


class DetectionLayer(nn.Module):
    """Expand, look around, gate, project: (B, in_channels, H, W) to (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, width: int, *, out_channels: int) -> None:
        super().__init__()
        self.expand = _conv_norm(in_channels, width, activation=nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width, eps=NORM_EPS, momentum=NORM_MOMENTUM),
            nn.SiLU(inplace=True),
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // SE_REDUCTION, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(width // SE_REDUCTION, width, 1),
            nn.Sigmoid(),
        )
        self.project = _conv_norm(width, out_channels, activation=None)

    def forward(self, features: Tensor) -> Tensor:
        """Give the layer's prediction map."""
        features = self.depthwise(self.expand(features))
        return self.project(features * self.gate(features))  # type: ignore[no-any-return]


class Head(nn.Module):
    """All scales' detection layers, the paths between them, and the last convolutions.

    Args:
        channels: Output stride in pixels to channels of the neck's features there.
        name: Which paths there are between the scales.
        width: Channels of the finest scale's detection layers; each coarser scale has twice as many.
        out_channels: A·(5 + K).
        prediction_bias: Whether the last convolutions have a bias.
    """

    def __init__(
        self, channels: Mapping[int, int], *, name: HeadName, width: int, out_channels: int, prediction_bias: bool
    ) -> None:
        super().__init__()
        self.strides = tuple(sorted(channels))
        self.join = BiFpn(channels, width=width) if name == "bifpn" else None
        if self.join is not None:
            channels, name = dict.fromkeys(self.strides, width), "plain"
        pairs = list(zip(self.strides[:-1], self.strides[1:], strict=True)) if name != "plain" else []
        widths = {stride: width * 2**step for step, stride in enumerate(self.strides)}
        # A path carries as many channels as the finer of the scales it joins is wide, either way.
        self.down = nn.ModuleDict({f"s{c}_to_s{f}": _path(out_channels, widths[f]) for f, c in pairs})
        self.top_down = nn.ModuleDict()
        for stride in self.strides:
            received = widths[stride] if any(stride == fine for fine, _ in pairs) else 0
            self.top_down[f"s{stride}"] = DetectionLayer(
                channels[stride] + received, widths[stride], out_channels=out_channels
            )
        self.up = nn.ModuleDict()
        self.bottom_up = nn.ModuleDict()
        if name == "fpn_pan":
            self.up.update({f"s{f}_to_s{c}": _path(out_channels, widths[f]) for f, c in pairs})
            for step, stride in enumerate(self.strides):
                received = widths[self.strides[step - 1]] if step else 0
                self.bottom_up[f"s{stride}"] = DetectionLayer(
                    out_channels + received, widths[stride], out_channels=out_channels
                )
        self.predict = nn.ModuleDict(
            {f"s{s}": nn.Conv2d(out_channels, out_channels, 1, bias=prediction_bias) for s in self.strides}
        )

    def forward(self, features: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            features: Output stride to (B, C, H, W).

        Returns:
            One map an output stride, fine to coarse, each (B, A·(5 + K), H, W).
        """
        if self.join is not None:
            features = self.join(features)
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


def _conv_norm(in_channels: int, out_channels: int, *, activation: nn.Module | None) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels, eps=NORM_EPS, momentum=NORM_MOMENTUM),
    ]
    return nn.Sequential(*layers, *([activation] if activation else []))


def _path(in_channels: int, out_channels: int) -> nn.Sequential:
    return _conv_norm(in_channels, out_channels, activation=nn.ReLU6(inplace=True))
