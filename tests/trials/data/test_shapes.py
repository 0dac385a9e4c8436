import pickle
import subprocess
import sys

import numpy as np
import pytest

from trials.data import DatasetError, open_dataset
from trials.data.shape_scene import FINER, SHAPE_CLASSES, shape_mask
from trials.data.shapes import ShapesImage, ShapesSettings, make_shapes, parse_shapes

ALL_CLASSES = ShapesSettings(num_train=40, num_val=10, num_classes=len(SHAPE_CLASSES), size=96)


def test_spec_round_trips() -> None:
    settings = ShapesSettings(num_train=24, num_val=8, num_test=4, size=64, num_classes=3, seed=5)
    assert parse_shapes("shapes:train=24,val=8,test=4,size=64,classes=3,seed=5") == settings
    assert parse_shapes(make_shapes(settings).name) == settings
    assert parse_shapes("shapes") == ShapesSettings()
    assert make_shapes(ShapesSettings(num_train=3, num_val=2)).name == "shapes:train=3,val=2"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("shapes:tran=3", r"'tran=3' is not key=number with a key of train, val"),
        ("shapes:train", r"'train' is not key=number"),
        ("shapes:train=-3", r"'train=-3' is not key=number"),
        ("shapes:train=0", r"num_train is 0, not from 1"),
        ("shapes:classes=99", r"num_classes is 99, not from 1 to 8"),
        ("shapes:size=8", r"size is 8, not from 32"),
    ],
)
def test_bad_spec(spec: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(spec)


def test_sizes_are_checked() -> None:
    with pytest.raises(DatasetError, match=r"sizes 0\.5 to 0\.2 are not within"):
        ShapesSettings(min_share=0.5, max_share=0.2)


def test_box_is_the_extent_of_the_mask() -> None:
    seen = set()
    for index in range(ALL_CLASSES.num_train):
        for shape in ShapesImage(ALL_CLASSES, "train", index).lay_out():
            mask = shape_mask(shape, left=0, top=0, width=ALL_CLASSES.size, height=ALL_CLASSES.size)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            extent = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / FINER
            np.testing.assert_array_equal(extent, shape.box)
            seen.add(shape.label)
    assert seen == set(range(len(SHAPE_CLASSES)))


def test_shapes_keep_a_part_visible() -> None:
    for index in range(ALL_CLASSES.num_train):
        shapes = ShapesImage(ALL_CLASSES, "train", index).lay_out()
        masks = [shape_mask(s, left=0, top=0, width=96, height=96) > 0 for s in shapes]
        for number, mask in enumerate(masks):
            covered = np.any([np.zeros_like(mask), *masks[number + 1 :]], axis=0) & mask
            assert covered.sum() <= 0.65 * mask.sum()  # placed at 0.6, counted on the coarser grid


def test_annotations_are_sound() -> None:
    dataset = make_shapes(ALL_CLASSES)
    for sample in dataset.splits["train"]:
        assert len(sample.boxes) >= 1
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= 96).all()
        longest = (sample.boxes[:, 2:] - sample.boxes[:, :2]).max(axis=1) / 96
        assert (longest > 0.07).all()
        assert (longest < 0.62).all()
        assert sample.labels.max() < len(dataset.class_names)


def test_images_follow_from_seed_split_and_index_alone() -> None:
    few, many = (make_shapes(ShapesSettings(num_train=n, num_val=2)).splits["train"] for n in (3, 9))
    for short, long in zip(few, many, strict=False):
        np.testing.assert_array_equal(short.boxes, long.boxes)
        np.testing.assert_array_equal(short.load(), long.load())
    others = [
        make_shapes(ShapesSettings(seed=1)).splits["train"][0],
        make_shapes(ShapesSettings()).splits["val"][0],
        few[1],
    ]
    for other in others:
        assert not np.array_equal(few[0].load(), other.load())


def test_another_process_draws_the_same() -> None:
    code = "from trials.data.opening import *; print(open_dataset('shapes').splits['train'][3].load().tobytes().hex())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip()
    assert there == make_shapes(ShapesSettings()).splits["train"][3].load().tobytes().hex()


def test_samples_pickle() -> None:
    sample = make_shapes(ShapesSettings(num_train=1, num_val=1)).splits["train"][0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sample)).load(), sample.load())


def test_image_is_uint8_rgb_of_the_stated_size() -> None:
    image = make_shapes(ShapesSettings(num_train=1, num_val=1, size=100)).splits["train"][0].load()
    assert image.shape == (100, 100, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10
