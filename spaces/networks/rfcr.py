"""RFCR, raw feature collection and redistribution: one fusion of several scales is handed back to the output scales.

Legend: B batch, C channels, H W grid of a stride.

Source: YOLO-ReT, section 3.1; the authors' code (prakharg24/yoloret), whose order of pooling and convolution is kept:
output scales are convolved and then resampled, the shortcut's scale is pooled and then convolved.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.architecture import Shortcut
from spaces.networks.shortcuts import SHORTCUTS
from spaces.scale_set import ScaleSet

NORM_EPS = 1e-3
"""Epsilon of every batch norm of neck and head, as in the authors' code."""
NORM_MOMENTUM = 0.03
"""Weight of the newest batch in the running statistics; Keras's 0.01 is too slow for short trainings."""


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
            nn.BatchNorm2d(width, eps=NORM_EPS, momentum=NORM_MOMENTUM),
            nn.ReLU6(inplace=True),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels, eps=NORM_EPS, momentum=NORM_MOMENTUM),
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


def resample(features: Tensor, *, from_stride: int, to_stride: int) -> Tensor:
    """Resample features to another stride: nearest upsampling to a finer one, max pooling to a coarser one.

    Args:
        features: (B, C, H, W) at `from_stride`.
        from_stride: Pixels of the image per cell of the input.
        to_stride: Pixels of the image per cell of the output; one stride is a multiple of the other.

    Returns:
        (B, C, H * from_stride / to_stride, W * from_stride / to_stride).
    """
    if to_stride < from_stride:
        return F.interpolate(features, scale_factor=float(from_stride // to_stride), mode="nearest")
    if to_stride > from_stride:
        return F.max_pool2d(features, to_stride // from_stride)
    return features
