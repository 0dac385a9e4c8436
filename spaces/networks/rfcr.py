"""RFCR, raw feature collection and redistribution: one fusion of several scales is handed back to the output scales.

Legend: B batch, C channels, H W grid of a stride.

Source: YOLO-ReT, section 3.1; the authors' code (prakharg24/yoloret), whose order of pooling and convolution is kept:
output scales are convolved and then resampled, the shortcut's scale is pooled and then convolved.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from spaces.architecture import Shortcut
from spaces.networks.conv_norm import norm
from spaces.networks.resample import resample
from spaces.networks.shortcuts import SHORTCUTS
from spaces.scale_set import ScaleSet


class Rfcr(nn.Module):
    """The RFCR neck.

    Args:
        channels: Stride in pixels to channels of the backbone's features there.
        scale_set: Which strides are collected, where they are fused, which get the fusion.
        shortcut: How the finer scale at `shortcut_stride` is resampled, or "none".
        shortcut_stride: Stride of that scale in pixels; None with "none".
        width: Channels each collected scale is projected to.
        out_channels: Channels of the fusion.
        kernel: Odd kernel of the depthwise convolution that mixes the fusion.
    """

    def __init__(
        self,
        channels: Mapping[int, int],
        *,
        scale_set: ScaleSet,
        shortcut: Shortcut,
        shortcut_stride: int | None,
        width: int,
        out_channels: int,
        kernel: int,
    ) -> None:
        super().__init__()
        self.scale_set = scale_set
        self.shortcut = shortcut
        self.shortcut_stride = shortcut_stride
        self.collected = (*reversed(scale_set.collect), *((shortcut_stride,) if shortcut_stride else ()))
        self.collect = nn.ModuleDict(
            {f"s{stride}": self._collector(channels[stride], width, stride=stride) for stride in self.collected}
        )
        self.fuse_weights = nn.Parameter(torch.ones(len(self.collected)))  # in the order of `collected`, coarse to fine
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False),
            norm(width),
            nn.ReLU6(inplace=True),
            nn.Conv2d(width, out_channels, 1, bias=False),
            norm(out_channels),
            nn.ReLU6(inplace=True),
        )

    def forward(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Fuse and hand back.

        Args:
            features: Stride to (B, C, H, W), at least the collected strides and those handed back to.

        Returns:
            Stride to (B, C + out_channels, H, W), the raw features and the fusion, for each stride handed back to.
        """
        # One product and one sum per scale: a stacked sum would need five-dimensional tensors, which are slow on boards.
        fusion = self.fuse_weights[0] * self._project(features[self.collected[0]], self.collected[0])
        for index, stride in enumerate(self.collected[1:], start=1):
            fusion = fusion + self.fuse_weights[index] * self._project(features[stride], stride)  # (B, width, H, W)
        fusion = self.mix(fusion)  # (B, out_channels, H, W)
        fuse = self.scale_set.fuse
        return {
            stride: torch.cat([features[stride], resample(fusion, from_stride=fuse, to_stride=stride)], dim=1)
            for stride in self.scale_set.hand_back
        }

    def _project(self, raw: Tensor, stride: int) -> Tensor:
        collector = self.collect[f"s{stride}"]
        if stride == self.shortcut_stride:
            return collector(SHORTCUTS[self.shortcut].pool(raw, self.scale_set.fuse // stride))  # type: ignore[no-any-return]
        return resample(collector(raw), from_stride=stride, to_stride=self.scale_set.fuse)

    def _collector(self, in_channels: int, width: int, *, stride: int) -> nn.Module:
        if stride == self.shortcut_stride:
            return SHORTCUTS[self.shortcut].build(in_channels, width, factor=self.scale_set.fuse // stride)
        return nn.Conv2d(in_channels, width, 1, bias=False)
