"""Decoded images in memory that a loader and its worker processes share.

Each image has a place of its own, known beforehand from its size, in a memory map without a file. Forked processes see the
same pages, so that an image is decoded once, whichever of them needs it first. /dev/shm is not used: containers often limit
it to 64 MiB.
"""

import mmap
import multiprocessing
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from torch.utils.data import get_worker_info

START_METHOD = "fork"
"""How a loader must start the workers that share a cache."""


class ImageCache:
    """The first images of a split, up to a limit; the others are made each time they are read.

    Args:
        shapes: (H, W, 3) of each image.
        cache_mib: Memory for them; 0 for no cache.

    Raises:
        ValueError: `cache_mib` is negative.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], cache_mib: int) -> None:
        if cache_mib < 0:
            raise ValueError(f"cache_mib is {cache_mib}, not 0 or more")
        self._shapes = shapes
        self._ends = np.cumsum([0, *(height * width * depth for height, width, depth in shapes)])
        self.num_kept = int(np.searchsorted(self._ends, cache_mib * 2**20, side="right")) - 1
        self._values = _shared_zeros(int(self._ends[self.num_kept]))
        self._is_made = _shared_zeros(self.num_kept)
        self._lock = multiprocessing.get_context(START_METHOD).Lock()
        self._is_settled = False

    def get(self, index: int, make: Callable[[], npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Return an image; it must not be changed.

        Args:
            index: Its place in the split.
            make: Returns it where it is not kept yet.
        """
        self._settle_in_process()
        if index >= self.num_kept:
            return make()
        kept = self._values[self._ends[index] : self._ends[index + 1]].reshape(self._shapes[index])
        with self._lock:  # what another process wrote before it set the mark is seen after the mark
            is_made = self._is_made[index]
        if is_made:
            return kept
        image = make()
        if image.shape != kept.shape:  # the file has changed since the dataset was opened
            return image
        kept[:] = image  # two processes may do this at once, with the same values
        with self._lock:
            self._is_made[index] = True
        return kept

    def _settle_in_process(self) -> None:
        """In a worker, keep OpenCV to one thread, since each worker has a core."""
        if not self._is_settled and get_worker_info() is not None:
            cv2.setNumThreads(0)
        self._is_settled = True


def _shared_zeros(num_bytes: int) -> npt.NDArray[np.uint8]:
    """Return zeros that forked processes share; pages that are never written take no memory."""
    return np.frombuffer(mmap.mmap(-1, max(1, num_bytes)), np.uint8)[:num_bytes]
