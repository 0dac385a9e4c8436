"""What a network costs on paper: multiply-adds and parameters.

A multiply-add counts once. Convolutions (grouped ones included) and linear layers count; norms, activations, pooling
and sums do not, as in the paper's tables.
"""

import math

import torch
from torch import Tensor, nn


def count_macs(network: nn.Module, *, input_size: int) -> int:
    """Count the multiply-adds of one forward pass on one square image.

    Args:
        network: Takes (1, 3, input_size, input_size); its weights are not touched, its mode is restored.
        input_size: Pixels.
    """
    total = 0

    def add(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, input_size, input_size, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total


def count_params(network: nn.Module) -> int:
    """Count the trainable values; running statistics are buffers and do not count."""
    return sum(parameter.numel() for parameter in network.parameters())
