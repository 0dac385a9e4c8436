"""The cost on paper of one convolution of a neck or head, from its description alone."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a network or of a part of it."""

    macs: int
    """Multiply-adds for one image, as `spaces.networks.macs.count_macs` counts them."""
    params: int
    """Trainable values, as `spaces.networks.macs.count_params` counts them."""


@dataclass(frozen=True)
class ConvCost:
    """A convolution, with the norm or bias behind it and the weighted sum before it."""

    stride: int
    """Pixels of the image per cell of its output; 0 after a global pooling."""
    in_channels: int
    out_channels: int
    kernel: int = 1
    is_depthwise: bool = False
    has_norm: bool = True
    has_bias: bool = False
    num_summands: int = 0
    """Maps that are summed to make its input, with one trained weight each; 0 if there is no such sum."""

    def at(self, input_hw: tuple[int, int]) -> Cost:
        """Return the cost for an image of this height and width, in pixels."""
        cells = (input_hw[0] // self.stride) * (input_hw[1] // self.stride) if self.stride else 1
        weights = (1 if self.is_depthwise else self.in_channels) * self.out_channels * self.kernel**2
        others = (2 * self.has_norm + self.has_bias) * self.out_channels + self.num_summands
        return Cost(macs=cells * weights, params=weights + others)
