"""BiFPN, the neck that RFCR is compared with: weighted sums of neighbouring scales, top-down and then bottom-up.

Legend: B batch, C channels, H W grid of a stride.

Source: Tan, Pang and Le, EfficientDet, section 3 (one layer, fast normalised fusion); norms are those of the heads.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from spaces.networks.conv_norm import conv_norm, norm
from spaces.networks.resample import resample

_EPS = 1e-4


class BiFpn(nn.Module):
    """One layer of BiFPN.

    Args:
        channels: Stride in pixels to channels of the features there.
        width: Channels of every scale of the output.
    """

    def __init__(self, channels: Mapping[int, int], *, width: int) -> None:
        super().__init__()
        self.strides = tuple(sorted(channels))
        self.lateral = nn.ModuleDict({f"s{s}": conv_norm(channels[s], width) for s in self.strides})
        self.top_down = nn.ModuleDict({f"s{s}": _Fusion(2, width) for s in self.strides[:-1]})
        # Bottom-up, the coarsest scale has two inputs because it has no top-down node; the finest has no node at all.
        self.bottom_up = nn.ModuleDict(
            {f"s{s}": _Fusion(2 if s == self.strides[-1] else 3, width) for s in self.strides[1:]}
        )

    def forward(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Return stride to (B, width, H, W), from stride to (B, C, H, W)."""
        lateral = {stride: self.lateral[f"s{stride}"](features[stride]) for stride in self.strides}
        coarsest = self.strides[-1]
        down = {coarsest: lateral[coarsest]}
        for coarser, stride in zip(self.strides[:0:-1], self.strides[-2::-1], strict=True):
            handed = resample(down[coarser], from_stride=coarser, to_stride=stride)
            down[stride] = self.top_down[f"s{stride}"]([lateral[stride], handed])
        up = {self.strides[0]: down[self.strides[0]]}
        for finer, stride in zip(self.strides[:-1], self.strides[1:], strict=True):
            handed = resample(up[finer], from_stride=finer, to_stride=stride)
            own = [lateral[stride]] if stride == coarsest else [lateral[stride], down[stride]]
            up[stride] = self.bottom_up[f"s{stride}"]([*own, handed])
        return up


class _Fusion(nn.Module):
    """A sum with weights of at least 0 that add up to 1, then a depthwise-separable convolution."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        self.mix = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            norm(width),
        )

    def forward(self, inputs: list[Tensor]) -> Tensor:
        weights = torch.relu(self.weights)
        weights = weights / (weights.sum() + _EPS)
        total = weights[0] * inputs[0]
        for index, one in enumerate(inputs[1:], start=1):
            total = total + weights[index] * one
        return self.mix(total)  # type: ignore[no-any-return]
