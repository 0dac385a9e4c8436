"""A detector small enough that a training takes a second."""

import torch
from torch import Tensor, nn

ANCHORS = (((10.0, 12.0), (20.0, 16.0), (16.0, 28.0)), ((30.0, 34.0), (48.0, 40.0), (40.0, 60.0)))
STRIDES = (8, 16)


class TinyNetwork(nn.Module):
    """Two output strides, 8 and 16, three anchors."""

    output_strides = STRIDES
    has_anchors = True

    def __init__(self, num_classes: int, *, width: int = 16, has_bias: bool = True) -> None:
        super().__init__()
        self.backbone = nn.Sequential(_block(3, width, 4), _block(width, width, 2))
        self.coarser = _block(width, width, 2)
        channels = 3 * (5 + num_classes)
        self.prediction_convs = nn.ModuleList([nn.Conv2d(width, channels, 1, bias=has_bias) for _ in STRIDES])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        fine = self.backbone(images)
        features = fine, self.coarser(fine)
        return tuple(conv(one) for conv, one in zip(self.prediction_convs, features, strict=True))


def _block(channels: int, out_channels: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(channels, out_channels, stride + 1, stride=stride, padding=stride // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def tiny_network(num_classes: int, *, seed: int = 0, has_bias: bool = True) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork(num_classes, has_bias=has_bias)
