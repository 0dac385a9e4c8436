"""Which training images become the validation split of a dataset that has none."""

from copy import deepcopy
from dataclasses import replace

import numpy as np

from trials.data.dataset import Sample, assemble_dataset, split_off_validation, spread


def _sample(name: str, *labels: int) -> Sample:
    return Sample(
        name=name,
        size_hw=(8, 8),
        boxes=np.tile(np.array([[0, 0, 4, 4]], np.float32), (len(labels), 1)),
        labels=np.array(labels, np.int64),
        ignored=np.zeros(len(labels), np.bool_),
        load=lambda: np.zeros((8, 8, 3), np.uint8),
    )


def test_samples_are_spread_over_their_order() -> None:
    samples = [_sample(f"{number}.jpg", 0) for number in range(9)]
    assert [sample.name for sample in spread(samples, 3)] == ["0.jpg", "4.jpg", "8.jpg"]
    assert spread(samples, 20) == samples
    assert spread((), 3) == []


def test_roboflow_s_versions_of_a_picture_stay_together() -> None:
    names = [f"train/{picture}_jpg.rf.{picture:02x}{version:030x}.jpg" for picture in range(20) for version in range(3)]
    train, val = split_off_validation([_sample(name, 0) for name in names])
    pictures = [{sample.name.partition(".rf.")[0] for sample in split} for split in (train, val)]
    assert not pictures[0] & pictures[1]
    assert (len(train), len(val)) == (51, 9)


def test_versions_of_one_picture_alone_are_divided_all_the_same() -> None:
    train, val = split_off_validation([_sample(f"a_jpg.rf.{version:032x}.jpg", 0) for version in range(10)])
    assert (len(train), len(val)) == (8, 2)


def test_the_last_image_of_a_class_stays_in_training() -> None:
    for rare in range(30):
        samples = [_sample(f"{number}.jpg", 0, *([1] if number == rare else [])) for number in range(30)]
        train, val = split_off_validation(samples)
        assert len(val) == 4
        assert any(1 in sample.labels for sample in train)


def test_each_image_the_last_one_of_a_class() -> None:
    train, val = split_off_validation([_sample(f"{number}.jpg", number) for number in range(5)])
    assert (len(train), len(val)) == (4, 1)


def test_both_parts_have_objects_where_there_are_two() -> None:
    """Images without objects are the last of no class, so that they alone would be chosen."""
    for shown in range(100):
        names = [f"{(number * 37 + shown) % 1000}.jpg" for number in range(12)]
        samples = [_sample(name, *([number] if number < 2 else [])) for number, name in enumerate(names)]
        for split in split_off_validation(samples):
            assert any(sample.has_object for sample in split)
    train, val = split_off_validation([_sample("a.jpg", 0), *(_sample(f"{number}.jpg") for number in range(5))])
    assert any(sample.has_object for sample in train)
    assert not any(sample.has_object for sample in val)


def test_images_of_two_splits_are_counted_whichever_they_are() -> None:
    one, two, three = (_sample(f"{name}.jpg", 0) for name in "abc")
    dataset = assemble_dataset(
        "d", "yolo", class_names=["x"], splits={"train": [one], "val": [two, three], "test": [two]}
    )
    assert dataset.notes == ("1 image is in both val and test",)


def test_a_test_split_of_ignored_objects_is_left_out() -> None:
    one, two, three = (_sample(f"{name}.jpg", 0) for name in "abc")
    three = replace(three, ignored=np.ones(1, np.bool_))
    dataset = assemble_dataset("d", "yolo", class_names=["x"], splits={"train": [one], "val": [two], "test": [three]})
    assert list(dataset.splits) == ["train", "val"]
    assert dataset.notes == ("the test split is left out: 1 image, no objects",)


def test_the_copy_of_a_module_shares_its_samples() -> None:
    samples = (_sample("a.jpg", 0), _sample("b.jpg"))
    assert deepcopy({"scorer": samples})["scorer"] is samples
