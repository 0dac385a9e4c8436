"""Copies of a picture are found, other pictures are not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from trials.data import open_dataset
from trials.data.images.look import find_same_pictures, look_at

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("look") / "file"
    path.write_bytes(b"content")
    return path


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    return [sample.load() for sample in open_dataset("shapes:train=30,val=1,size=256").splits["train"]]


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    decoded = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return np.asarray(decoded, np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: as_jpeg(pixels, 70),
        lambda pixels: as_jpeg(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 90),
        lambda pixels: cv2.resize(pixels, (200, 100), interpolation=cv2.INTER_AREA),
        lambda pixels: cv2.add(pixels, np.full_like(pixels, 25)),
    ],
    ids=["encoded anew", "half", "squashed", "brighter"],
)
def test_changed_pictures_are_the_same(pictures: list[Pixels], file: Path, change: Callable[[Pixels], Pixels]) -> None:
    looks = [look_at(file, picture) for picture in pictures]
    assert find_same_pictures([look_at(file, change(picture)) for picture in pictures], looks) == list(range(30))


def test_other_pictures_are_not(pictures: list[Pixels], file: Path) -> None:
    looks = [look_at(file, picture) for picture in pictures]
    assert find_same_pictures(looks[:10], looks[10:]) == [None] * 10


def test_frames_of_a_fixed_camera_are_told_apart(pictures: list[Pixels], file: Path) -> None:
    """An object of a tenth of the width is a few of dHash's 64 bits, but stands out of a thumbnail."""
    frames = []
    for place in range(10, 210, 25):
        frame = pictures[0].copy()
        window = frame[place : place + 25, 100:125]
        window[:] = 255 if window.mean() < 128 else 0
        frames.append(look_at(file, frame))
    assert find_same_pictures(frames[::2], frames[1::2]) == [None] * 4


def test_empty_pictures_are_like_no_other(file: Path) -> None:
    flat = [look_at(file, np.full((64, 64, 3), level, np.uint8)) for level in (0, 0, 200)]
    assert find_same_pictures(flat[:1], flat[1:]) == [None]
    assert find_same_pictures(flat, []) == [None] * 3
    assert find_same_pictures([], flat) == []


def test_digests_tell_files_apart(tmp_path: Path, pictures: list[Pixels]) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    one, other = (look_at(tmp_path / name, pictures[0]) for name in "ab")
    assert one.digest != other.digest
    assert (len(one.digest), len(one.thumbnail)) == (16, 32 * 32)


def test_photographs(bccd: Path, cards: Path) -> None:
    """Each reported pair was looked at: photographs of one scene, moved by a few pixels, and one in two sizes."""
    looks = {}
    samples = (*open_dataset(str(bccd)).splits["val"][:30], *open_dataset(str(cards)).splits["train"])
    for sample in (*samples, *open_dataset(str(cards)).splits["val"]):
        if Path(sample.name).stem.startswith(("BloodImage", "IMG_24", "cam_image")):  # the others take seconds
            looks[Path(sample.name).stem] = look_at(sample.load.path, sample.load())
    some = ["cam_image54", *sorted(looks.keys() - {"cam_image1", "cam_image54"})[1::2]]
    others = sorted(looks.keys() - some)
    found = find_same_pictures([looks[name] for name in some], [looks[name] for name in others])
    pairs = {name: others[index] for name, index in zip(some, found, strict=True) if index is not None}
    assert {tuple(sorted(pair)) for pair in pairs.items()} == {
        ("IMG_2464", "IMG_2465"),
        ("IMG_2473", "IMG_2474"),
        ("cam_image1", "cam_image54"),
    }
