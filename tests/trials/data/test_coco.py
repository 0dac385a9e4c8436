import json
from pathlib import Path

import pytest

from trials.data import DatasetError, open_dataset

BOX = [10, 5, 20, 15]


def _write_images(write_image, folder: Path, *names: str) -> None:
    for name in names:
        write_image(folder / name)


def test_official_layout(tmp_path: Path, write_image, write_coco) -> None:
    root = tmp_path / "coco"
    write_coco("annotations/instances_train2017.json", ["1.jpg", "2.jpg"], [(0, 9, BOX), (0, 3, BOX, {"iscrowd": 1})])
    write_coco("annotations/instances_val2017.json", ["3.jpg"], [(0, 3, [0, 0, 64, 48])])
    (root / "annotations/captions_train2017.json").write_text('{"images": [], "annotations": []}')
    _write_images(write_image, root / "train2017", "1.jpg", "2.jpg")
    _write_images(write_image, root / "val2017", "3.jpg")
    dataset = open_dataset(str(root))
    sample, empty = dataset.splits["train"]
    assert dataset.format == "coco"
    assert dataset.class_names == ("cat", "dog")
    assert sample.boxes.tolist() == [[10, 5, 30, 20], [10, 5, 30, 20]]
    assert sample.labels.tolist() == [1, 0]
    assert sample.ignored.tolist() == [False, True]
    assert sample.name == "train2017/1.jpg"
    assert len(empty.labels) == 0
    assert sample.load().shape == (48, 64, 3)


def test_roboflow_layout_and_its_group_category(tmp_path: Path, write_image, write_coco) -> None:
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "red", "supercategory": "cells"},
    ]
    for split in ("train", "valid"):
        write_coco(f"{split}/_annotations.coco.json", ["a.jpg"], [(0, 1, BOX)], categories=categories)
        _write_images(write_image, tmp_path / "coco" / split, "a.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    assert dataset.class_names == ("red",)
    assert set(dataset.splits) == {"train", "val"}
    assert dataset.notes == ("category 'cells' only groups others and has no objects: left out",)


def test_plain_names_and_one_image_folder(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["a.jpg"], [(0, 3, BOX)])
    write_coco("val.json", ["b.jpg"], [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco/images", "a.jpg", "b.jpg")
    assert open_dataset(str(tmp_path / "coco")).splits["val"][0].name == "images/b.jpg"


def test_single_file_is_split(tmp_path: Path, write_image, write_coco) -> None:
    names = [f"{n}.jpg" for n in range(10)]
    path = write_coco("export.json", names, [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco", *names)
    for spec in (path, path.parent):
        dataset = open_dataset(str(spec))
        assert [len(dataset.splits[split]) for split in ("train", "val")] == [8, 2]


def test_categories_of_other_files_are_matched_by_name(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["a.jpg"], [(0, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [(0, 1, BOX)], categories=[{"id": 1, "name": "dog"}])
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    assert open_dataset(str(tmp_path / "coco")).splits["val"][0].labels.tolist() == [1]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ((0, 4, BOX), r"train\.json: annotation 0 has an unknown class 4"),
        ((7, 3, BOX), r"train\.json: annotation 0 names an unknown image 107"),
        ((0, 3, [1, 2]), r"train\.json: annotation 0 of a\.jpg has no bbox of four numbers"),
        ((0, 3, [1, 2, -5, 6]), r"a\.jpg: box 1 \(1\.0, 2\.0, -4\.0, 8\.0\) is inverted"),
        ((0, 3, [1, 2, 0, 6]), r"a\.jpg: box 1 .* has no area"),
        ((0, 3, [1, 2, float("nan"), 6]), r"a\.jpg: box 1 .* is not finite"),
    ],
)
def test_broken_annotation(tmp_path: Path, write_image, write_coco, annotation, message: str) -> None:
    write_coco("train.json", ["a.jpg"], [annotation, (0, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [])
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(tmp_path / "coco"))
    dataset = open_dataset(str(tmp_path / "coco"), on_broken="skip")
    assert len(dataset.splits["train"][0].labels) == 1
    assert len(dataset.left_out) == 1


def test_missing_image_is_left_out(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["gone.jpg", "a.jpg"], [(1, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [])
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    with pytest.raises(DatasetError, match=r"gone\.jpg: the image is missing"):
        open_dataset(str(tmp_path / "coco"))
    dataset = open_dataset(str(tmp_path / "coco"), on_broken="skip")
    assert dataset.left_out == ("gone.jpg: the image is missing",)


def test_missing_image_folder(tmp_path: Path, write_coco) -> None:
    write_coco("train.json", ["a.jpg"], [])
    with pytest.raises(DatasetError, match=r"none of its images found, the first is 'a\.jpg'") as caught:
        open_dataset(str(tmp_path / "coco"))
    assert "images/train" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', r"train\.json: the JSON is broken"),
        ('{"images": []}', r"COCO annotations hold a list 'annotations'"),
        ('{"images": [], "annotations": [], "categories": [{"id": "x"}]}', r"the category .* has no whole-numbered"),
    ],
)
def test_broken_json(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(tmp_path))


def test_two_files_for_one_split(tmp_path: Path, write_coco) -> None:
    for year in (2014, 2017):
        write_coco(f"annotations/instances_train{year}.json", [], [])
    with pytest.raises(DatasetError, match=r"train2014\.json and .*train2017\.json are both annotations of train"):
        open_dataset(str(tmp_path / "coco"))


def test_no_training_split(tmp_path: Path, write_coco) -> None:
    write_coco("val.json", [], [])
    with pytest.raises(DatasetError, match="no annotations of a training split; found val"):
        open_dataset(str(tmp_path / "coco"))


def test_other_json_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(json.dumps({"name": "thing"}))
    with pytest.raises(DatasetError, match="not a dataset of a known format"):
        open_dataset(str(tmp_path))
