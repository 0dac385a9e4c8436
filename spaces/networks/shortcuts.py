"""The shortcuts: how RFCR brings the scale finer than its finest collected one to the stride of the fusion.

Legend: B batch, C channels, H W grid of a stride.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from spaces.architecture import Shortcut
from spaces.networks.conv_cost import ConvCost


@dataclass(frozen=True, kw_only=True)
class ShortcutEntry:
    """One shortcut: a pooling without parameters, then one convolution without bias or norm."""

    pool: Callable[[Tensor, int], Tensor]
    """From (B, C, H, W) and a factor to (B, C, H / factor, W / factor), or to the same map if the convolution strides."""
    is_strided: bool = False
    """Whether kernel and stride of the convolution are the factor; they are 1 otherwise."""

    def build(self, in_channels: int, width: int, *, factor: int) -> nn.Conv2d:
        """Build the convolution, to `width` channels; `factor` is the fusion's stride divided by the shortcut's."""
        kernel = self._kernel(factor)
        return nn.Conv2d(in_channels, width, kernel, stride=kernel, bias=False)

    def conv(self, in_channels: int, width: int, *, factor: int, fuse: int) -> ConvCost:
        """Return the cost of that convolution; its output has the stride `fuse`, in pixels."""
        return ConvCost(fuse, in_channels, width, self._kernel(factor), has_norm=False)

    def _kernel(self, factor: int) -> int:
        return factor if self.is_strided else 1


def _keep(features: Tensor, factor: int) -> Tensor:
    return features


SHORTCUTS: dict[Shortcut, ShortcutEntry] = {
    "conv": ShortcutEntry(pool=_keep, is_strided=True),
    "maxpool": ShortcutEntry(pool=F.max_pool2d),
    "avgpool": ShortcutEntry(pool=F.avg_pool2d),
    "none": ShortcutEntry(pool=_keep),
}
"""Name to shortcut. The entry of "none" is never used: without a shortcut no such scale is collected."""
