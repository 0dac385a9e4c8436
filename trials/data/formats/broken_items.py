"""How a dataset reader treats a broken item: it stops and names it, or skips and lists it.

Legend: N boxes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from spaces.counted import counted
from trials.data.dataset import DatasetError, Sample
from trials.data.images.image_file import CheckedImage, check_image

OnBroken = Literal["stop", "skip", "skip-boxes"]
"""What happens at a broken item. ``skip-boxes`` skips broken boxes only: an original dataset's, which nobody can repair."""

_CLIP_TOLERANCE_PX = 0.5  # a box past the edge by rounding alone needs no note
_SMALLEST_SIDE_PX = 1e-3  # thinner boxes have zero area but for rounding


class BrokenItems:
    """Collects the broken items while one dataset is read.

    Args:
        root: Folder to which shown names are relative.
        on_broken: ``stop`` raises at the first broken item; ``skip`` lists it in ``left_out``; ``skip-boxes`` lists broken
            boxes and raises at any other broken item.
        scored: The split on which networks are only scored; None where they are trained on the dataset.
    """

    def __init__(self, root: Path, on_broken: OnBroken, scored: str | None = None) -> None:
        if on_broken not in get_args(OnBroken):
            raise ValueError(f"on_broken={on_broken!r} is unknown; choose one of {', '.join(get_args(OnBroken))}")
        self.root = root
        self._on_broken = on_broken
        self.is_needed = True  # what is read now: a broken item of it stops
        self._scored = scored
        self._unusable: list[str] = []
        self._num_clipped = 0
        self._cut: list[str] = []
        self._as_stored: list[str] = []
        self._num_untold = 0
        self.left_out: list[str] = []

    @contextmanager
    def of_split(self, split: str) -> Iterator[None]:
        """Read a split; of a test split that is not scored, broken items are left out and an error is a note."""
        self.is_needed = split != "test" or split == self._scored
        try:
            yield
        except DatasetError as error:
            if self.is_needed:
                raise
            self._unusable.append(f"the {split} split is left out: {error.message}")
        finally:
            self.is_needed = True

    def add(self, path: Path, reason: str) -> None:
        """Record a broken item.

        Raises:
            DatasetError: ``on_broken`` is not ``skip`` and the item is needed; names the file and the reason.
        """
        entry = f"{relative_name(path, self.root)}: {reason}"
        if self._on_broken != "skip" and self.is_needed:
            raise DatasetError(entry, hint="repair it, or skip broken items with --skip-broken")
        self.left_out.append(entry)

    def add_box(self, path: Path, reason: str) -> None:
        """Record a broken box.

        Raises:
            DatasetError: ``on_broken`` is ``stop``; names the file and the reason.
        """
        if self._on_broken == "skip-boxes":
            self.left_out.append(f"{relative_name(path, self.root)}: {reason}")
        else:
            self.add(path, reason)

    def check_image(self, path: Path, *, stated_size_hw: tuple[int, int] | None = None) -> CheckedImage | None:
        """Return what `image_file.check_image` finds in an image; None for a broken one, which is recorded."""
        try:
            image = check_image(path, stated_size_hw=stated_size_hw)
        except ValueError as error:
            self.add(path, str(error))
            return None
        if image.is_cut:
            self._cut.append(relative_name(path, self.root))
        if image.is_as_stored:
            self._as_stored.append(relative_name(path, self.root))
        self._num_untold += image.is_untold
        return image

    def make_sample(
        self,
        image: CheckedImage,
        boxes: Sequence[Sequence[float]],
        labels: Sequence[int],
        *,
        ignored: Sequence[bool] | None = None,
        num_broken: int = 0,
        path: Path,
        places: Sequence[str] = (),
    ) -> Sample | None:
        """Return the sample of an image with its usable boxes, clipped to it; None if all of its boxes are broken.

        A box partly outside is clipped and counted for `notes`. A box that is not finite, inverted, without area or wholly
        outside is broken; where broken items are skipped, the image keeps its other boxes. One that keeps none is left
        out (but of an original dataset): it would be trained on as an image without objects.

        Args:
            image: The checked image.
            boxes: N boxes xyxy in absolute pixels.
            labels: The N classes of the boxes.
            ignored: Which of the N boxes are ignored; None for none.
            num_broken: Boxes of this image that were recorded as broken before.
            path: The annotation's file, for messages.
            places: What leads to each of the N boxes in the file; by default their numbers and corners in pixels.
        """
        clipped, kept = self._clip(boxes, image.size_hw, path=path, places=places)
        name = relative_name(image.load.path, self.root)
        if not len(kept) and num_broken + len(boxes) and self._on_broken != "skip-boxes":
            self.left_out.append(f"{name}: the image is left out, since all of its boxes are broken")
            return None
        return Sample(
            name=name,
            size_hw=image.size_hw,
            boxes=clipped,
            labels=np.array(labels, dtype=np.int64)[kept],
            ignored=np.array(ignored or [False] * len(boxes), dtype=np.bool_)[kept],
            load=image.load,
            num_bytes=image.num_bytes,
        )

    def _clip(
        self, boxes: Sequence[Sequence[float]], size_hw: tuple[int, int], *, path: Path, places: Sequence[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return the usable boxes, (M, 4), and their indices among the given ones, (M,)."""
        given = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        height, width = size_hw
        limits = np.array([width, height, width, height], dtype=np.float64)
        clipped = np.clip(given, 0.0, limits)
        with np.errstate(invalid="ignore"):
            usable = (clipped[:, 2:] - clipped[:, :2] >= _SMALLEST_SIDE_PX).all(axis=1) & np.isfinite(given).all(axis=1)
            moved = np.abs(clipped - given).max(axis=1) > _CLIP_TOLERANCE_PX
        for index in np.flatnonzero(~usable).tolist():
            box = tuple(round(float(value), 2) for value in given[index])
            place = places[index] if places else f"box {index + 1} {box}"
            self.add_box(path, f"{place} {_fault(given[index], size_hw)}")
        self._num_clipped += int((moved & usable).sum())
        return clipped[usable].astype(np.float32), np.flatnonzero(usable)

    def notes(self) -> list[str]:
        """Return sentences on unusable splits, clipped boxes, truncated JPEGs and images read as stored; none for none."""
        notes = list(self._unusable)
        if self._num_clipped:
            notes.append(
                f"{counted(self._num_clipped, 'box(es) reached outside its|their image and was|were')} clipped"
            )
        if self._cut:
            notes.append(
                f"{counted(len(self._cut), 'JPEG file(s) lacks|lack the last bytes and is|are')} read without, "
                f"first {self._cut[0]}"
            )
        if self._as_stored:
            # The tool that wrote these sizes ignores EXIF, so probably in the others too, whose size is the same both ways.
            others = f"; {counted(self._num_untold, 'other(s), of which no stated size tells, is|are')} read upright"
            notes.append(
                f"{counted(len(self._as_stored), 'image(s) is|are')} read as stored, against the EXIF orientation, for the "
                f"annotations state that size{others if self._num_untold else ''}; predict and run.py turn every image "
                f"upright: turn these images and their boxes, first {self._as_stored[0]}"
            )
        return notes


def relative_name(path: Path, root: Path) -> str:
    """Return a path with forward slashes, relative to the dataset's folder where it lies inside.

    Bytes that are not UTF-8 are written as backslash, x and two digits, so that the name can be printed and hashed.
    """
    try:
        name = path.relative_to(root).as_posix()
    except ValueError:  # it lies elsewhere
        name = path.as_posix()
    try:
        return os.fsencode(name).decode(errors="backslashreplace")
    except UnicodeEncodeError:  # what no file's name can hold
        return name.encode(errors="backslashreplace").decode()


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
