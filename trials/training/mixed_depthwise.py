"""Strided depthwise convolutions for training in bfloat16 on a CPU.

oneDNN has no fast kernel for the gradient of their input in bfloat16: in yoloret-m0.75 at 320 px these four convolutions
take half of all convolutions' time, 16 times as long as in float32. Computing this gradient in float32 saves 27 % of a
training step (0.198 instead of 0.273 s of CPU time; batches of 4, one thread, AVX512-BF16, both kinds of step in turn).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MixedDepthwiseConv2d(nn.Conv2d):
    """A strided depthwise convolution whose backward pass mixes number formats; names and weights are unchanged."""

    def forward(self, input: Tensor) -> Tensor:
        """Compute the convolution; under autocast to bfloat16 the gradient of the input is float32."""
        if not torch.is_autocast_enabled(input.device.type) or not torch.is_grad_enabled():
            return super().forward(input)
        output: Tensor = _Mixed.apply(
            input.to(torch.bfloat16), self.weight, (self.stride, self.padding, self.dilation, self.groups)
        )
        return output


def mix_depthwise(network: nn.Module) -> None:
    """Turn a network's strided depthwise convolutions into `MixedDepthwiseConv2d`, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _is_strided_depthwise(module):
            module.__class__ = MixedDepthwiseConv2d


def _is_strided_depthwise(conv: nn.Conv2d) -> bool:
    is_depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1
    return is_depthwise and max(conv.stride) > 1 and conv.bias is None and conv.padding_mode == "zeros"


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
        cast = weight.to(features.dtype)
        ctx.save_for_backward(features, cast)
        ctx.options = options
        stride, padding, dilation, groups = options
        return F.conv2d(features, cast, None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        features, weight = ctx.saved_tensors
        like_features = torch.empty_like(features, dtype=torch.float32)  # its values are not used
        of_features = _gradient(gradient.float(), like_features, weight.float(), ctx.options, [True, False, False])[0]
        of_weight = _gradient(gradient, features, weight, ctx.options, [False, True, False])[1]
        return of_features.to(features.dtype), of_weight.float(), None


def _gradient(
    gradient: Tensor, features: Tensor, weight: Tensor, options: tuple[Any, ...], wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    stride, padding, dilation, groups = options
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, features, weight, None, stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return result
