"""Which GPUs this process may use."""

import os


def visible_gpus() -> tuple[str, ...]:
    """Give what CUDA_VISIBLE_DEVICES must be to see each usable GPU alone; empty without one.

    The variable means what it means elsewhere: where it is set, only what it names is used.
    """
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())[:count]
    return tuple(str(index) for index in range(count))
