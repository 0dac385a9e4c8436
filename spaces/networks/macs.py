"""The multiply-adds and parameters of a built network.

A multiply-add counts once. Convolutions (grouped ones included) and linear layers count; norms, activations, pooling
and sums do not, as in the paper's tables.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def count_macs(network: nn.Module, *, input_hw: tuple[int, int]) -> int:
    """Count the multiply-adds of one forward pass on one image.

    Args:
        network: Takes (1, 3, height, width); its weights stay as they are, its mode is restored.
        input_hw: Height and width, pixels.
    """
    device = next(network.parameters()).device
    with counting_macs(network) as counted:
        network(torch.zeros(1, 3, *input_hw, device=device))
    return sum(counted)


@contextmanager
def counting_macs(module: nn.Module) -> Iterator[list[int]]:
    """Collect the multiply-adds of each convolution and linear layer that runs in the block, in the order they run.

    Args:
        module: Runs in evaluation mode and without gradients; its mode is restored afterwards.
    """
    counted: list[int] = []

    def add(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            counted.append(output.numel() * layer.in_channels // layer.groups * math.prod(layer.kernel_size))
        elif isinstance(layer, nn.Linear):
            counted.append(output.numel() * layer.in_features)

    hooks = [one.register_forward_hook(add) for one in module.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()
            yield counted
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()


def count_params(network: nn.Module) -> int:
    """Count the trainable values; running statistics are buffers and do not count."""
    return sum(parameter.numel() for parameter in network.parameters())
