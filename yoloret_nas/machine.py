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


def threads_of_each(workers: int) -> int:
    """Return the threads of each of several trainings at once: its share of the cores.

    Small networks gain nothing from a second thread, and two trainings that share cores by threads lose an order of
    magnitude to each other's spinning. On a GPU the share also bounds the processes that prepare images.
    """
    return max(1, usable_cores() // workers)
