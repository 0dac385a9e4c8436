"""A trained network that detects in images, from Python."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from spaces.aspect import in_words
from trials.data.images.image_file import ImageFile
from trials.onnx import run
from yoloret_nas.export.bundle import naming_file
from yoloret_nas.options.values import OptionError, check_share
from yoloret_nas.sources import open_detector

Image = str | Path | npt.NDArray[np.uint8]
"""A file, or (H, W, 3) uint8 RGB."""

COLUMNS = ("image", "x1", "y1", "x2", "y2", "score", "class")
"""Of the detections; MLflow's model of an export has the same."""


class Detector:
    """Detects with ONNX Runtime on this machine, as an export's own ``run.py`` does."""

    def __init__(self, detector: run.Detector) -> None:
        self._detector = detector

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self._detector.class_names)

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width that each image is fitted into, in pixels."""
        height, width = self._detector.input_hw
        return height, width

    def predict(self, images: Image | Sequence[Image], *, score: float = 0.25, nms_iou: float = 0.5) -> pd.DataFrame:
        """Find objects in images of any size.

        Args:
            images: One image or several: files, or arrays (H, W, 3) uint8 RGB; (N, H, W, 3) is N images.
            score: Boxes with a score above this are returned, 0 to 1.
            nms_iou: A box is left out if it overlaps a better one of its class by more than this, 0 to 1.

        Returns:
            A row for each box, the best of each image first: ``image``, the image's place among those given, from 0;
            ``x1``, ``y1``, ``x2``, ``y2``, corners in the image's pixels; ``score``, 0 to 1; ``class``, its name.

        Raises:
            DatasetError: a file is missing or no image.
            OptionError: an array is no RGB image, or `score` or `nms_iou` is not from 0 to 1.
        """
        rows = [
            (place, *box, one, self.class_names[label])
            for place, image in enumerate(_each(images))
            for box, one, label in zip(*self._detect(image, score, nms_iou), strict=True)
        ]
        kinds = {"image": "int64", **dict.fromkeys(COLUMNS[1:6], "float64"), "class": "str"}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)

    def draw(self, image: Image, *, score: float = 0.25, nms_iou: float = 0.5) -> npt.NDArray[np.uint8]:
        """Return a copy of one image, (H, W, 3) uint8 RGB, with the boxes, names and scores of what `predict` finds."""
        pixels = _read(image)
        found = self._find(pixels, score, nms_iou)
        return cast("npt.NDArray[np.uint8]", run.draw(pixels, *found, self.class_names))

    def __repr__(self) -> str:
        """Say what it is in one line."""
        return f"<detector of {', '.join(self.class_names)} at {in_words(self.input_hw)} px>"

    def _detect(self, image: Image, score: float, nms_iou: float) -> tuple[Any, ...]:
        return tuple(part.tolist() for part in self._find(_read(image), score, nms_iou))

    def _find(self, pixels: npt.NDArray[np.uint8], score: float, nms_iou: float) -> tuple[Any, ...]:
        check_share(score=score, nms_iou=nms_iou)
        with naming_file(self._detector.path):
            found: tuple[Any, ...] = self._detector.detect(pixels, score, nms_iou)
            return found


def load(network: str | Path, *, dir: str | Path = "runs") -> Detector:
    """Open a trained network as a detector.

    Args:
        network: ``STUDY:TRIAL``, ``STUDY`` for the knee of its front, an export's folder or one of its files, or a trial's
            ``checkpoint.pt``.
        dir: Folder of the studies.

    Raises:
        YoloRetError: the text names no network, or none that is trained.
    """
    with open_detector(str(network), root=Path(dir).expanduser()) as detector:  # its files are read by now
        return Detector(detector)


def _each(images: Image | Sequence[Image]) -> Iterator[Image]:
    is_one = isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim != 4)
    yield from [cast("Image", images)] if is_one else cast("Sequence[Image]", images)


def _read(image: Image) -> npt.NDArray[np.uint8]:
    if isinstance(image, str | Path):
        return ImageFile(Path(image).expanduser(), is_upright=True)()
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise OptionError(
            f"an array of {pixels.dtype} and shape {pixels.shape} is no image", hint="give (H, W, 3) uint8, RGB"
        )
    return pixels
