"""Which of the GPUs that a process sees PyTorch can train on.

The driver lists GPUs that PyTorch cannot use: those whose driver is too old for its CUDA, those it has no kernels for, and
all but one of those divided into parts (MIG).
"""

import re
from typing import NamedTuple

import torch


class Gpus(NamedTuple):
    """What PyTorch can use."""

    usable: tuple[int, ...]
    """Numbers of the GPUs in PyTorch's order."""
    fault: str
    """Why GPUs that the driver lists are not among them, and what helps; empty where all are."""


def find_gpus() -> Gpus:
    """Return the GPUs that a training can run on."""
    if not torch.cuda.device_count():  # the driver's count, until CUDA has begun
        return Gpus((), "")
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return Gpus((), f"{str(error).strip().splitlines()[0]} (update the driver)")
    seen = range(torch.cuda.device_count())  # that of CUDA, from now on
    usable = tuple(index for index in seen if _has_kernels(torch.cuda.get_device_capability(index)))
    lacking = [torch.cuda.get_device_name(index) for index in seen if index not in usable]
    none_for = f"it has no kernels for {', '.join(lacking)} (install a PyTorch for an earlier CUDA)"
    return Gpus(usable, none_for if lacking else "")


def _has_kernels(capability: tuple[int, int]) -> bool:
    """Return whether PyTorch was built for GPUs of a compute capability: by binary of the same generation, or by PTX."""
    names = [re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name) for name in torch.cuda.get_arch_list()]
    if not any(names):  # a build that tells nothing, or of another maker's GPUs
        return True
    for name in filter(None, names):
        built = int(name[2]), int(name[3])
        is_general = name[4] in ("", "f") and built <= capability  # an `a` is for that one alone
        if built == capability or (is_general and (name[1] == "compute" or built[0] == capability[0])):
            return True
    return False
