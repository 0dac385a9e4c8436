"""Context managers around Lightning's trainer: named errors, and no banners."""

import logging
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trials.data import DatasetError
from trials.training.errors import OutOfMemoryError


@contextmanager
def named_errors(batch_size: int) -> Iterator[None]:
    """Turn an interrupt, out-of-memory errors and those of data workers into errors of their own kind."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        # Lightning turns an interrupt into an exit with code 1, and leaves the process ignoring further ones
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error
    except DatasetError as error:
        if found := _OF_WORKER.search(error.message):
            raise DatasetError(found["message"].strip(), hint=(found["hint"] or "").strip()) from error
        raise
    except (RuntimeError, MemoryError) as error:
        # Where torch knows the signal, it may only say so in the cause of an error that says "exited unexpectedly".
        known = error.__cause__ if _SIGNAL.search(str(error.__cause__)) else error
        if _ENDED_WORKER.match(str(known)):
            raise OutOfMemoryError(
                "a process that loads images was killed, as happens where memory or the shared memory in /dev/shm runs out",
                hint=f"{_HINT}; a container has 64 MiB of shared memory unless it has more from docker run --shm-size=2g",
            ) from error
        if _is_out_of_memory(error):
            raise OutOfMemoryError(f"memory ran out in training with batches of {batch_size}", hint=_HINT) from error
        raise


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners, and its warnings about deliberate choices."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)  # devices found, tips, "max_epochs reached"
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)


_OF_WORKER = re.compile(
    r"Caught DatasetError in DataLoader worker[\s\S]*"
    r"\n[\w.]*DatasetError: (?P<message>[\s\S]*?)(?:\nhint: (?P<hint>[\s\S]*))?\Z"
)
"""What torch makes of a worker's error: a text with the worker's traceback."""

_ENDED_WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal: (Bus error|Killed)|exited unexpectedly)")
"""Torch seldom knows the signal; that of a full /dev/shm is SIGBUS, that of the kernel without memory SIGKILL."""

_SIGNAL = re.compile(r"DataLoader worker \(pid.*\) is killed by signal: ")

_HINT = "lower the batch size, or run fewer trainings at once (--workers 1)"

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "can't allocate memory",
    "OutOfMemoryError",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",  # cuDNN 9 says whose memory before it
)
"""Parts of the messages of torch and of the libraries below it."""

_EXPECTED_WARNINGS = (
    r".*does not have many workers.*",  # none is right on a CPU that also trains
    r".*treespec, LeafSpec.*",  # Lightning 2.6 calls what torch 2.15 deprecates
    r".*AccumulateGrad node's stream does not match.*",  # recorded passes were recorded on another stream
    r".*`srun` command is available.*",  # a trial is one process, also on a machine of a SLURM cluster
    r".*passed in a `val_dataloader` but have no `validation_step`.*",  # shared weights are scored after their training
    r".*GPU available but not used.*",  # the settings ask for the CPU
)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _OUT_OF_MEMORY)
