"""Convolutions for training on a CPU: in bfloat16 or float32, whichever is faster, and past three gaps of oneDNN.

* Few multiply-adds: in bfloat16 a convolution costs 0.15 ms whatever it computes, three times as long as a small one in
  float32 (1×1, 16 to 64 channels, 8 images of 4×4: 0.23 and 0.08 ms with its gradients). With 3 million multiply-adds both
  take as long; a large one takes half the time in bfloat16. So each is computed in the faster format: a step of a network of
  64 px takes 0.65 to 0.87 of the time, of 96 px 0.75 to 0.96, of 160 px as long as before (docs/choices.md).
* Stride 2: no fast kernel for the gradient of the input. In yoloret-m0.75 at 320 px these four convolutions take half of all
  convolutions' time, 16 times as long as in float32. Computing this gradient in float32 saves 27 % of a training step (0.198
  instead of 0.273 s of CPU time; batches of 4, one thread, AVX512-BF16, both kinds of step in turn).
* Kernels larger than 3×3: no fast kernel for the gradient of the weight. That of a 5×5 kernel takes 50 times as long as that
  of a 3×3 one (19 and 0.35 ms; 8 images, 240 channels, 16×16). So it is put together from gradients of 3×3 kernels.
* 1×1 with a stride and fewer than 16 input channels, in either format: the gradient of the weight writes past its memory,
  which ends the process (PyTorch 2.15, images stored channels last). So what the stride leaves out is left out before.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FEW_MACS = 3e6
"""Of a batch: below, float32 is faster."""
_PART = 3
"""Side of the kernels that are fast."""
_BLOCK = 16
"""Channels that oneDNN's kernels take at once."""


class MixedConv2d(nn.Conv2d):
    """A convolution with gradients of its own, and under autocast to bfloat16 a format; names and weights are unchanged."""

    def forward(self, input: Tensor) -> Tensor:
        """Compute the convolution."""
        if not torch.is_grad_enabled():
            return super().forward(input)
        if _is_fatal(self):
            return F.conv2d(input[..., :: self.stride[0], :: self.stride[1]], self.weight, self.bias)
        if not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        assert not isinstance(self.padding, str)  # see `mix_convolutions`
        if self._num_macs(input) < _FEW_MACS:
            # Not `F.conv2d`: autocast would cast it.
            output = torch.convolution(
                input.float(),
                self.weight,
                self.bias,
                self.stride,
                self.padding,
                self.dilation,
                False,
                (0, 0),
                self.groups,
            )
            # A gate (squeeze-excite) must not turn the large map that it multiplies into float32.
            return output.to(input.dtype) if input.shape[-1] == 1 else output
        if not _is_slow_depthwise(self):
            return super().forward(input)
        mixed: Tensor = _Mixed.apply(
            input.to(torch.bfloat16), self.weight, (self.stride, self.padding, self.dilation, self.groups)
        )
        return mixed

    def _num_macs(self, input: Tensor) -> float:
        """Return the multiply-adds of a batch, whose border is not counted."""
        batch, _, height, width = input.shape
        return batch * height * width * self.weight.numel() / (self.stride[0] * self.stride[1])


def mix_convolutions(network: nn.Module) -> None:
    """Turn a network's convolutions into `MixedConv2d`, in place."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = MixedConv2d


def _is_fatal(conv: nn.Conv2d) -> bool:
    is_pointwise = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
    return is_pointwise and max(conv.stride) > 1 and conv.in_channels < _BLOCK


def _is_slow_depthwise(conv: nn.Conv2d) -> bool:
    is_depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1
    is_slow = max(conv.stride) > 1 or _is_large(conv.weight)
    return is_depthwise and is_slow and conv.bias is None and max(conv.dilation) == 1


def _is_large(weight: Tensor) -> bool:
    return min(weight.shape[-2:]) >= _PART and max(weight.shape[-2:]) > _PART


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
        of_features = _of_features(gradient, features, weight, ctx.options)
        of_weight = _of_weight if not _is_large(weight) else _of_large_weight
        return of_features.to(features.dtype), of_weight(gradient, features, weight, ctx.options).float(), None


def _of_features(gradient: Tensor, features: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
    if max(options[0]) > 1:
        gradient, weight = gradient.float(), weight.float()
        features = torch.empty_like(features, dtype=torch.float32)  # its values are not used
    return _gradient(gradient, features, weight, options, [True, False, False])[0]


def _of_weight(gradient: Tensor, features: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
    return _gradient(gradient, features, weight, options, [False, True, False])[1]


def _of_large_weight(gradient: Tensor, features: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
    """Put the gradient together from those of 3×3 kernels, each of which sees the features from another corner on."""
    stride, (pad_y, pad_x), dilation, groups = options
    padded = F.pad(features, (pad_x, pad_x, pad_y, pad_y))
    height, width = ((size - 1) * step + _PART for size, step in zip(gradient.shape[-2:], stride, strict=True))
    whole, part = torch.empty_like(weight), weight.new_empty(len(weight), 1, _PART, _PART)
    for y, x in product(*(_parts(size) for size in weight.shape[-2:])):
        seen = padded[..., y : y + height, x : x + width].contiguous(memory_format=torch.channels_last)
        found = _of_weight(gradient, seen, part, (stride, (0, 0), dilation, groups))
        whole[..., y : y + _PART, x : x + _PART] = found
    return whole


def _parts(size: int) -> list[int]:
    """Return where parts of 3 begin that cover a kernel's side; the last ones may overlap."""
    return [*range(0, size - _PART, _PART), size - _PART]


def _gradient(
    gradient: Tensor, features: Tensor, weight: Tensor, options: tuple[Any, ...], wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    stride, padding, dilation, groups = options
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, features, weight, None, stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return result
