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

    What was learnt together is copied together or not at all: a convolution, its bias and the norm of its output. The
    weights of a sum of scales are copied only where the same scales are summed.

    Args:
        network: Changed in place.
        weights: A trained network's `state_dict`.

    Returns:
        The share of the network's values that were copied, 0 to 1.
    """
    own_values = network.state_dict(keep_vars=True)
    copied = whole = 0
    with torch.no_grad():
        for modules in _learnt_together(network):
            values = {name: own_values[name] for prefix, module in modules for name in _direct_names(prefix, module)}
            size = sum(value.numel() for value in values.values())
            whole += size
            is_same_inside = all(_below(prefix, own_values) == _below(prefix, weights) for prefix, _ in modules)
            if is_same_inside and all(weights[name].shape == value.shape for name, value in values.items()):
                copied += size
                for name, value in values.items():
                    value.copy_(weights[name])
    return copied / whole if whole else 0.0


def _learnt_together(network: nn.Module) -> list[list[tuple[str, nn.Module]]]:
    """Group the modules that hold values, each with its prefix: a convolution and the norm after it, any other alone."""
    groups: list[list[tuple[str, nn.Module]]] = []
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        if not _direct_names(prefix, module):
            continue
        if isinstance(module, nn.BatchNorm2d) and groups and isinstance(groups[-1][-1][1], nn.Conv2d):
            groups[-1].append((prefix, module))
        else:
            groups.append([(prefix, module)])
    return groups


def _direct_names(prefix: str, module: nn.Module) -> list[str]:
    """Return the names of the values that a module holds itself, not in a part of it."""
    direct = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return [prefix + name for name, _ in direct]


def _below(prefix: str, values: Mapping[str, Tensor]) -> set[str]:
    """Return the names that start with a prefix; a module's own values may count its parts by position."""
    return {name for name in values if name.startswith(prefix)}
