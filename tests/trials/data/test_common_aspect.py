"""The input that suits a dataset's images."""

import numpy as np
import pytest

from trials.data import Sample
from trials.data.common_aspect import common_aspect, count_half_empty, filled_shares


def of(*sizes: tuple[int, int]) -> list[Sample]:
    """Samples of these widths and heights."""
    return [
        Sample(
            name="one",
            size_hw=(height, width),
            boxes=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, np.int64),
            ignored=np.zeros(0, np.bool_),
            load=lambda: np.zeros((1, 1, 3), np.uint8),  # not called
        )
        for width, height in sizes
    ]


@pytest.mark.parametrize(
    ("sizes", "aspect"),
    [
        ([(640, 480)], "4:3"),
        ([(1920, 1080)] * 3 + [(1280, 720)], "16:9"),
        ([(1920, 1200)], "8:5"),
        ([(1600, 1024)], "8:5"),  # nearly
        ([(1080, 1920)], "9:16"),
        ([(333, 333)], "1:1"),
        ([(110, 100)], "1:1"),
        ([(640, 480), (480, 640)], "1:1"),  # upright ones would be shown at three quarters of the size
        ([(640, 480)] * 96 + [(480, 640)] * 4, "4:3"),
        ([(640, 480)] * 58 + [(480, 640)] * 42, "4:3"),
        ([(640, 480)] * 55 + [(480, 640)] * 45, "5:4"),
        ([(640, 480)] * 52 + [(480, 640)] * 48, "1:1"),
        ([(378, 504)] * 86 + [(960, 540)] * 14, "3:4"),  # 5:4 fits the worst of them best, and none well
        ([(4000, 100)], "4:1"),
    ],
)
def test_images_fill_it_on_average(sizes: list[tuple[int, int]], aspect: str) -> None:
    assert common_aspect(of(*sizes)) == aspect


def test_an_image_fills_what_its_letterbox_leaves_of_the_input() -> None:
    assert filled_shares(of((640, 480), (480, 640), (100, 100)), "4:3").tolist() == pytest.approx([1, 9 / 16, 3 / 4])


def test_an_image_that_fills_half_of_the_input_is_not_half_empty() -> None:
    assert count_half_empty(of((200, 100), (201, 100), (100, 201), (100, 100)), (9, 9)) == 2
