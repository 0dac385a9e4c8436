"""A convolution and its batch norm, as necks and heads have them."""

from torch import nn

NORM_EPS = 1e-3
"""Epsilon of every batch norm of neck and head, as in the authors' code."""
NORM_MOMENTUM = 0.03
"""Weight of the newest batch in the running statistics; Keras's 0.01 is too slow for short trainings."""


def norm(channels: int) -> nn.BatchNorm2d:
    """Build a batch norm of neck or head."""
    return nn.BatchNorm2d(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    *,
    groups: int = 1,
    step: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """Build a convolution without bias, its batch norm, and an activation if one is given.

    Args:
        in_channels: Of its input.
        out_channels: Of its output.
        kernel: Odd; the margin is half of it, so that a convolution of step 1 keeps height and width.
        groups: Groups of channels; as many as there are channels make it depthwise.
        step: Cells of the input per cell of the output.
        activation: Follows the norm.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=step, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(out_channels), *([activation] if activation is not None else []))
