"""What this machine offers for training: its GPUs and its cores."""

import os


def visible_gpus() -> tuple[str, ...]:
    """Return what CUDA_VISIBLE_DEVICES must be to see each usable GPU alone; empty without one.

    Where the variable is set, only the GPUs it names are used.
    """
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())[:count]
    return tuple(str(index) for index in range(count))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


_TRIALS_OF_A_GPU = 4
_CORES_OF_A_TRIAL = 4
_GIB_OF_A_TRIAL = 8


def trials_at_once(gpus: tuple[str, ...]) -> int:
    """Return how many trials to run at once: one for each core, or on GPUs up to four for each GPU.

    One small network leaves a large GPU idle for most of the time (docs/gpu.md). Each training there gets four cores, which
    launch its kernels and prepare its images, and 8 GiB of the GPU's memory.
    """
    if not gpus:
        return usable_cores()
    import torch

    memory_gib = min(torch.cuda.get_device_properties(index).total_memory for index in range(len(gpus))) // 2**30
    of_cores = usable_cores() // (_CORES_OF_A_TRIAL * len(gpus))
    return len(gpus) * max(1, min(_TRIALS_OF_A_GPU, of_cores, memory_gib // _GIB_OF_A_TRIAL))


def threads_of_each(workers: int) -> int:
    """Return the threads of each of several trainings at once: its share of the cores.

    Small networks gain nothing from a second thread, and two trainings that share cores by threads lose an order of
    magnitude to each other's spinning. On a GPU the share also bounds the processes that prepare images.
    """
    return max(1, usable_cores() // workers)
