"""The backbones, as lists of blocks that can be truncated and tapped.

Legend: B batch, C channels, H W height and width of the image.

A block is one block of the timm model: an inverted residual, a depthwise-separable convolution, or a plain convolution
with its norm. The last convolution of the EfficientNet family, before the pooling, counts as the last block, as in the
paper ("the last two" of MobileNetV2 are its 320-channel block and its 1280-channel convolution).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import timm
import torch
from torch import Tensor, nn

from spaces.scale_set import ArchitectureError

BACKBONES: dict[str, str] = {
    "mobilenetv2_035": "MobileNetV2 ×0.35",
    "mobilenetv2_050": "MobileNetV2 ×0.5",
    "mobilenetv2_075": "MobileNetV2 ×0.75, the paper's for Jetson Nano",
    "mobilenetv2_100": "MobileNetV2 ×1.0",
    "mobilenetv2_140": "MobileNetV2 ×1.4, the paper's for Xavier NX",
    "mobilenetv3_small_050": "MobileNetV3-Small ×0.5",
    "mobilenetv3_small_100": "MobileNetV3-Small",
    "mobilenetv3_large_100": "MobileNetV3-Large",
    "mobilenetv4_conv_small_050": "MobileNetV4-Conv-Small ×0.5",
    "mobilenetv4_conv_small": "MobileNetV4-Conv-Small, no squeeze-excite",
    "mobilenetv4_conv_medium": "MobileNetV4-Conv-Medium",
    "efficientnet_lite0": "EfficientNet-Lite0, ReLU6 and no squeeze-excite",
    "efficientnet_lite1": "EfficientNet-Lite1, more blocks",
    "efficientnet_lite2": "EfficientNet-Lite2, more blocks and wider",
    "efficientnet_b0": "EfficientNet-B0",
    "efficientnet_b3": "EfficientNet-B3, the paper's for AGX Xavier",
}
"""Name in timm to a description. A timm model fits if its features are ``conv_stem``, ``bn1`` and ``blocks`` in a row, with
``conv_head`` and ``bn2`` behind where it has them. GhostNet does not fit: it has an activation between."""

_TENSORFLOW_NORM_EPS, _NORM_EPS = 1e-3, 1e-5
_FROM_TENSORFLOW = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
"""Backbones whose ImageNet weights were trained with TensorFlow's epsilon of batch norms."""


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """The output shape of one block."""

    stride: int
    """Pixels of the image per cell of the block's output."""
    channels: int
    """Channels of the block's output."""


class Backbone(nn.Module):
    """The first blocks of an image classifier, tapped after the last kept block of each requested stride.

    Args:
        stem: From (B, 3, H, W) to the first block's input.
        blocks: The kept blocks in order.
        taps: Stride in pixels to index of the block whose output is taken.
    """

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], *, taps: dict[int, int]) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self._stride_after = {index: stride for stride, index in taps.items()}

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the tapped features.

        Args:
            images: (B, 3, H, W) float32, normalised.

        Returns:
            Stride to (B, C, H / stride, W / stride).
        """
        features = self.stem(images)
        tapped = {}
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self._stride_after:
                tapped[self._stride_after[index]] = features
        return tapped


def build_blocks(name: str) -> tuple[nn.Module, list[nn.Module]]:
    """Build a whole backbone with random weights, as its stem and its blocks.

    Raises:
        ArchitectureError: the name is not in the table.
    """
    return split_blocks(build_classifier(name))


def build_classifier(name: str, *, pretrained: bool = False) -> nn.Module:
    """Build a backbone's whole timm classifier, with random weights or those that timm downloads and keeps.

    Raises:
        ArchitectureError: the name is not in the table.
    """
    check_backbone(name)
    options: dict[str, Any] = {"bn_eps": _TENSORFLOW_NORM_EPS} if name in _FROM_TENSORFLOW else {}
    model: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    return model


def adapt_norm_variances(name: str, network: nn.Module) -> None:
    """Adjust the variances of batch norms with TensorFlow's epsilon to weights that were trained with PyTorch's.

    With such weights the backbone then gives the same outputs. Variances change in place; other backbones stay as they are.

    Args:
        name: The backbone's.
        network: The backbone, or its classifier.
    """
    for module in network.modules() if name in _FROM_TENSORFLOW else ():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var -= module.eps - _NORM_EPS


def split_blocks(model: Any) -> tuple[nn.Module, list[nn.Module]]:
    """Split a timm classifier into its stem and its blocks, which share its weights."""
    stem = nn.Sequential(model.conv_stem, model.bn1)
    blocks = [block for stage in model.blocks for block in stage]
    if hasattr(model, "bn2"):  # EfficientNet family: conv_head comes before the pooling, so it is a block
        blocks.append(nn.Sequential(model.conv_head, model.bn2))
    return stem, blocks


@cache
def block_shapes(name: str) -> tuple[BlockShape, ...]:
    """Return stride and channels of every block of a backbone, measured on the model itself (built without memory).

    Raises:
        ArchitectureError: the name is not in the table.
    """
    with torch.device("meta"):
        stem, blocks = build_blocks(name)
        features = stem.eval()(torch.empty(1, 3, 64, 64))
        shapes = []
        for block in blocks:
            features = block.eval()(features)
            shapes.append(BlockShape(stride=64 // features.shape[-1], channels=features.shape[1]))
    return tuple(shapes)


def check_backbone(name: str) -> None:
    """Check that a backbone is known.

    Raises:
        ArchitectureError: it is not in the table; the hint lists those that are.
    """
    if name not in BACKBONES:
        raise ArchitectureError(f"backbone {name!r} is unknown", hint=f"choose one of {', '.join(BACKBONES)}")
