"""How a dataset reader treats a broken item: it stops and names it, or skips and lists it.

Legend: N boxes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trials.data.dataset import DatasetError

OnBroken = Literal["stop", "skip"]

_CLIP_TOLERANCE_PX = 0.5  # a box past the edge by rounding alone needs no note
_SMALLEST_SIDE_PX = 1e-3  # thinner boxes have zero area but for rounding


class CheckedBoxes(NamedTuple):
    """The usable boxes of one image."""

    boxes: npt.NDArray[np.float32]
    """(M, 4) xyxy, clipped to the image, each with an area."""
    kept: npt.NDArray[np.int64]
    """(M,) their indices among the given boxes."""


class BrokenItems:
    """Collects the broken items while one dataset is read.

    Args:
        root: Folder to which shown names are relative.
        on_broken: ``stop`` raises at the first broken item; ``skip`` lists it in ``left_out``.
    """

    def __init__(self, root: Path, on_broken: OnBroken) -> None:
        if on_broken not in ("stop", "skip"):
            raise ValueError(f"on_broken={on_broken!r} is neither 'stop' nor 'skip'")
        self.root = root
        self._on_broken = on_broken
        self._num_clipped = 0
        self.left_out: list[str] = []

    def add(self, path: Path, reason: str) -> None:
        """Record a broken item.

        Raises:
            DatasetError: ``on_broken`` is ``stop``; names the file and the reason.
        """
        entry = f"{relative_name(path, self.root)}: {reason}"
        if self._on_broken == "stop":
            raise DatasetError(entry, hint="repair it, or skip broken items with --skip-broken")
        self.left_out.append(entry)

    def check_boxes(self, boxes: Sequence[Sequence[float]], size_hw: tuple[int, int], *, path: Path) -> CheckedBoxes:
        """Return the usable boxes of an image, clipped to it.

        A box partly outside is clipped and counted for `notes`. A box that is not finite, inverted, without area or wholly
        outside is broken; where broken items are skipped, the image keeps its other boxes.

        Args:
            boxes: N boxes xyxy in absolute pixels.
            size_hw: Height and width of the image, pixels.
            path: The annotation's file, for messages.
        """
        if not len(boxes):
            return CheckedBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        given = np.asarray(boxes, dtype=np.float64)
        height, width = size_hw
        limits = np.array([width, height, width, height], dtype=np.float64)
        clipped = np.clip(given, 0.0, limits)
        with np.errstate(invalid="ignore"):
            usable = (clipped[:, 2:] - clipped[:, :2] >= _SMALLEST_SIDE_PX).all(axis=1) & np.isfinite(given).all(axis=1)
            moved = np.abs(clipped - given).max(axis=1) > _CLIP_TOLERANCE_PX
        for index in np.flatnonzero(~usable):
            box = tuple(round(float(value), 2) for value in given[index])
            self.add(path, f"box {index + 1} {box} {_fault(given[index], size_hw)}")
        self._num_clipped += int((moved & usable).sum())
        return CheckedBoxes(clipped[usable].astype(np.float32), np.flatnonzero(usable))

    def notes(self) -> list[str]:
        """Return a sentence on the clipped boxes, if there are any."""
        count = self._num_clipped
        return [f"{count} box(es) reached outside their image and were clipped"] if count else []


def relative_name(path: Path, root: Path) -> str:
    """Return a path with forward slashes, relative to the dataset's folder where it lies inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _fault(box: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> str:
    left, top, right, bottom = box
    height, width = size_hw
    if not np.isfinite(box).all():
        return "is not finite"
    if right < left or bottom < top:
        return "is inverted (right < left or bottom < top)"
    if right - left < _SMALLEST_SIDE_PX or bottom - top < _SMALLEST_SIDE_PX:
        return "has no area"
    return f"lies outside its image ({width}×{height})"
