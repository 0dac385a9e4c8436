import json
import shutil
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
        ((0, 3, [1, 2]), r"train\.json: annotation 0 of a\.jpg: has no bbox of four numbers"),
        ((0, 3, [1, 2, -5, 6]), r"train\.json: annotation 0 of a\.jpg: bbox \[1, 2, -5, 6\] is inverted"),
        ((0, 3, [1, 2, 0, 6]), r"annotation 0 of a\.jpg: bbox \[1, 2, 0, 6\] has no area"),
        ((0, 3, [1, 2, float("nan"), 6]), r"annotation 0 of a\.jpg: bbox \[1, 2, nan, 6\] is not finite"),
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


@pytest.mark.parametrize("category", [4, None])
def test_image_whose_boxes_have_no_known_class_is_left_out(tmp_path: Path, write_image, write_coco, category) -> None:
    """It would be trained on, and scored, as an image without objects."""
    write_coco(
        "train.json", ["a.jpg", "b.jpg", "c.jpg"], [(0, 3, BOX), (1, category, BOX), (1, category, [1, 2, 3, 4])]
    )
    write_coco("val.json", ["a.jpg"], [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg", "c.jpg")
    dataset = open_dataset(str(tmp_path / "coco"), on_broken="skip")
    assert [sample.name for sample in dataset.splits["train"]] == ["a.jpg", "c.jpg"]
    assert dataset.left_out[2:] == ("b.jpg: the image is left out, since all of its boxes are broken",)


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


def test_image_listed_twice_under_two_spellings(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["a.jpg", "./a.jpg", "b.jpg"], [(0, 3, BOX), (1, 9, BOX), (2, 3, BOX)])
    write_coco("val.json", ["b.jpg"], [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    assert [sample.labels.tolist() for sample in dataset.splits["train"]] == [[0, 1], [0]]
    assert "train.json: 1 image is listed twice and was joined" in dataset.notes


def test_no_training_split(tmp_path: Path, write_image, write_coco) -> None:
    for split in ("val", "test"):
        write_coco(f"{split}.json", [f"{split}.jpg"], [(0, 3, BOX)])
        _write_images(write_image, tmp_path / "coco", f"{split}.jpg")
    with pytest.raises(DatasetError, match="no training split; found val, test"):
        open_dataset(str(tmp_path / "coco"))
    assert sorted(open_dataset(str(tmp_path / "coco"), scored="val").splits) == ["test", "val"]


def test_only_file_is_for_training_whatever_its_name(tmp_path: Path, write_image, write_coco) -> None:
    names = [f"{n}.jpg" for n in range(10)]
    write_coco("annotations/instances_val2017.json", names, [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco/val2017", *names)
    dataset = open_dataset(str(tmp_path / "coco"))
    assert sum(map(len, dataset.splits.values())) == 10
    assert (
        "annotations/instances_val2017.json is the only annotation file: its images are read for training, though named "
        "for val"
    ) in dataset.notes


@pytest.mark.parametrize("folder", ["val2017", "images"])
@pytest.mark.parametrize("scored", ["val", "test"])
def test_only_file_is_scored_as_the_split_of_its_name(
    tmp_path: Path, write_image, write_coco, folder: str, scored: str
) -> None:
    names = [f"{n}.jpg" for n in range(10)]
    path = write_coco("annotations/instances_val2017.json", names, [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco" / folder, *names)
    for spec in (tmp_path / "coco", path):
        dataset = open_dataset(str(spec), scored=scored)
        assert {split: len(samples) for split, samples in dataset.splits.items()} == {"val": 10}
        assert dataset.notes == ()


def test_only_file_of_no_split_is_scored_as_its_images_folders_say(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("annotations.json", ["0.jpg", "1.jpg"], [(0, 3, BOX), (1, 3, BOX)])
    _write_images(write_image, tmp_path / "coco/test", "0.jpg", "1.jpg")
    dataset = open_dataset(str(tmp_path / "coco"), scored="test")
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"test": 2}
    assert dataset.notes == ()


def test_only_file_is_broken_and_of_another_split_than_the_scored(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text('{"images": [')
    with pytest.raises(DatasetError, match="no annotated object, so no classes") as caught:
        open_dataset(str(tmp_path), scored="val")
    assert "the test split is left out" in caught.value.hint
    with pytest.raises(DatasetError, match=r"test\.json: the JSON is broken"):
        open_dataset(str(tmp_path), scored="test")


def test_other_json_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(json.dumps({"name": "thing"}))
    with pytest.raises(DatasetError, match="not a dataset of a known format"):
        open_dataset(str(tmp_path))


def _document(path: Path) -> dict[str, list[object]]:
    return json.loads(path.read_text())


def test_null_among_the_annotations(tmp_path: Path, write_image, write_coco) -> None:
    path = write_coco("train.json", ["a.jpg"], [(0, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [])
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    document = _document(path)
    document["annotations"].append(None)
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"train\.json: entry 1 of 'annotations' is null, not an object"):
        open_dataset(str(tmp_path / "coco"))
    dataset = open_dataset(str(tmp_path / "coco"), on_broken="skip")
    assert dataset.left_out == ("train.json: entry 1 of 'annotations' is null, not an object",)
    assert len(dataset.splits["train"][0].labels) == 1


def test_two_images_of_one_id(tmp_path: Path, write_image, write_coco) -> None:
    path = write_coco("train.json", ["a.jpg", "b.jpg", "c.jpg"], [(0, 3, BOX), (1, 3, BOX), (2, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [])
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg", "c.jpg")
    document = _document(path)
    document["images"][1]["id"] = 100
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"train\.json: the image id 100 belongs to a\.jpg and b\.jpg"):
        open_dataset(str(tmp_path / "coco"))
    document["annotations"].pop(1)
    path.write_text(json.dumps(document))
    dataset = open_dataset(str(tmp_path / "coco"), on_broken="skip")
    assert [sample.name for sample in dataset.splits["train"]] == ["c.jpg"]
    assert len(dataset.splits["train"][0].labels) == 1
    assert len(dataset.left_out) == 1


def test_one_image_under_two_ids_is_joined(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["a.jpg", "a.jpg"], [(0, 3, BOX), (1, 9, [0, 0, 5, 5])])
    write_coco("val.json", ["b.jpg"], [])
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    assert [sample.labels.tolist() for sample in dataset.splits["train"]] == [[0, 1]]
    assert "train.json: 1 image is listed twice and was joined" in dataset.notes


@pytest.mark.parametrize(
    ("root_id", "used", "note"),
    [
        (0, False, "category 'car' only groups others and has no objects: left out"),
        (0, True, "categories 0 and 1 are both named 'car': joined"),
        (5, False, "category 'car' only groups others and has no objects: left out"),
    ],
)
def test_root_category_of_the_class_s_own_name(
    tmp_path: Path, write_image, write_coco, root_id: int, used: bool, note: str
) -> None:
    """Roboflow's export of a project with one class."""
    categories = [
        {"id": root_id, "name": "car", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "car"},
    ]
    for split in ("train", "valid"):
        annotations = [(0, 1, BOX), (0, root_id if used else 1, [0, 0, 9, 9])]
        write_coco(f"{split}/_annotations.coco.json", ["a.jpg"], annotations, categories=categories)
        _write_images(write_image, tmp_path / "coco" / split, "a.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    assert dataset.class_names == ("car",)
    assert dataset.splits["val"][0].labels.tolist() == [0, 0]
    assert dataset.notes == (note,)


def test_category_in_its_own_group_is_kept(tmp_path: Path, write_image, write_coco) -> None:
    categories = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "cat"}]
    write_coco("train.json", ["a.jpg"], [(0, 2, BOX)], categories=categories)
    write_coco("val.json", ["a.jpg"], [], categories=categories)
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    assert open_dataset(str(tmp_path / "coco")).class_names == ("person", "cat")


def test_two_unrelated_categories_of_one_name(tmp_path: Path, write_coco) -> None:
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]
    write_coco("train.json", ["a.jpg"], [(0, 2, BOX)], categories=categories)
    with pytest.raises(DatasetError, match=r"train\.json: the category 'cat' is defined twice"):
        open_dataset(str(tmp_path / "coco"))


@pytest.mark.parametrize(
    ("json_at", "image_at", "name"),
    [
        ("annotations/instances_{split}.json", "Images/{split}/{name}", "{name}"),  # CVAT
        ("{split}/labels.json", "{split}/data/{name}", "{name}"),  # FiftyOne
        ("deep/er/{split}.json", "photos/{name}", "{name}"),
        ("{split}.json", "images/{name}", "images\\1\\{name}"),  # Label Studio on Windows
        ("{split}.json", "images/{name}", "/home/somebody/images/{name}"),
        ("{split}.json", "images/cam/{name}", "cam/{name}"),
    ],
)
def test_layouts(tmp_path: Path, write_image, write_coco, json_at: str, image_at: str, name: str) -> None:
    for split, stem in (("Train", "a"), ("Validation", "b")):
        image = f"{stem}.jpg"
        write_coco(json_at.format(split=split), [name.format(name=image)], [(0, 3, BOX)])
        write_image(tmp_path / "coco" / image_at.format(split=split, name=image))
    dataset = open_dataset(str(tmp_path / "coco"))
    expected = {
        "train": [image_at.format(split="Train", name="a.jpg")],
        "val": [image_at.format(split="Validation", name="b.jpg")],
    }
    assert {split: [s.name for s in samples] for split, samples in dataset.splits.items()} == expected
    assert dataset.notes == ()


def test_one_file_in_annotations_with_images_beside_that_folder(tmp_path: Path, write_image, write_coco) -> None:
    path = write_coco("annotations/instances_default.json", ["a.jpg", "b.jpg"], [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco/images/test", "a.jpg", "b.jpg")
    for spec in (path, tmp_path / "coco"):
        assert [len(samples) for samples in open_dataset(str(spec)).splits.values()] == [1, 1]


def test_image_of_another_split_is_not_taken(tmp_path: Path, write_image, write_coco) -> None:
    for split in ("train", "valid"):
        write_coco(f"{split}/_annotations.coco.json", ["1.jpg", "2.jpg"], [(0, 3, BOX)])
        _write_images(write_image, tmp_path / "coco" / split, "1.jpg", "2.jpg")
    (tmp_path / "coco/train/1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"train/1\.jpg: the image is missing"):
        open_dataset(str(tmp_path / "coco"))


def _empty(path: Path) -> None:
    path.write_text('{"images": [], "annotations": [], "categories": [{"id": 3, "name": "cat"}]}')


def _break(path: Path) -> None:
    path.write_text('{"images": [')


def _remove_annotations(path: Path) -> None:
    path.write_text(json.dumps(_document(path) | {"annotations": []}))


def _remove_images(path: Path) -> None:
    (path.parent / "t.jpg").unlink()


@pytest.mark.parametrize("damage", [_empty, _break, _remove_annotations, _remove_images])
@pytest.mark.parametrize("on_broken", ["stop", "skip"])
def test_unusable_test_split_is_a_note(tmp_path: Path, write_image, write_coco, damage, on_broken) -> None:
    for split, image in (("train", "a.jpg"), ("valid", "b.jpg"), ("test", "t.jpg")):
        path = write_coco(f"{split}/_annotations.coco.json", [image], [(0, 3, BOX)])
        _write_images(write_image, tmp_path / "coco" / split, image)
    damage(path)
    dataset = open_dataset(str(tmp_path / "coco"), on_broken=on_broken)
    assert set(dataset.splits) == {"train", "val"}
    assert any(note.startswith("the test split is left out: ") for note in dataset.notes)


def test_whole_ids_may_be_written_as_fractions(tmp_path: Path, write_image, write_coco) -> None:
    path = write_coco("train.json", ["a.jpg"], [(0, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [])
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    path.write_text(path.read_text().replace('"image_id": 100', '"image_id": 100.0'))
    assert len(open_dataset(str(tmp_path / "coco")).splits["train"][0].labels) == 1


def test_files_that_are_not_read_are_named(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["a.jpg"], [(0, 3, BOX)])
    write_coco("val.json", ["a.jpg"], [])
    write_coco("person_keypoints_train.json", ["a.jpg"], [(0, 3, BOX)])
    write_coco("more.json", ["a.jpg"], [])
    write_coco("test1.json", ["a.jpg"], [])
    write_coco("test2.json", ["a.jpg"], [])
    path = write_coco("labels_train.json", ["a.jpg"], [(0, 3, BOX)])  # Datumaro writes classes of images beside boxes
    path.write_text(path.read_text().replace('"bbox"', '"label"'))
    _write_images(write_image, tmp_path / "coco", "a.jpg", "spare.jpg")
    assert open_dataset(str(tmp_path / "coco")).notes == (
        "5 other COCO files are not read: "
        "labels_train.json, person_keypoints_train.json, test1.json, test2.json, more.json",
        "1 image of no usable entry is left out, first spare.jpg",
        "1 image is in both train and val",
    )


def test_several_files_without_a_split(tmp_path: Path, write_coco) -> None:
    write_coco("cam1.json", [], [])
    write_coco("cam2.json", [], [])
    with pytest.raises(
        DatasetError, match=r"2 annotation files, of which none names its split: cam1\.json, cam2\.json"
    ):
        open_dataset(str(tmp_path / "coco"))


def test_missing_image_in_a_subfolder_is_named_where_it_would_be(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("train.json", ["sub/a.jpg", "sub/b.jpg"], [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco", "far/away/sub/a.jpg")
    with pytest.raises(DatasetError, match=r"^far/away/sub/b\.jpg: the image is missing"):
        open_dataset(str(tmp_path / "coco"))


def test_words_of_other_formats_among_the_names_are_no_second_format(tmp_path: Path, write_image, write_coco) -> None:
    names = ["items", "objects", "shapes", "flags", "annotations", "coordinates", "classTitle", "from_name_", "assets"]
    categories = [{"id": n, "name": name, "supercategory": "none"} for n, name in enumerate(names)]
    for split in ("train", "val"):
        write_coco(f"{split}.json", ["a.jpg"], [(0, 3, BOX)], categories=categories)
    _write_images(write_image, tmp_path / "coco", "a.jpg")
    notes = open_dataset(str(tmp_path / "coco")).notes
    assert notes == ("1 image is in both train and val",)


@pytest.mark.parametrize("name", ["n" * 300 + ".jpg", "b\\u0000.jpg", "b\\ud800.jpg"])
def test_image_names_that_no_file_can_have(name: str, write_coco, write_image, tmp_path: Path) -> None:
    write_coco("train.json", ["a.jpg", "b.jpg", "c.jpg"], [(0, 3, [1, 1, 9, 9])])
    for image in ("a.jpg", "c.jpg"):
        write_image(tmp_path / "coco" / image)
    path = tmp_path / "coco/train.json"
    path.write_text(path.read_text().replace("b.jpg", name))
    with pytest.raises(DatasetError, match="has a name that no file can have"):
        open_dataset(str(tmp_path / "coco"))
    assert len(open_dataset(str(tmp_path / "coco"), on_broken="skip").left_out) == 1


def test_numbers_beyond_bounds_are_broken_items(write_coco, write_image, tmp_path: Path) -> None:
    write_coco("train.json", ["a.jpg", "b.jpg"], [(0, 3, [1, 1, 9, 9]), (1, 3, [1, 1, 9, 10**400])])
    for image in ("a.jpg", "b.jpg"):
        write_image(tmp_path / "coco" / image)
    with pytest.raises(DatasetError, match=r"has no bbox of four numbers"):
        open_dataset(str(tmp_path / "coco"))


def test_class_that_is_no_text(write_coco, write_image, tmp_path: Path) -> None:
    write_coco("train.json", ["a.jpg", "b.jpg"], [(0, 3, [1, 1, 9, 9])])
    for image in ("a.jpg", "b.jpg"):
        write_image(tmp_path / "coco" / image)
    path = tmp_path / "coco/train.json"
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = "c\ud800"
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"^coco: the class name 'c\\ud800' is not valid text"):
        open_dataset(str(tmp_path / "coco"))


@pytest.mark.parametrize(
    ("image", "annotation", "said"),
    [
        ({"width": float("inf")}, {}, ""),
        ({"file_name": ["a"]}, {}, "has no file name"),
        ({"file_name": {}}, {}, "has no file name"),
        ({"file_name": "/"}, {}, "none of its images found|the image is missing"),
        ({"file_name": "ab/" * 1500}, {}, "has a name that no file can have|the image "),
        ({}, {"bbox": [1, 2, 10**400, 4]}, "no bbox of four numbers"),
        ({}, {"bbox": [1, 2, float("inf"), 4]}, "is not finite"),
    ],
)
def test_odd_values_are_broken_items(tmp_path: Path, write_image, image, annotation, said: str) -> None:
    document = {
        "images": [{"id": 0, "file_name": "a.jpg"} | image, {"id": 1, "file_name": "b.jpg"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": BOX} | annotation for n in range(2)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    _write_images(write_image, tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    document["images"] += [{"id": 2, "file_name": "c.jpg"}, {"id": 3, "file_name": "d.jpg"}]
    (tmp_path / "train.json").write_text(json.dumps(document))
    if not said:
        assert len(open_dataset(str(tmp_path)).splits["train"]) == 3
        return
    with pytest.raises(DatasetError, match=said) as caught:
        open_dataset(str(tmp_path))
    caught.value.message.encode()
    dataset = open_dataset(str(tmp_path), on_broken="skip")
    assert dataset.left_out
    "".join(dataset.left_out).encode()


def test_a_class_whose_name_cannot_be_written_is_refused(tmp_path: Path, write_image) -> None:
    _write_images(write_image, tmp_path, "a.jpg", "b.jpg")
    for name in ("\x00", "\x1b[2J"):
        document = {
            "images": [{"id": n, "file_name": f"{name}.jpg"} for n, name in enumerate("ab")],
            "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": BOX}],
            "categories": [{"id": 1, "name": name}],
        }
        (tmp_path / "train.json").write_text(json.dumps(document))
        with pytest.raises(DatasetError, match="holds control characters"):
            open_dataset(str(tmp_path))


def test_json_nested_deeply_is_broken_json(tmp_path: Path, write_image) -> None:
    _write_images(write_image, tmp_path, "a.jpg")
    (tmp_path / "train.json").write_text('{"images": [' + "[" * 100_000)
    with pytest.raises(DatasetError, match="the JSON is broken: it is nested too deeply"):
        open_dataset(str(tmp_path))


def test_files_whose_names_differ_in_the_split_alone(tmp_path: Path, write_image, write_coco) -> None:
    for split in ("train", "val"):
        write_coco(f"{split}set.json", [f"{split}.jpg"], [(0, 3, BOX)])
        _write_images(write_image, tmp_path / "coco/images", f"{split}.jpg")
    splits = open_dataset(str(tmp_path / "coco")).splits
    assert {split: [sample.name for sample in samples] for split, samples in splits.items()} == {
        "train": ["images/train.jpg"],
        "val": ["images/val.jpg"],
    }


@pytest.mark.parametrize("folder", ["images", "frames"])
def test_folder_with_most_of_the_images_is_theirs(tmp_path: Path, write_image, write_coco, folder: str) -> None:
    names = [f"{number}.jpg" for number in range(50)]
    write_coco("annotations.json", names, [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco" / folder, *names)
    _write_images(write_image, tmp_path / "coco", *names[:30])
    dataset = open_dataset(str(tmp_path / "coco"))
    found = {sample.name for samples in dataset.splits.values() for sample in samples}
    assert found == {f"{folder}/{name}" for name in names}
    assert dataset.notes[:2] == (
        f"30 images exist in several folders: {folder}/0.jpg is used, not 0.jpg",
        "30 images of no usable entry are left out, first 0.jpg",
    )


def test_folder_of_its_split_goes_before_one_that_holds_as_many(tmp_path: Path, write_image, write_coco) -> None:
    for split in ("train", "val"):
        write_coco(f"{split}.json", ["a.jpg", "b.jpg"], [(0, 3, BOX)])
        _write_images(write_image, tmp_path / "coco" / split, "a.jpg", "b.jpg")
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg")
    names = [sample.name for samples in open_dataset(str(tmp_path / "coco")).splits.values() for sample in samples]
    assert names == ["train/a.jpg", "train/b.jpg", "val/a.jpg", "val/b.jpg"]


def test_folders_that_nothing_tells_apart(tmp_path: Path, write_image, write_coco) -> None:
    for split in ("train", "val"):
        write_coco(f"{split}.json", ["a.jpg", "b.jpg"], [(0, 3, BOX)])
    for camera in ("camera1", "camera2", "masks"):
        _write_images(write_image, tmp_path / "coco" / camera, "a.jpg", "b.jpg")
    message = r"train\.json: its images may be those in camera1 or in camera2: both hold 'a\.jpg'"
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(str(tmp_path / "coco"))
    assert caught.value.hint == "move one of the folders away, or write it in front of the images' names"
    shutil.rmtree(tmp_path / "coco/camera2")
    names = {sample.name for samples in open_dataset(str(tmp_path / "coco")).splits.values() for sample in samples}
    assert names == {"camera1/a.jpg", "camera1/b.jpg"}


def test_folder_of_a_usual_name_goes_before_others(tmp_path: Path, write_image, write_coco) -> None:
    write_coco("annotations.json", ["a.jpg", "b.jpg"], [(0, 3, BOX)])
    for folder in ("gt", "imgs"):
        _write_images(write_image, tmp_path / "coco" / folder, "a.jpg", "b.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    names = {sample.name for samples in dataset.splits.values() for sample in samples}
    assert names == {"imgs/a.jpg", "imgs/b.jpg"}
    assert "2 images exist in several folders: imgs/a.jpg is used, not gt/a.jpg" in dataset.notes


def test_folders_of_images_divide_a_single_file(tmp_path: Path, write_image, write_coco) -> None:
    names = ["train/0.jpg", "train/1.jpg", "val/0.jpg", "val/1.jpg", "test/0.jpg", "test/1.jpg"]
    path = write_coco("annotations.json", names, [(number, 3, BOX) for number in (0, 1, 2, 3, 4, 4, 5)])
    _write_images(write_image, tmp_path / "coco/images", *names)
    document = json.loads(path.read_text())
    document["annotations"].append(document["annotations"][4] | {"id": 99})
    document["annotations"][4]["bbox"] = [1]
    path.write_text(json.dumps(document))
    for spec in (path, tmp_path / "coco"):
        dataset = open_dataset(str(spec))
        assert {split: [sample.name for sample in samples] for split, samples in dataset.splits.items()} == {
            split: [f"images/{split}/0.jpg", f"images/{split}/1.jpg"] for split in ("train", "val", "test")
        }
        # what is broken in a test split stops nothing
        assert dataset.left_out == ("annotations.json: annotation 4 of test/0.jpg: has no bbox of four numbers",)


def test_images_of_a_single_file_in_one_split_s_folder_are_for_training(
    tmp_path: Path, write_image, write_coco
) -> None:
    write_coco("annotations.json", ["0.jpg", "1.jpg"], [(0, 3, BOX)])
    _write_images(write_image, tmp_path / "coco/val2017", "0.jpg", "1.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 1, "val": 1}
    assert any("its images are read for training, though named for val" in note for note in dataset.notes)


def test_crowd_as_text(tmp_path: Path, write_image, write_coco) -> None:
    crowds = [{"iscrowd": value} for value in ("0", "1", None, True)]
    write_coco("train.json", ["a.jpg", "b.jpg"], [(0, 3, BOX, crowd) for crowd in crowds] + [(1, 9, BOX)])
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    samples = {sample.name: sample for samples in dataset.splits.values() for sample in samples}
    assert samples["a.jpg"].ignored.tolist() == [False, True, False, True]
    write_coco("train.json", ["a.jpg", "b.jpg"], [(0, 3, BOX, {"iscrowd": "maybe"})])
    with pytest.raises(DatasetError, match=r"annotation 0 of a\.jpg: iscrowd is 'maybe', not 0 or 1"):
        open_dataset(str(tmp_path / "coco"))


def test_category_ids_as_text_or_decimals(tmp_path: Path, write_image, write_coco) -> None:
    categories = [{"id": "10", "name": "dog"}, {"id": 3.0, "name": "cat"}]
    write_coco("train.json", ["a.jpg", "b.jpg"], [(0, "3", BOX), (0, 10, BOX), (1, "10", BOX)], categories=categories)
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    labels = {sample.name: sample.labels.tolist() for samples in dataset.splits.values() for sample in samples}
    assert dataset.class_names == ("cat", "dog")
    assert labels == {"a.jpg": [0, 1], "b.jpg": [1]}


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 3, "name": None}], r"the category \{'id': 3, 'name': None\} has no whole-numbered 'id' and a 'name'"),
        ([{"id": 3, "name": " "}], "has no whole-numbered 'id' and a 'name'"),
        ([{"id": 3, "name": {"en": "cat"}}], "has no whole-numbered 'id' and a 'name'"),
        ([{"id": True, "name": "cat"}], "has no whole-numbered 'id' and a 'name'"),
        ([{"id": "3a", "name": "cat"}], "has no whole-numbered 'id' and a 'name'"),
        ([{"id": 3, "name": "cat"}, {"id": "3", "name": "dog"}], "the category id 3 belongs to 'cat' and 'dog'"),
    ],
)
def test_categories_without_name_or_id(tmp_path: Path, write_coco, categories, message: str) -> None:
    write_coco("train.json", ["a.jpg"], [(0, 3, BOX)], categories=categories)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(tmp_path / "coco"))


def test_box_that_cvat_turned(tmp_path: Path, write_image, write_coco) -> None:
    """CVAT writes the straight box, and by how many degrees it is turned as an attribute."""
    turned = {"attributes": {"occluded": False, "rotation": 90.0}}
    own = {"attributes": {"rotation": "left"}}
    write_coco("train.json", ["a.jpg", "b.jpg"], [(0, 3, BOX, turned), (0, 3, BOX, own), (1, 3, BOX)])
    _write_images(write_image, tmp_path / "coco", "a.jpg", "b.jpg")
    dataset = open_dataset(str(tmp_path / "coco"))
    samples = {sample.name: sample for samples in dataset.splits.values() for sample in samples}
    assert samples["a.jpg"].boxes.round(3).tolist() == [[12.5, 2.5, 27.5, 22.5], [10, 5, 30, 20]]


def test_boxes_that_are_fractions_of_the_image_are_refused(tmp_path: Path, write_image, write_coco) -> None:
    """As pixels they would all be one in a corner, and the search would train on nothing."""
    write_coco("annotations/train.json", ["a.jpg"], [(0, 3, [0.21, 0.37, 0.15, 0.27])])
    _write_images(write_image, tmp_path / "coco" / "train", "a.jpg")
    for on_broken in ("stop", "skip"):
        with pytest.raises(DatasetError, match=r"train\.json: the boxes are fractions of the image") as caught:
            open_dataset(str(tmp_path / "coco"), on_broken=on_broken)
        assert "multiply" in caught.value.hint
