"""Images: small ones of every kind that is read, damaged, with lying headers, with broken EXIF."""

import io
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from benchmarks.stress.fuzzing.mutations import mutate_bytes
from benchmarks.stress.fuzzing.target import Attempt
from trials.data.dataset import DatasetError
from trials.data.images.image_file import check_image
from trials.onnx import run

_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x01\x1a\0\x05\0\0\0\x01\0\0\0&\0\0\0\0"
_SIDES = (0, 1, 255, 9000, 12_000, 20_000, 65_535, 2**31 - 1, 2**32 - 1)


def images(folder: Path) -> Attempt:
    """Return an attempt at checking and decoding an image, in the datasets' reader and in that of `run.py`."""
    seeds = _seeds()
    path = folder / "a.jpg"

    def attempt(rng: Random) -> None:
        data = rng.choice(seeds)
        kind = rng.randrange(8)
        if kind == 0:
            data = _full_png(rng) if rng.random() < 0.02 else _lying_png(rng)
        elif kind == 1:
            data = _lying_header(data, rng)
        elif kind > 2:
            data = mutate_bytes(data, rng)
        path.write_bytes(data)
        try:
            checked = check_image(path, stated_size_hw=rng.choice((None, None, (24, 32), (0, 0))))
        except ValueError as error:  # which the readers turn into an error that names the file
            raise DatasetError(str(error)) from error
        pixels = checked.load()
        assert pixels.dtype == np.uint8
        assert pixels.shape == (*checked.size_hw, 3) or kind != 2, f"{pixels.shape} of {checked.size_hw}"
        if len(data) < 10_000 and pixels.size < 10**7:
            try:
                run.read_image(str(path))
            except ValueError:
                return

    return attempt


def _seeds() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    rgb = Image.fromarray(noise)
    deep = Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80)
    made = [
        _encode(rgb, "JPEG"),
        _encode(rgb, "JPEG", exif=_EXIF),
        _encode(rgb, "JPEG", progressive=True),
        _encode(rgb.convert("L"), "JPEG"),
        _encode(rgb.convert("CMYK"), "JPEG"),
        _encode(rgb, "PNG"),
        _encode(rgb, "PNG", exif=_EXIF),
        _encode(rgb.convert("P"), "PNG", transparency=3),
        _encode(rgb.convert("RGBA"), "PNG"),
        _encode(rgb.convert("1"), "PNG"),
        _encode(rgb.convert("LA"), "PNG"),
        _encode(deep, "PNG"),
        _encode(deep, "TIFF"),
        _encode(rgb, "TIFF", compression="tiff_lzw"),
        _encode(rgb.convert("F"), "TIFF"),
        _encode(rgb.convert("I"), "TIFF"),
        _encode(rgb.convert("LAB"), "TIFF"),
        _encode(rgb.convert("CMYK"), "TIFF", compression="jpeg"),
        _encode(rgb, "BMP"),
        _encode(rgb.convert("1"), "BMP"),
        _encode(rgb.convert("P"), "GIF", save_all=True, append_images=[rgb.convert("P").rotate(90)]),
        _encode(rgb, "WEBP"),
        _encode(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)]),
        _encode(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)]),
        _encode(rgb, "PPM"),
        _encode(rgb, "ICO", sizes=[(16, 16)]),
        _encode(rgb, "EPS"),
        _encode(rgb, "PDF"),
        _encode(rgb, "TGA"),
        _encode(rgb, "PCX"),
    ]
    return [*made, b"", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n"]


def _encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _lying_png(rng: Random) -> bytes:
    """Return a PNG of a few hundred bytes whose header states any size, with a right checksum."""
    width, height = rng.choice(_SIDES), rng.choice(_SIDES)
    depth, colours = rng.choice(((1, 0), (8, 0), (8, 2), (8, 3), (8, 6), (16, 0), (16, 2), (16, 6)))
    return _png(width, height, depth, colours, b"\0" * rng.choice((10, 10_000)), rng)


def _full_png(rng: Random) -> bytes:
    """Return a PNG of some hundred kilobytes that holds as many pixels as it states: as many as are read, or just more."""
    depth, colours, num_bytes = rng.choice(((8, 0, 1), (16, 0, 2), (8, 2, 3), (8, 6, 4)))
    side = rng.choice((8940, 8950))
    return _png(side, side, depth, colours, bytes(side * num_bytes + 1) * side, rng)


def _png(width: int, height: int, depth: int, colours: int, rows: bytes, rng: Random) -> bytes:
    row = zlib.compress(rows, 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, rng.randrange(2))
    parts = [(b"IHDR", header), (b"IDAT", row), (b"IEND", b"")]
    if rng.random() < 0.2:
        parts.insert(1, (b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 2**24)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _lying_header(data: bytes, rng: Random) -> bytes:
    """Return an image in which every place that holds its width or its height holds another number."""
    for order, number in (("big", 32), ("little", 32), ("big", 24), ("little", 24)):
        for length in (4, 2):
            old = number.to_bytes(length, order)  # type: ignore[arg-type]
            new = min(rng.choice(_SIDES), 256**length - 1).to_bytes(length, order)  # type: ignore[arg-type]
            place = data.find(old, 0, 200)
            if place >= 0 and rng.random() < 0.7:
                data = data[:place] + new + data[place + length :]
    return data
