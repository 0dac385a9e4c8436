"""What tells copies of a picture: the digest of its file, and a thumbnail of its pixels.

Legend: N images, H W height and width in pixels, S side of a thumbnail.

A hash of gradients, as dHash's 64 or 256 bits, is smaller than a thumbnail, but takes pictures that differ in a small part
for the same: all frames of a fixed camera, or products on white.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

THUMBNAIL_SIDE = 32
"""S: an object of 3 % of the picture's width fills a pixel, and so tells two frames of a fixed camera apart."""

MOST_DIFFERENT = 0.5
"""Largest difference of two thumbnails of one picture, in standard deviations of a thumbnail's pixels."""

_COARSE_SIDE = 16
_AT_ONCE = 128  # their similarities with COCO's 118 000 training images take 60 MB
_FLAT = 1e-3  # standard deviation, in grey levels, of a thumbnail without a picture


class Look(NamedTuple):
    """What an image file holds, in a few bytes."""

    digest: bytes
    """16 bytes that tell the file's content from any other."""
    thumbnail: bytes
    """(S, S) uint8 grey, whatever the picture's aspect."""


def look_at(path: Path, pixels: npt.NDArray[np.uint8]) -> Look:
    """Return the look of an image.

    Args:
        path: Its file.
        pixels: (H, W, 3) RGB, as decoded from it.

    Raises:
        OSError: The file cannot be read.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return Look(hashlib.blake2b(path.read_bytes(), digest_size=16).digest(), thumbnail.tobytes())


def find_same_pictures(looks: Sequence[Look], among: Sequence[Look]) -> list[int | None]:
    """Return for each of N looks the index of the same picture among others; None where there is none.

    The picture may be encoded anew, resized, or brighter or darker. It is the most similar one (by correlation of coarse
    thumbnails), and differs nowhere by more than `MOST_DIFFERENT`. Pictures without any contrast are like no other.
    """
    if not looks or not among:
        return [None] * len(looks)
    coarse_others = np.concatenate([_shrink(_standardise(part)) for part in _parts(among)])  # (M, 256)
    found: list[int | None] = []
    for part in _parts(looks):
        thumbnails = _standardise(part)  # (N, S, S)
        nearest = (_shrink(thumbnails) @ coarse_others.T).argmax(axis=1)
        differences = np.abs(thumbnails - _standardise([among[index] for index in nearest])).max(axis=(1, 2))
        is_same = (differences <= MOST_DIFFERENT) & thumbnails.any(axis=(1, 2))
        found += [int(index) if same else None for index, same in zip(nearest, is_same, strict=True)]
    return found


def _parts(looks: Sequence[Look]) -> Iterator[Sequence[Look]]:
    return (looks[begin : begin + _AT_ONCE] for begin in range(0, len(looks), _AT_ONCE))


def _standardise(looks: Sequence[Look]) -> npt.NDArray[np.float32]:
    """Return (N, S, S) thumbnails of mean 0 and deviation 1; those without contrast are 0."""
    pixels = np.frombuffer(b"".join(look.thumbnail for look in looks), np.uint8)
    thumbnails = pixels.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE).astype(np.float32)
    thumbnails -= thumbnails.mean(axis=(1, 2), keepdims=True)
    deviations = np.sqrt(np.einsum("nij,nij->n", thumbnails, thumbnails))[:, None, None] / THUMBNAIL_SIDE
    thumbnails *= np.where(deviations > _FLAT, 1 / np.maximum(deviations, _FLAT), 0).astype(np.float32)
    return thumbnails


def _shrink(thumbnails: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (N, 256) coarse thumbnails of unit length."""
    step = THUMBNAIL_SIDE // _COARSE_SIDE
    cells = thumbnails.reshape(-1, _COARSE_SIDE, step, _COARSE_SIDE, step)
    coarse: npt.NDArray[np.float32] = cells.mean(axis=(2, 4)).reshape(len(thumbnails), -1)
    coarse /= np.maximum(np.linalg.norm(coarse, axis=1, keepdims=True), _FLAT)
    return coarse
