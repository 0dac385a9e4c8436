"""Features of one stride at another.

Legend: B batch, C channels, H W grid of a stride.
"""

from torch import Tensor
from torch.nn import functional as F


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
