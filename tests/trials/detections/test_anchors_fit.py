"""How well anchors fit boxes whose clusters are known; needs no dataset."""

from dataclasses import replace

import numpy as np
import pytest

from tests.trials.detections.test_anchors import _mean_best_iou, _samples
from trials.detections import Anchors, fit_anchors
from trials.detections.anchors import _cluster

CENTRES = np.array(
    [(12, 30), (32, 13), (25, 25), (60, 24), (40, 70), (90, 90), (180, 70), (120, 240), (300, 280)], np.float64
)


def clustered(num_boxes: int, seed: int = 0) -> list[tuple[float, float]]:
    """Return boxes whose sides lie about 5 % around those of the centres, half of them around the first."""
    random = np.random.default_rng(seed)
    places = np.where(random.random(num_boxes) < 0.5, 0, random.integers(len(CENTRES), size=num_boxes))
    sizes = CENTRES[places] * np.exp(0.05 * random.standard_normal((num_boxes, 2)))
    return [(float(width), float(height)) for width, height in sizes]


def fit(sizes: list[tuple[float, float]], *, seed: int = 0) -> Anchors:
    return fit_anchors(_samples(sizes), input_hw=(400, 400), output_strides=(8, 16, 32), seed=seed)


@pytest.mark.parametrize("num_boxes", [300, 4001, 9000])
def test_each_cluster_gets_an_anchor(num_boxes: int) -> None:
    pairs = np.array([pair for group in fit(clustered(num_boxes)) for pair in group])
    expected = CENTRES[np.argsort(CENTRES.prod(axis=1))]
    np.testing.assert_allclose(pairs, expected, rtol=0.05)
    np.testing.assert_array_equal(pairs, pairs.round(2))


def test_one_seed_gives_one_fit_and_every_seed_a_good_one() -> None:
    random = np.random.default_rng(1)
    sizes = [(float(w), float(h)) for w, h in np.exp(random.uniform(2, 5.8, (400, 2)))]
    fits = [fit(sizes, seed=seed) for seed in (0, 0, 1)]
    assert fits[0] == fits[1] != fits[2]
    assert min(_mean_best_iou(_samples(sizes), one, input_size=400) for one in fits) > 0.57


@pytest.mark.parametrize(("side", "least", "most"), [(3.0, 2.0, 400.0), (390.0, 2.0, 400.0)])
def test_stock_anchors_stay_between_the_smallest_box_and_the_input(side: float, least: float, most: float) -> None:
    pairs = np.array([pair for group in fit([(side, side)] * 5) for pair in group])
    assert pairs.min() >= least
    assert pairs.max() <= most
    assert least in pairs or most in pairs


def test_a_centre_without_boxes_stays_where_it_is_and_one_with_a_single_box_moves_there() -> None:
    sizes = np.array([[10.0, 10.0], [12.0, 12.0], [90.0, 30.0]])
    centres = np.array([[11.0, 10.0], [80.0, 30.0], [400.0, 400.0]])
    assert _cluster(sizes, centres).tolist() == [[11.0, 11.0], [90.0, 30.0], [400.0, 400.0]]


def test_where_a_box_lies_does_not_matter() -> None:
    sample = _samples(clustered(300))[0]
    moved = replace(sample, boxes=sample.boxes + np.float32(50))
    fits = [fit_anchors([one], input_hw=(400, 400), output_strides=(8, 16, 32)) for one in (sample, moved)]
    np.testing.assert_allclose(fits[0], fits[1], rtol=0.01)


def test_a_box_as_small_as_the_smallest_counts() -> None:
    sizes = [(2.0, 2.0), *clustered(8)]
    assert fit(sizes)[0][0][0] == pytest.approx(2.0, abs=0.5)
