from dataclasses import replace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from trials.data.augmentation import (
    AugmentSettings,
    Labelled,
    augment,
    augment_mosaic,
    calm,
    modern_augmentation,
    paper_augmentation,
)
from trials.data.images.letterbox import fit_letterbox, letterbox, letterbox_boxes

GEOMETRY = AugmentSettings(
    scale=(0.5, 1.5), aspect=0.3, placement=1.0, translate=0.1, flip_horizontal=0.5, flip_vertical=0.5
)


def _scene(*, height: int = 90, width: int = 120) -> Labelled:
    """Two white rectangles on black, and their boxes."""
    boxes = np.array([[10, 20, 50, 60], [70, 40, 110, 85]], np.float32)
    image = np.zeros((height, width, 3), np.uint8)
    for left, top, right, bottom in boxes.astype(int):
        cv2.rectangle(image, (left, top), (right - 1, bottom - 1), (255, 255, 255), -1)
    return Labelled(image, boxes, np.array([0, 1]), np.array([False, True]))


@pytest.mark.parametrize("input_hw", [(120, 120), (90, 160), (100, 120)])  # in which the image keeps its size
def test_defaults_are_the_letterbox(input_hw: tuple[int, int]) -> None:
    scene = _scene()
    result = augment(scene, input_hw, settings=AugmentSettings(), rng=np.random.default_rng(0))
    expected, place = letterbox(scene.image, input_hw)
    np.testing.assert_array_equal(result.image, expected)
    np.testing.assert_allclose(result.boxes, letterbox_boxes(scene.boxes, place), atol=1e-4)
    assert result.labels.tolist() == [0, 1]
    assert result.ignored.tolist() == [False, True]


@pytest.mark.parametrize("input_hw", [(160, 160), (128, 160), (160, 96)])
@pytest.mark.parametrize("seed", range(25))
def test_boxes_follow_the_pixels(seed: int, input_hw: tuple[int, int]) -> None:
    result = augment(_scene(), input_hw, settings=GEOMETRY, rng=np.random.default_rng(seed))
    assert result.image.shape == (*input_hw, 3)
    assert (result.boxes[:, 2:] <= input_hw[::-1]).all()
    for box in result.boxes:
        left, top, right, bottom = box.round().astype(int)
        inside = result.image[top:bottom, left:right, 0]
        assert (inside > 127).mean() > 0.93
    covered = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in result.boxes)
    if len(result.boxes) == 2:
        assert (result.image.min(axis=2) > 127).sum() == pytest.approx(covered, rel=0.06)


@pytest.mark.parametrize("input_hw", [(160, 160), (128, 160), (160, 96)])
@pytest.mark.parametrize("seed", range(15))
def test_mosaic_boxes_follow_the_pixels(seed: int, input_hw: tuple[int, int]) -> None:
    settings = replace(GEOMETRY, mosaic=1.0)
    scene = _scene()._replace(ignored=np.zeros(2, np.bool_))
    result = augment_mosaic([scene] * 4, input_hw, settings=settings, rng=np.random.default_rng(seed))
    assert result.image.shape == (*input_hw, 3)
    assert len(result.boxes) == len(result.labels) == len(result.ignored)
    for left, top, right, bottom in result.boxes.round().astype(int):
        assert (result.image[top:bottom, left:right, 0] > 127).mean() > 0.85


@pytest.mark.parametrize("settings", [modern_augmentation(), paper_augmentation(), GEOMETRY])
def test_same_generator_same_result(settings: AugmentSettings) -> None:
    first, second, other = (
        augment(_scene(), (96, 96), settings=settings, rng=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, other.image)


def test_a_calm_augmentation_is_milder_and_of_the_same_kind() -> None:
    settings = replace(modern_augmentation(), mosaic=0.5, aspect=0.3, hue=20.0, gamma=0.5)
    calmed = calm(settings)
    assert calmed.scale == pytest.approx((0.843, 1.145), abs=1e-3)
    for name in ("aspect", "translate", "hue", "saturation", "brightness", "contrast", "gamma", "mosaic"):
        assert getattr(calmed, name) <= getattr(settings, name) / 2
    kept = ("placement", "flip_horizontal", "flip_vertical", "jpeg_quality", "max_boxes", "min_visible", "min_side_px")
    assert all(getattr(calmed, name) == getattr(settings, name) for name in kept)
    assert calm(AugmentSettings()) == AugmentSettings()


def _coloured(**settings: float) -> list[np.ndarray]:
    """What an augmentation makes of a plain orange image, over some seeds: (3,) RGB."""
    orange = np.full((32, 32, 3), (200, 120, 60), np.uint8)
    given = Labelled(orange, *_scene()[1:])
    results = [
        augment(given, (32, 32), settings=AugmentSettings(**settings), rng=np.random.default_rng(seed))
        for seed in range(30)
    ]
    return [result.image[16, 16].astype(float) for result in results]


def test_saturation_moves_colours_from_and_towards_grey() -> None:
    grey = np.array([0.299, 0.587, 0.114]) @ (200, 120, 60)
    shares = [(colour - grey) / (np.array((200, 120, 60)) - grey) for colour in _coloured(saturation=0.4)]
    assert all(np.ptp(share) < 0.1 for share in shares)
    assert 0.55 < min(share.mean() for share in shares) < 0.8
    assert max(share.mean() for share in shares) > 1.1  # the brightest channel may be at its end


def test_brightness_multiplies() -> None:
    factors = [colour / (200, 120, 60) for colour in _coloured(brightness=0.25)]
    assert all(np.ptp(factor) < 0.02 for factor in factors)
    assert 0.74 < min(map(np.mean, factors)) < 0.85 < 1.15 < max(map(np.mean, factors)) < 1.26


def test_contrast_moves_levels_from_and_towards_the_middle() -> None:
    factors = [(colour - 127.5) / (np.array((200, 120, 60)) - 127.5) for colour in _coloured(contrast=0.4)]
    assert all(np.ptp(factor) < 0.15 for factor in factors)  # 120 is near the middle, and rounded
    assert 0.55 < min(map(np.mean, factors)) < 0.75 < 1.25 < max(map(np.mean, factors)) < 1.45


def test_gamma_bends_levels_and_keeps_black_and_white() -> None:
    bent = [np.log(colour / 255) / np.log(np.array((200, 120, 60)) / 255) for colour in _coloured(gamma=0.5)]
    assert all(np.ptp(exponent) < 0.05 for exponent in bent)
    assert 1 / 1.52 < min(map(np.mean, bent)) < 0.8 < 1.2 < max(map(np.mean, bent)) < 1.52
    ends = augment(_scene(), (90, 120), settings=AugmentSettings(gamma=0.5), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(ends.image, _scene().image)


def test_jpeg_compression_is_down_to_its_quality() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    given = Labelled(pixels, *_scene()[1:])

    def errors(quality: int) -> list[float]:
        settings = AugmentSettings(jpeg_quality=quality)
        results = [augment(given, (64, 64), settings=settings, rng=np.random.default_rng(seed)) for seed in range(20)]
        return [float(np.abs(result.image.astype(float) - pixels).mean()) for result in results]

    assert max(errors(100)) == 0
    assert 10 < max(errors(70)) < max(errors(20))


def _offsets(input_hw: tuple[int, int], **settings: float) -> np.ndarray:
    """Where the first box's left upper corner comes to lie, over some seeds: (30, 2)."""
    results = [
        augment(_scene(), input_hw, settings=AugmentSettings(**settings), rng=np.random.default_rng(seed))
        for seed in range(30)
    ]
    return np.array([result.boxes[0, :2] for result in results])


def test_placement_moves_an_image_over_its_margin_alone() -> None:
    offsets = _offsets((90, 240), placement=1.0)  # of an image 120 wide
    assert np.ptp(offsets[:, 1]) == 0
    assert 10 <= offsets[:, 0].min() < 30
    assert 110 < offsets[:, 0].max() <= 130
    half = _offsets((90, 240), placement=0.5)
    assert 40 <= half[:, 0].min() < half[:, 0].max() <= 100


def test_translation_moves_an_image_by_a_share_of_the_input() -> None:
    offsets = _offsets((90, 120), translate=0.1) - (10, 20)
    assert (np.abs(offsets) <= (12, 9)).all()
    assert (offsets.min(axis=0) < (-8, -6)).all()
    assert (offsets.max(axis=0) > (8, 6)).all()


def test_the_aspect_changes_by_its_share() -> None:
    settings = AugmentSettings(aspect=0.3, scale=(0.5, 0.5))
    results = [augment(_scene(), (90, 120), settings=settings, rng=np.random.default_rng(seed)) for seed in range(30)]
    sides = np.array([result.boxes[0, 2:] - result.boxes[0, :2] for result in results])  # a square's
    aspects = sides[:, 0] / sides[:, 1]
    assert 1 / 1.31 < aspects.min() < 0.85 < 1.18 < aspects.max() < 1.31
    np.testing.assert_allclose(sides.prod(axis=1), 400, rtol=0.01)


def test_a_mosaic_has_the_objects_of_all_four_images() -> None:
    whole = np.array([[0, 0, 120, 90]], np.float32)
    given = [Labelled(_scene().image, whole, np.array([number]), np.array([False])) for number in range(4)]
    settings = AugmentSettings(mosaic=1.0, min_visible=0.0)
    result = augment_mosaic(given, (90, 120), settings=settings, rng=np.random.default_rng(0))
    assert result.labels.tolist() == [0, 1, 2, 3]
    left, top, right, bottom = result.boxes.T
    assert (left == left[[0, 1, 0, 1]]).all()
    assert (top == top[[0, 0, 2, 2]]).all()
    assert (right[0], bottom[0]) == (left[3], top[3])  # where they meet


def test_flips_twice_are_none() -> None:
    scene, settings = _scene(width=90), AugmentSettings(flip_horizontal=1.0, flip_vertical=1.0)
    scene = scene._replace(boxes=scene.boxes[:1], labels=scene.labels[:1], ignored=scene.ignored[:1])
    once = augment(scene, (90, 90), settings=settings, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(once.image, scene.image[::-1, ::-1])
    np.testing.assert_allclose(once.boxes, [[40, 30, 80, 70]])


def test_objects_left_too_small_are_dropped() -> None:
    settings = AugmentSettings(scale=(2.0, 2.0), placement=1.0, min_visible=0.5)
    for seed in range(20):
        scene = _scene(width=90)._replace(ignored=np.zeros(2, np.bool_))
        result = augment(scene, (90, 90), settings=settings, rng=np.random.default_rng(seed))
        areas = (result.boxes[:, 2:] - result.boxes[:, :2]).prod(axis=1)
        whole = np.array([1600, 1800])[result.labels] * 4
        assert (areas >= 0.5 * whole - 1).all()
    tiny = augment(scene, (4, 4), settings=AugmentSettings(min_side_px=2.0), rng=np.random.default_rng(0))
    assert len(tiny.boxes) == 0


@pytest.mark.parametrize("seed", range(20))
def test_ignored_boxes_stay_while_any_of_them_is_inside(seed: int) -> None:
    """Dropped, what is left of them would be trained as background."""
    scene = _scene(width=90)
    scene = scene._replace(boxes=np.array([[0, 0, 90, 90], [70, 40, 71, 85]], np.float32))
    settings = AugmentSettings(scale=(4.0, 4.0), placement=1.0, min_visible=0.6)
    rngs = [np.random.default_rng(seed) for _ in range(2)]
    assert len(augment(scene._replace(ignored=np.zeros(2, bool)), (90, 90), settings=settings, rng=rngs[0]).boxes) == 0
    result = augment(scene._replace(ignored=np.ones(2, bool)), (90, 90), settings=settings, rng=rngs[1])
    assert result.boxes[0].tolist() == [0, 0, 90, 90]
    assert (result.boxes[:, 2:] > result.boxes[:, :2]).all()


def test_a_thin_ignored_box_stays() -> None:
    given = _scene()._replace(boxes=np.array([[10, 20, 11, 60], [70, 40, 71, 85]], np.float32))
    result = augment(given, (120, 120), settings=AugmentSettings(), rng=np.random.default_rng(0))
    assert result.labels.tolist() == [1]  # the object is dropped


def test_objects_beyond_the_limit_are_ignored() -> None:
    settings = AugmentSettings(max_boxes=1)
    scene = _scene()._replace(ignored=np.zeros(2, np.bool_))
    results = [augment(scene, (90, 90), settings=settings, rng=np.random.default_rng(seed)) for seed in range(20)]
    assert {tuple(result.ignored.tolist()) for result in results} == {(False, True), (True, False)}
    assert {tuple(result.labels.tolist()) for result in results} == {(0, 1)}
    ignored = _scene()._replace(ignored=np.array([True, False]))
    for seed in range(20):  # it stays, beside the one object: left out it would be trained as background
        result = augment(ignored, (90, 90), settings=settings, rng=np.random.default_rng(seed))
        assert result.labels.tolist() == [0, 1]
        assert result.ignored.tolist() == [True, False]


def test_image_without_boxes() -> None:
    empty = Labelled(_scene().image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    for settings in (modern_augmentation(), paper_augmentation()):
        assert augment(empty, (64, 64), settings=settings, rng=np.random.default_rng(0)).boxes.shape == (0, 4)
    joined = augment_mosaic([empty] * 4, (64, 64), settings=modern_augmentation(), rng=np.random.default_rng(0))
    assert joined.boxes.shape == (0, 4)


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    grey = Labelled(np.full((32, 32, 3), 90, np.uint8), *_scene()[1:])
    settings = AugmentSettings(hue=90, saturation=0.8)
    result = augment(grey, (32, 32), settings=settings, rng=np.random.default_rng(1))
    assert np.abs(result.image.astype(int) - 90).max() <= 1


def test_hue_turns_colours() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    turned = augment(
        Labelled(red, *_scene()[1:]), (32, 32), settings=AugmentSettings(hue=120), rng=np.random.default_rng(5)
    )
    assert turned.image[0, 0, 1:].max() > 60


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": (2.0, 1.0)}, "scale .* is not an increasing pair"),
        ({"mosaic": 1.5}, "mosaic is 1.5, not from 0 to 1"),
        ({"hue": -1.0}, "hue is -1.0"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0"),
        ({"max_boxes": -1}, "max_boxes and min_side_px"),
    ],
)
def test_bad_settings(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentSettings(**wrong)


@pytest.mark.parametrize("settings", [modern_augmentation(), paper_augmentation()])
def test_an_image_is_warped_and_coloured_at_most_once(
    settings: AugmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many effects there are: each pass over the pixels costs about a millisecond."""
    passes = {name: Mock(wraps=getattr(cv2, name)) for name in ("warpAffine", "transform", "LUT")}
    for name, counted in passes.items():
        monkeypatch.setattr(cv2, name, counted)
    for seed in range(15):
        augment(_scene(), (320, 320), settings=settings, rng=np.random.default_rng(seed))
    assert passes["warpAffine"].call_count == 15
    assert all(counted.call_count <= 15 for counted in passes.values())


def test_a_shrunk_image_gives_the_same_boxes() -> None:
    scene = _scene()
    half = Labelled(cv2.resize(scene.image, (60, 45)), scene.boxes / 2, scene.labels, scene.ignored)
    whole, shrunk = (augment(s, (96, 96), settings=GEOMETRY, rng=np.random.default_rng(7)) for s in (scene, half))
    np.testing.assert_allclose(whole.boxes, shrunk.boxes, atol=1e-3)
    assert fit_letterbox((90, 120), (96, 96)).scale * 2 == fit_letterbox((45, 60), (96, 96)).scale
