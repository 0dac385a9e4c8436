"""Weights handed from one trained network to another.

Truncation nests: a backbone's block computes the same whatever is cut after it. The neck's and head's parts are named by
the stride they work at, so what two architectures have in common carries the same name, and the same shape where its
widths are the same.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def inherit_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Copy what fits by name and shape, norms' statistics included.

    A module is taken whole or not at all: a convolution's bias is worth nothing without its weight.

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
