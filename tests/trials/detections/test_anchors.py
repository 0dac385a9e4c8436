from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trials.data import Sample, open_dataset
from trials.data.images.letterbox import fit_letterbox
from trials.detections import Anchors, fit_anchors


def _samples(sizes: list[tuple[float, float]], *, ignored: bool = False) -> list[Sample]:
    boxes = np.array([[0, 0, width, height] for width, height in sizes], np.float32).reshape(-1, 4)
    count = len(boxes)
    return [
        Sample(
            name="one",
            size_hw=(400, 400),
            boxes=boxes,
            labels=np.zeros(count, np.int64),
            ignored=np.full(count, ignored),
            load=lambda: np.zeros((400, 400, 3), np.uint8),
        )
    ]


def test_no_anchor_is_larger_than_the_input() -> None:
    widths, heights = zip(*sum(fit_anchors([], input_hw=(64, 416), output_strides=(8, 16, 32)), ()), strict=True)
    assert max(heights) == 64 < max(widths) <= 416


def _mean_best_iou(samples: Sequence[Sample], anchors: Anchors, *, input_size: int) -> float:
    """The mean over boxes of the best IoU in size."""
    best = []
    for sample in samples:
        scale = fit_letterbox(sample.size_hw, (input_size, input_size)).scale
        for width, height in (sample.boxes[:, 2:] - sample.boxes[:, :2]) * scale:
            shared = [(min(width, w) * min(height, h), w * h) for group in anchors for w, h in group]
            best.append(max(one / (width * height + area - one) for one, area in shared))
    return float(np.mean(best))


def test_finds_the_sizes_that_are_there() -> None:
    sizes = [(20.0, 20.0), (40.0, 30.0), (50.0, 90.0), (100.0, 80.0), (150.0, 150.0), (300.0, 200.0)]
    anchors = fit_anchors(_samples(sizes * 20), input_hw=(200, 200), output_strides=(16, 32))
    expected = np.array(sizes).reshape(2, 3, 2) / 2
    np.testing.assert_allclose(anchors, expected, rtol=1e-3)


def test_better_than_the_stock_anchors_and_repeatable(bccd: Path) -> None:
    samples = open_dataset(str(bccd)).splits["train"]
    anchors = fit_anchors(samples, input_hw=(320, 320), output_strides=(8, 16, 32))
    assert anchors == fit_anchors(samples, input_hw=(320, 320), output_strides=(8, 16, 32))
    stock = fit_anchors([], input_hw=(320, 320), output_strides=(8, 16, 32))
    assert _mean_best_iou(samples, anchors, input_size=320) > 0.85
    assert _mean_best_iou(samples, stock, input_size=320) < 0.75


@pytest.mark.parametrize("strides", [(32,), (16, 32), (8, 16, 32), (4, 8, 16, 32)])
@pytest.mark.parametrize("num_anchors", [1, 3, 4])
def test_shape_and_order(strides: tuple[int, ...], num_anchors: int) -> None:
    rng = np.random.default_rng(0)
    samples = _samples([(float(w), float(h)) for w, h in np.exp(rng.uniform(1, 6, (500, 2))).clip(max=400)])
    anchors = fit_anchors(samples, input_hw=(416, 416), output_strides=strides, num_anchors=num_anchors)
    assert [len(group) for group in anchors] == [num_anchors] * len(strides)
    areas = [width * height for group in anchors for width, height in group]
    assert areas == sorted(areas)
    assert min(areas) > 0


def test_without_boxes_the_stock_anchors_scale_with_the_input() -> None:
    anchors = fit_anchors([], input_hw=(208, 208), output_strides=(8, 16, 32))
    assert anchors[0][0] == (5.0, 6.5)
    assert anchors[2][2] == (186.5, 163.0)


def test_few_sizes_give_scaled_stock_anchors() -> None:
    anchors = fit_anchors(_samples([(40.0, 40.0)] * 50), input_hw=(400, 400), output_strides=(8, 16, 32))
    pairs = np.array([pair for group in anchors for pair in group])
    assert np.exp(np.log(pairs).mean()) == pytest.approx(40, rel=1e-3)
    assert len(np.unique(pairs, axis=0)) == 9


SQUARES = [(20.0 + 15 * n, 20.0 + 15 * n) for n in range(9)]


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([(40.0, 40.0)] * 5000 + SQUARES, id="other sizes so rare that a sample misses them"),
        pytest.param(SQUARES[:2] * 2500, id="two sizes"),
        pytest.param(SQUARES[:8] * 20, id="one size less than anchors"),
    ],
)
@pytest.mark.parametrize("noise_px", [0.0, 1e-5, 1e-2])
def test_fewer_sizes_than_anchors_give_different_anchors(sizes: list[tuple[float, float]], noise_px: float) -> None:
    noisy = np.array(sizes) + noise_px * np.random.default_rng(0).standard_normal((len(sizes), 2))
    anchors = fit_anchors(_samples(noisy.tolist()), input_hw=(400, 400), output_strides=(8, 16, 32))
    pairs = np.array([pair for group in anchors for pair in group])
    apart = np.abs(pairs[:, None] - pairs).max(axis=2) + 99 * np.eye(9)
    assert apart.min() > 1.0


@pytest.mark.parametrize("copies", [20, 500])
def test_as_many_sizes_as_anchors_are_found_under_noise(copies: int) -> None:
    noisy = np.array(SQUARES * copies) + 1e-2 * np.random.default_rng(0).standard_normal((9 * copies, 2))
    anchors = fit_anchors(_samples(noisy.tolist()), input_hw=(400, 400), output_strides=(8, 16, 32))
    np.testing.assert_allclose(np.reshape(anchors, (9, 2)), SQUARES, rtol=2e-3)


def test_ignored_and_tiny_boxes_do_not_count() -> None:
    stock = fit_anchors([], input_hw=(416, 416), output_strides=(8, 16, 32))
    many = [(10.0 + n, 20.0) for n in range(50)]
    assert fit_anchors(_samples(many, ignored=True), input_hw=(416, 416), output_strides=(8, 16, 32)) == stock
    assert fit_anchors(_samples([(1.0, 1.0)] * 50), input_hw=(416, 416), output_strides=(8, 16, 32)) == stock
