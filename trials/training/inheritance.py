"""Inheritance of weights from one trained network by another.

Truncations are nested: a block of the backbone does not depend on the blocks cut off after it. Parts of neck and head are
named by their stride, so parts that two architectures share have the same names, and the same shapes if their widths are
equal.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def inherit_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Copy the values that fit by name and shape, including batch norms' statistics.

    A module is copied as a whole or not at all: a convolution's bias is useless without its weight.

    Args:
        network: Changed in place.
        weights: A trained network's `state_dict`.

    Returns:
        The share of the network's values that were copied, 0 to 1.
    """
    copied = whole = 0
    with torch.no_grad():
        for prefix, module in network.named_modules():
            own = {
                f"{prefix}.{name}" if prefix else name: value
                for name, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            }
            size = sum(value.numel() for value in own.values())
            whole += size
            if all(name in weights and weights[name].shape == value.shape for name, value in own.items()):
                copied += size
                for name, value in own.items():
                    value.copy_(weights[name])
    return copied / whole if whole else 0.0
