"""Scoring in float32 on GPUs, as on CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_tf32() -> Iterator[None]:
    """Compute float32 convolutions on a GPU in float32 within the block.

    PyTorch's default is TF32, which rounds their input to 10 bits of mantissa. An export compares a trial's AP with that of
    the network on a CPU.
    """
    # Not by `allow_tf32`, the earlier switch: it cannot be read where a program has used this one.
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # of a class that takes the module's place
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before
