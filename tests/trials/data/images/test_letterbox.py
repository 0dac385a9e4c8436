import cv2
import numpy as np
import pytest
import torch

from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from trials.data.images.letterbox import (
    PAD_RGB,
    fit_letterbox,
    letterbox,
    letterbox_boxes,
    normalise,
    unletterbox_boxes,
)

SIZES = [(48, 64), (64, 48), (480, 640), (333, 101), (1, 900), (128, 128)]


@pytest.mark.parametrize("input_hw", [(128, 128), (96, 128), (128, 64)])
@pytest.mark.parametrize("size_hw", SIZES)
def test_image_fills_one_direction(size_hw: tuple[int, int], input_hw: tuple[int, int]) -> None:
    boxed, place = letterbox(np.zeros((*size_hw, 3), np.uint8), input_hw)
    assert boxed.shape == (*input_hw, 3)
    assert place == fit_letterbox(size_hw, input_hw)
    inside = (boxed == 0).all(axis=2)
    assert inside.all(axis=0).any() or inside.all(axis=1).any()
    assert (boxed[~inside] == PAD_RGB).all()
    rows = inside.any(axis=1).sum()
    assert abs(rows - size_hw[0] * place.scale) <= 0.5 or rows == 1


@pytest.mark.parametrize("input_hw", [(128, 128), (96, 128), (128, 64)])
@pytest.mark.parametrize("size_hw", SIZES)
def test_boxes_go_there_and_back(size_hw: tuple[int, int], input_hw: tuple[int, int]) -> None:
    height, width = size_hw
    boxes = np.array([[0, 0, width, height], [width / 3, height / 4, width / 2, height]], np.float32)
    place = fit_letterbox(size_hw, input_hw)
    moved = letterbox_boxes(boxes, place)
    assert moved.min() >= 0
    assert (moved.max(axis=0)[2:] <= np.array(input_hw[::-1]) + 0.5).all()
    np.testing.assert_allclose(unletterbox_boxes(moved, place), boxes, atol=1e-3)
    as_tensor = unletterbox_boxes(torch.from_numpy(moved), place, size_hw=size_hw)
    np.testing.assert_allclose(as_tensor.numpy(), boxes, atol=1e-3)


@pytest.mark.parametrize("input_hw", [(96, 96), (320, 320), (256, 320), (320, 160)])
def test_pixels_land_where_boxes_say(input_hw: tuple[int, int]) -> None:
    image = np.zeros((150, 211, 3), np.uint8)
    box = np.array([[40, 60, 120, 110]], np.float32)
    cv2.rectangle(image, (40, 60), (119, 109), (255, 255, 255), -1)
    boxed, place = letterbox(image, input_hw)
    left, top, right, bottom = letterbox_boxes(box, place)[0]
    across = boxed[round((top + bottom) / 2), :, 0] / 255
    down = boxed[:, round((left + right) / 2), 0] / 255
    down[: place.pad_y] = down[len(down) - place.pad_y - 1 :] = 0  # of the two margins the lower may be a pixel wider
    for line, low, high in ((across, left, right), (down, top, bottom)):
        assert line.sum() == pytest.approx(high - low, abs=0.1)
        assert (line * (np.arange(len(line)) + 0.5)).sum() / line.sum() == pytest.approx((low + high) / 2, abs=0.05)


def test_detections_are_clipped_to_the_image() -> None:
    place = fit_letterbox((48, 64), (128, 128))
    boxes = torch.tensor([[-20.0, -20.0, 200.0, 200.0]])
    assert unletterbox_boxes(boxes, place, size_hw=(48, 64)).tolist() == [[0, 0, 64, 48]]


def test_no_boxes() -> None:
    place = fit_letterbox((48, 64), (128, 128))
    assert letterbox_boxes(np.zeros((0, 4), np.float32), place).shape == (0, 4)
    assert unletterbox_boxes(torch.zeros(0, 4), place, size_hw=(48, 64)).shape == (0, 4)


def test_normalise_is_imagenets() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    expected = (images.float() / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    result = normalise(images)
    torch.testing.assert_close(result, expected)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_margins_are_nearly_zero_for_the_network() -> None:
    margin = torch.tensor(PAD_RGB, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(margin).abs().max() < 0.01
