"""Times passes of a network on a GPU, as a CUDA graph where the network can be captured.

A small network's kernels take less time than their launches; a graph launches them all at once, as trtexec does.
"""

import gc
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from trials.latency.device import DeviceError
from trials.latency.steadiness import THRESHOLDS

_FEWEST = 10
_BURST = 10
"""Passes queued at a time, so that the GPU never waits for this process."""


class Passes:
    """A network that can be run on a GPU again and again.

    Args:
        enqueue: Launches one pass on the CUDA stream of this handle; its buffers stay where they are.
        gpu: The GPU.
    """

    def __init__(self, enqueue: Callable[[int], None], *, gpu: torch.device) -> None:
        self._gpu = gpu
        with torch.cuda.device(gpu):
            self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._enqueue = enqueue  # kept: a graph holds the addresses of weights and buffers, and not what owns them
            self._launch: Callable[[], object] = partial(enqueue, self._stream.cuda_stream)
            self._launch()  # the first pass compiles and allocates, which a graph cannot record
            self._stream.synchronize()
            graph = _capture(enqueue, self._stream)
            self.is_graph = graph is not None
            """Whether passes are launched as a CUDA graph."""
            if graph is not None:
                self._launch = graph.replay

    def warm_up(self, *, slice_s: float = 0.1, max_slices: int = 50) -> bool:
        """Run until the median of a slice equals the last one's; return whether that was reached."""
        last = float("inf")
        for _ in range(max_slices):
            now = float(np.median(self.run_for(slice_s)))
            if abs(now / last - 1) <= THRESHOLDS.steady_repeat:
                return True
            last = now
        return False

    def run_for(self, seconds: float) -> list[float]:
        """Run for some time, at least ten passes; return each pass in milliseconds of GPU time."""
        samples: list[float] = []
        until = time.perf_counter() + seconds
        with torch.cuda.device(self._gpu), torch.cuda.stream(self._stream):
            while len(samples) < _FEWEST or time.perf_counter() < until:
                marks: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(_BURST + 1)]  # type: ignore[no-untyped-call]
                self._launch()  # not timed: the GPU is busy with it while the next ones are queued
                marks[0].record(self._stream)
                for mark in marks[1:]:
                    self._launch()
                    mark.record(self._stream)
                marks[-1].synchronize()
                samples += [begin.elapsed_time(end) for begin, end in itertools.pairwise(marks)]
        return samples


def _capture(enqueue: Callable[[int], None], stream: Any) -> Any:
    """Record one pass as a CUDA graph; None if the network does what a graph cannot record."""
    graph: Any = torch.cuda.CUDAGraph()
    gc.collect()  # what is freed by chance during the recording can make it fail, and PyTorch no longer collects before
    try:
        # PyTorch's own stream for recording is made once a process, on whichever GPU came first.
        with torch.cuda.graph(graph, stream=stream):
            enqueue(stream.cuda_stream)
    except (RuntimeError, DeviceError):  # what CUDA and TensorRT make of a forbidden call
        return None
    return graph
