"""Reads files of tensors without running code from them."""

import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,  # a length in the file is of gigabytes
    struct.error,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What the readers raise for a damaged file, found by cutting files at every length and by changing single bytes."""


def read_tensors(path: Path) -> Any:
    """Return what a file of torch or safetensors holds, on the CPU.

    A file of torch is a pickle, which may hold code: only tensors and plain values are read from it.

    Raises:
        ValueError: the file is damaged, or holds code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise ValueError(first_line(error)) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; its kind where it has none, as an `EOFError` of torch's."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
