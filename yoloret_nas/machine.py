"""What this machine offers for training: its GPUs and its cores."""

import os
from collections.abc import Sequence

_MOST_OF_A_GPU = 4
_MEMORY_OF_AN_IMAGE = 4 * 2**30 // 16
"""Bytes; networks of `nano` and the presets with batches of 16 at 416 px take 3.2 GiB."""
_MEMORY_OF_A_CONTEXT = 2**29
"""Bytes that CUDA takes of a GPU for each process that has measured on it, as long as the process lives; an estimate."""


def visible_gpus() -> tuple[str, ...]:
    """Return what CUDA_VISIBLE_DEVICES must be to see each usable GPU alone; empty without one.

    Where the variable is set, only the GPUs it names are used.
    """
    from trials.gpus import find_gpus

    usable = find_gpus().usable
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(map(str, usable))
    names = [name.strip() for name in named.split(",") if name.strip()]
    return tuple(names[index] for index in usable if index < len(names))


def why_no_gpu() -> str:
    """Return why PyTorch cannot use a GPU that the driver lists; empty where it can, or there is none."""
    from trials.gpus import find_gpus

    return find_gpus().fault


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def trials_at_once(gpus: Sequence[str], *, batch_size: int, is_gpu_timed: bool) -> int:
    """Return how many trials to train at once: one a core on a CPU; on GPUs as many as fit the smallest of them.

    One training of a small network leaves a large GPU idle most of the time. A GPU takes one training for each 32
    multiprocessors and each 4 GiB of memory (with batches of 16; more with larger ones), and up to four. With four at
    once an H200 (132 multiprocessors) trained 1.6 times as many images a second as with one, with eight 1.8 times
    (docs/gpu.md). Each needs two cores for its images.

    Args:
        gpus: As `visible_gpus` returns them.
        batch_size: Images of a step.
        is_gpu_timed: Whether trials also measure latency on one of them: then it holds a part of each trial of the others.
    """
    cores = usable_cores()
    if not gpus:
        return cores
    import torch

    from trials.gpus import find_gpus

    usable = find_gpus().usable
    memory = _MEMORY_OF_AN_IMAGE * max(16, batch_size)
    if is_gpu_timed:
        memory += _MEMORY_OF_A_CONTEXT * (len(gpus) - 1)
    # Its size, not what is free: to ask for that would take some of it, for as long as the search lasts.
    sizes = [torch.cuda.get_device_properties(index) for index in usable]
    room = min(min(one.multi_processor_count // 32, one.total_memory // memory) for one in sizes)
    return len(gpus) * max(1, min(_MOST_OF_A_GPU, room, cores // (2 * len(gpus))))


def threads_of_each(workers: int) -> int:
    """Return the threads of each of several trainings at once: its share of the cores.

    Small networks gain nothing from a second thread, and two trainings that share cores by threads lose an order of
    magnitude to each other's spinning. On a GPU the share also bounds the processes that prepare images.
    """
    return max(1, usable_cores() // workers)
