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
    """Why GPUs that the driver lists are not among them; empty where all are."""


def find_gpus() -> Gpus:
    """Return the GPUs that a training can run on."""
    if not torch.cuda.is_available():  # which asks the driver alone
        return Gpus((), "")
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return Gpus((), str(error).strip().splitlines()[0])
    seen = range(torch.cuda.device_count())  # that of CUDA, from now on
    usable = tuple(index for index in seen if _has_kernels(torch.cuda.get_device_capability(index)))
    lacking = [torch.cuda.get_device_name(index) for index in seen if index not in usable]
    return Gpus(usable, f"it has no kernels for {', '.join(lacking)}" if lacking else "")


def _has_kernels(capability: tuple[int, int]) -> bool:
    """Return whether PyTorch was built for GPUs of a compute capability: by binary of the same generation, or by PTX."""
    for name in torch.cuda.get_arch_list():
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
        if match is None:
            continue
        built = int(match[2]), int(match[3])
        if match[4] in ("", "f") and built <= capability and (match[1] == "compute" or built[0] == capability[0]):
            return True
        if built == capability:
            return True
    return False
