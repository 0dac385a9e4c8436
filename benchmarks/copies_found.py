"""Which images `yoloret-nas data` takes for the same picture, and how many changed copies it finds.

    python -m benchmarks.copies_found DATA [DATA ...] [--changed 400]

Compares each image of a dataset with all others and prints the pairs that count as the same picture: look at them. Then
changes the first images (JPEG quality 70; half the size; 25 levels brighter or darker; all of it) and prints how many are
found again. Generated images work too: shapes:train=4800,val=200.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trials.data import open_dataset
from trials.data.images.look import Look, find_same_pictures, look_at

_Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Print pairs and shares of each dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--changed", type=int, default=400, help="Images to change.")
    given = parser.parse_args()
    for data in given.data:
        samples = [sample for split in open_dataset(data).splits.values() for sample in split]
        looks = [_look(sample.load()) for sample in samples]
        pairs = [(samples[one].name, samples[other].name) for one, other in _pairs(looks)]
        print(f"{data}: {len(samples)} images, {len(pairs)} pair(s) of the same picture")
        for pair in pairs:
            print(f"  {pair[0]} {pair[1]}")
        changed = samples[: given.changed]
        for name, change in _CHANGES.items():
            found = find_same_pictures([_look(change(sample.load())) for sample in changed], looks)
            copies = {
                frozenset((sample.name, samples[index].name))
                for sample, index in zip(changed, found, strict=True)
                if index is not None
            }
            num_found = sum(index is not None for index in found)
            wrong = copies - {frozenset(pair) for pair in pairs} - {frozenset([sample.name]) for sample in changed}
            print(f"  {name:<16} {num_found} of {len(changed)} found, {len(wrong)} taken for another")


def _look(pixels: _Pixels) -> Look:
    return look_at(Path("/dev/null"), pixels)


def _pairs(looks: list[Look]) -> list[tuple[int, int]]:
    """Return the pairs of the same picture, by halving: each two images are in different halves once."""
    pairs = set()
    for bit in range(max(1, (len(looks) - 1).bit_length())):
        halves: tuple[list[int], list[int]] = ([], [])
        for place in range(len(looks)):
            halves[place >> bit & 1].append(place)
        found = find_same_pictures([looks[place] for place in halves[0]], [looks[place] for place in halves[1]])
        pairs |= {
            (min(place, halves[1][index]), max(place, halves[1][index]))
            for place, index in zip(halves[0], found, strict=True)
            if index is not None
        }
    return sorted(pairs)


def _as_jpeg(pixels: _Pixels, quality: int) -> _Pixels:
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _halve(pixels: _Pixels) -> _Pixels:
    return np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def _shift(pixels: _Pixels, levels: int) -> _Pixels:
    return (pixels.astype(np.int16) + levels).clip(0, 255).astype(np.uint8)


_CHANGES: dict[str, Callable[[_Pixels], _Pixels]] = {
    "JPEG quality 70": lambda pixels: _as_jpeg(pixels, 70),
    "half the size": lambda pixels: _as_jpeg(_halve(pixels), 90),
    "25 brighter": lambda pixels: _as_jpeg(_shift(pixels, 25), 90),
    "25 darker": lambda pixels: _as_jpeg(_shift(pixels, -25), 90),
    "all of it": lambda pixels: _as_jpeg(_shift(_halve(pixels), -25), 70),
}

if __name__ == "__main__":
    main()
