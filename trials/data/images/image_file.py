"""An image file: its header is checked when a dataset is opened, its pixels are read on demand."""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from trials.data.dataset import DatasetError
from trials.data.lfs_pointer import LFS_ADVICE, is_lfs_pointer

# On tags that nobody reads here, such as "Corrupt EXIF data". What matters of a file is checked below, and each process that
# decodes images has this module; `warnings.catch_warnings` would not do, as threads share its filters.
warnings.filterwarnings("ignore", module=r"PIL\.")

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Suffixes of image files, in lower case."""

MOST_PIXELS = 64_000_000
"""Of an image: decoding one takes up to 15 bytes a pixel, so less than 1 GiB. A file of some kilobytes can state any
size, and hold it: zeros are packed to a thousandth. Pillow itself warns from 89 million on, and refuses twice as many."""

MOST_MISSING = 0.01
"""Share of a truncated JPEG's pixels that may be missing. The last 20 bytes of a photograph hold at most 0.08 % of them (of
40 photographs of blood cells and playing cards); a file that lacks more than 1 % has lost part of the picture."""
MOST_MISSING_PX = 256
"""Pixels that may be missing whatever the image's size: those of one block, the least that the last bytes of a JPEG hold."""

_PLAIN_FORMATS = frozenset({"BMP", "JPEG", "MPO", "PNG"})  # MPO is what phones call a JPEG with a preview
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its suffix is. Of the others some run programs (EPS runs Ghostscript)."""
_ORIENTATION = 0x0112  # EXIF's tag
_EXIF_NUMBERS = {1: "B", 3: "H", 4: "I"}  # the types of a tag that hold a whole number, as `struct` reads them
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation to what turns the image upright."""
_TURNED_SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap height and width
_JPEG_BEGIN, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_JPEG_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xda-\xef\xfe]")  # marks that are followed by the length of what they hold
_JPEG_SEGMENT_OR_END = re.compile(rb"\xff[\xc0-\xcf\xd9-\xef\xfe]")
_PNG_END = b"IEND\xaeB`\x82"
_TAIL_BYTES = 64  # cameras append some bytes after the end mark
_UNREADABLE = "the image cannot be read: "
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,  # a header states gigabytes
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise at damaged files: few of them check each value that they read."""


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
        if not self.path.exists():  # nobody but the caller knows whether it belongs to a split
            raise DatasetError(f"{self.path} does not exist")
        try:
            return self.decode()
        except ValueError as error:
            hint = "replace the file, or remove it"
            reason = str(error).removeprefix(_UNREADABLE)
            raise DatasetError(f"{self.path}: {_UNREADABLE}{reason}", hint=hint) from error

    def decode(self) -> npt.NDArray[np.uint8]:
        """Return what a call returns.

        Raises:
            ValueError: With the reason: missing, unreadable or truncated.
        """
        with _reading(self.path) as (image, is_cut):
            if is_cut:
                _refuse_missing_pixels(image)
            pixels = _to_rgb(image)
            turn = _UPRIGHT.get(_orientation(image)) if self.is_upright else None
            return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))

    def reads_alike_everywhere(self) -> bool:
        """Return whether other tools decode the file to the same pixels, whatever they make of EXIF and rare formats.

        Raises:
            ValueError: With the reason: missing or unreadable.
        """
        with _reading(self.path) as (image, is_cut):
            is_plain = (
                image.format in _PLAIN_FORMATS and image.mode in ("L", "RGB") and "transparency" not in image.info
            )
            return is_plain and not is_cut and _orientation(image) == 1


class CheckedImage(NamedTuple):
    """What an image file's header holds."""

    load: ImageFile
    size_hw: tuple[int, int]
    num_bytes: int
    is_cut: bool = False
    """Whether it is a JPEG without its last bytes, of which all but a few pixels are there."""
    is_as_stored: bool = False
    """Whether its EXIF orientation is not applied, since the annotation states the size of the stored pixels."""
    is_untold: bool = False
    """Whether it is applied although no stated size tells that boxes are of the upright image."""


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
    try:
        is_there = path.is_file()
    except OSError as error:  # its name is too long, for example
        raise ValueError(f"{_UNREADABLE}{error.strerror}") from error
    if not is_there:
        raise ValueError("the image is missing")
    with _reading(path) as (image, is_cut):
        stored_hw = (image.height, image.width)
        orientation = _orientation(image)
        if is_cut:
            _refuse_missing_pixels(image)
        elif image.format == "PNG" and not _ends_with(path, _PNG_END):
            image.load()
    num_bytes = path.stat().st_size
    upright_hw = (stored_hw[1], stored_hw[0]) if orientation in _TURNED_SIDEWAYS else stored_hw
    if stated_size_hw is None or stated_size_hw == upright_hw:
        is_untold = orientation != 1 and (stated_size_hw is None or stored_hw == upright_hw)
        return CheckedImage(ImageFile(path, orientation != 1), upright_hw, num_bytes, is_cut, is_untold=is_untold)
    if stated_size_hw == stored_hw:
        return CheckedImage(ImageFile(path, False), stored_hw, num_bytes, is_cut, is_as_stored=True)
    stated, actual = (f"{width}×{height}" for height, width in (stated_size_hw, upright_hw))
    raise ValueError(f"the annotation says {stated} pixels, the image has {actual}")


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Image.Image, bool]]:
    """Open an image, and say whether it is a truncated JPEG; turn what Pillow raises into a ValueError with the reason."""
    try:
        with path.open("rb") as file:
            completed = _complete_jpeg(file)
            with Image.open(completed or file, formats=_formats()) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(
                        f"it has {image.width}×{image.height} pixels, more than the {MOST_PIXELS:,} that are read"
                    )
                if image.mode == "F":  # of no known range: Pillow would make 0 to 1 black
                    raise ValueError("its pixels are floating-point numbers; save it with 8 bits a channel")
                yield image, completed is not None
    except _MissingPixelsError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(_what_it_is(path)) from error
    except _DECODING_ERRORS as error:
        raise ValueError(f"{_UNREADABLE}{error}") from error


def _what_it_is(path: Path) -> str:
    """Return why a file is no image."""
    if path.stat().st_size == 0:
        return "it is empty: 0 bytes"
    return LFS_ADVICE if is_lfs_pointer(path) else "it is not an image of a known format"


class _MissingPixelsError(ValueError):
    """A truncated JPEG lacks a part of its picture."""


@cache
def _formats() -> list[str]:
    """Return those of `_FORMATS` that this Pillow reads."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _complete_jpeg(file: BinaryIO) -> BytesIO | None:
    """Return a truncated JPEG with the end mark that it lacks; None for any other file, whose position is its begin.

    At the end mark libjpeg stops waiting for data, and fills the blocks that never came with medium grey: what image
    viewers, OpenCV and browsers show. Pillow offers that only by ImageFile.LOAD_TRUNCATED_IMAGES, which holds for the whole
    process, for every format and every thread. Zeros at the end are space that a broken copy had set apart: decoded, they
    would be blocks of a wrong colour.
    """
    begin = file.read(len(_JPEG_BEGIN))
    if begin == _JPEG_BEGIN and _JPEG_END not in _tail(file):
        file.seek(0)
        data = file.read()
        # Inside a scan both marks are escaped, so that the last scan is complete if an end mark follows its begin. Behind
        # the picture may be other data that holds such marks, as the films that phones append.
        if data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN) and not _has_own_end(data):
            return BytesIO(_without_part_of_segment(data.rstrip(b"\0")) + _JPEG_END)
    file.seek(0)
    return None


def _has_own_end(data: bytes) -> bool:
    """Return whether a JPEG's end mark is there, read segment by segment: a preview inside a segment has one of its own."""
    place = 0
    while mark := _JPEG_SEGMENT_OR_END.search(data, place):
        if mark[0] == _JPEG_END:
            return True
        place = mark.end() + int.from_bytes(data[mark.end() : mark.end() + 2], "big")
    return False


def _without_part_of_segment(data: bytes) -> bytes:
    """Return a JPEG's data without its last segment if that is truncated: an end mark in a table of codes is no end mark."""
    begin = max((match.start() for match in _JPEG_SEGMENT.finditer(data)), default=0)
    length = int.from_bytes(data[begin + 2 : begin + 4], "big")
    return data[:begin] if len(data) < begin + 4 or len(data) < begin + 2 + length else data


def _refuse_missing_pixels(image: Image.Image) -> None:
    """Raise where more than `MOST_MISSING` of a truncated JPEG is the grey of blocks that never came.

    They are the last ones in reading order, so that rows with missing pixels are grey at their right end. A progressive
    JPEG has all pixels once its first pass is complete; what is missing then is detail.
    """
    height, width = image.height, image.width
    bands = np.asarray(image).reshape(height, width, -1)
    is_grey = ((bands == 128) | (bands == 127)).all(axis=2)  # 127 in CMYK, which is stored inverted
    complete_rows = np.flatnonzero(~is_grey[:, -8:].all(axis=1))  # the smallest block is 8 pixels wide
    num_rows = height - 1 - int(complete_rows[-1]) if len(complete_rows) else height
    if is_grey[height - num_rows :].sum() > max(MOST_MISSING * height * width, MOST_MISSING_PX):
        raise _MissingPixelsError(
            f"{_UNREADABLE}the file is truncated, pixels are missing in the last {num_rows} of {height} rows"
        )


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none, or none that can be read.

    Only this one tag is read. Pillow's `exif_transpose` writes the whole block anew, and so fails at any tag in it that
    breaks the standard, which cameras and editors write.
    """
    block = image.info.get("exif")
    if not isinstance(block, bytes):  # a PNG's text may have that name, too
        return 1
    block = block.removeprefix(b"Exif\0\0")
    order = ">" if block.startswith(b"MM") else "<"
    try:
        (begin,) = struct.unpack_from(f"{order}I", block, 4)
        (num_tags,) = struct.unpack_from(f"{order}H", block, begin)
        for place in range(begin + 2, begin + 2 + 12 * num_tags, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, place)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + _EXIF_NUMBERS[kind], block, place + 8)
                return int(value) if value in _UPRIGHT else 1
    except (struct.error, KeyError):
        return 1
    return 1


def _tail(file: BinaryIO) -> bytes:
    num_bytes = file.seek(0, 2)
    file.seek(max(0, num_bytes - _TAIL_BYTES))
    return file.read()


def _ends_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return mark in _tail(file)


def _to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them
        values = np.array(image)
        values >>= 8
        grey = np.clip(values, 0, 255, out=values).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
