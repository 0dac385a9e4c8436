"""An image file: its header is checked when a dataset is opened, its pixels are read on demand."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from trials.data.dataset import DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Suffixes of image files, in lower case."""

_EXIF_ORIENTATION = 0x0112
_TURNED_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap height and width
_END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL_BYTES = 64  # cameras append some bytes after the end mark
_PIL_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class ImageFile:
    """Reads one image; calling it returns (H, W, 3) uint8 RGB."""

    path: Path
    """The file."""
    is_upright: bool
    """Whether the EXIF orientation is applied, as image viewers do."""

    def __call__(self) -> npt.NDArray[np.uint8]:
        """Decode the whole image.

        Raises:
            DatasetError: The file is missing, unreadable or truncated.
        """
        try:
            with Image.open(self.path) as image:
                return _to_rgb(ImageOps.exif_transpose(image) if self.is_upright else image)
        except _PIL_ERRORS as error:
            hint = "replace the file, or remove it from its split"
            raise DatasetError(f"{self.path}: the image cannot be read: {error}", hint=hint) from error


class CheckedImage(NamedTuple):
    """What an image file's header holds."""

    load: ImageFile
    size_hw: tuple[int, int]
    num_bytes: int


def check_image(path: Path, *, stated_size_hw: tuple[int, int] | None = None) -> CheckedImage:
    """Read an image's header and compare its size with the annotation's.

    The EXIF orientation is applied as image viewers do, unless the annotation's size fits only the stored pixels. A file
    without its end mark is decoded in full, so that a truncated file is found here and not during training.

    Args:
        path: The image file.
        stated_size_hw: Height and width in the annotation; None where it has none.

    Raises:
        ValueError: With the reason: missing, unreadable, truncated, or of another size.
    """
    if not path.is_file():
        raise ValueError("the image is missing")
    try:
        with path.open("rb") as file, Image.open(file) as image:
            stored_hw = (image.height, image.width)
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1) if "exif" in image.info else 1
            num_bytes = file.seek(0, 2)
            kind = image.format
            if not _has_end_mark(file, num_bytes, kind):
                file.seek(0)
                with Image.open(BytesIO(file.read())) as whole:
                    whole.load()
    except UnidentifiedImageError as error:
        raise ValueError("it is not an image of a known format") from error
    except _PIL_ERRORS as error:
        raise ValueError(f"the image cannot be read: {error}") from error
    upright_hw = (stored_hw[1], stored_hw[0]) if orientation in _TURNED_SIDEWAYS else stored_hw
    if stated_size_hw is None or stated_size_hw == upright_hw:
        return CheckedImage(ImageFile(path, orientation != 1), upright_hw, num_bytes)
    if stated_size_hw == stored_hw:
        return CheckedImage(ImageFile(path, False), stored_hw, num_bytes)
    stated, actual = (f"{width}×{height}" for height, width in (stated_size_hw, upright_hw))
    raise ValueError(f"the annotation says {stated} pixels, the image has {actual}")


def list_images(folder: Path) -> list[Path]:
    """Return all image files in a folder and below it, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _has_end_mark(file: BinaryIO, num_bytes: int, kind: str | None) -> bool:
    if kind not in _END_MARKS:
        return True
    file.seek(max(0, num_bytes - _TAIL_BYTES))
    return _END_MARKS[kind] in file.read()


def _to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
