import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trials.data import DatasetError, open_dataset
from trials.data.formats.file_tree import FileTree
from trials.data.formats.voc_images import VocImages

ONE_CAT = [("cat", 1, 1, 64, 48)]


def test_coordinates_count_from_one_and_include_the_last_pixel(write_voc) -> None:
    root = write_voc(
        {"a": [("dog", 11, 6, 20, 15), ("cat", 1, 1, 64, 48, "difficult")], "b": []}, splits={"train": "a", "val": "b"}
    )
    dataset = open_dataset(str(root))
    sample = dataset.splits["train"][0]
    assert dataset.format == "voc"
    assert dataset.class_names == ("cat", "dog")
    np.testing.assert_array_equal(sample.boxes, [[10, 5, 20, 15], [0, 0, 64, 48]])
    assert sample.boxes.dtype == np.float32
    assert sample.labels.tolist() == [1, 0]
    assert sample.ignored.tolist() == [False, True]
    assert sample.name == "JPEGImages/a.jpg"
    assert sample.size_hw == (48, 64)
    assert sample.load().shape == (48, 64, 3)
    assert dataset.notes == ()


def test_image_without_objects_is_legal(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": []}, splits={"train": ["a", "b"], "val": ["b"]})
    empty = open_dataset(str(root)).splits["val"][0]
    assert (empty.boxes.shape, empty.labels.shape, empty.ignored.shape) == ((0, 4), (0,), (0,))


def test_coordinates_from_zero_are_recognised(write_voc) -> None:
    dataset = open_dataset(str(write_voc({"a": [("cat", 0, 0, 64, 48)], "b": [("cat", 5, 6, 7, 8)]})))
    boxes = {sample.name[-5]: sample.boxes[0].tolist() for split in dataset.splits.values() for sample in split}
    assert boxes == {"a": [0, 0, 64, 48], "b": [5, 6, 7, 8]}
    assert any("counted from 0" in note for note in dataset.notes)


def test_validation_is_split_off_and_said(write_voc) -> None:
    root = write_voc({f"i{n}": ONE_CAT for n in range(20)})
    first, second = open_dataset(str(root)), open_dataset(str(root))
    assert [len(first.splits[split]) for split in ("train", "val")] == [17, 3]
    assert [s.name for s in first.splits["val"]] == [s.name for s in second.splits["val"]]
    assert first.fingerprint == second.fingerprint
    assert "no validation split: 3 of 20 training images set apart for it" in first.notes


def test_trainval_less_val_is_train(write_voc) -> None:
    root = write_voc({name: ONE_CAT for name in "abc"}, splits={"trainval": ["a", "b", "c"], "val": ["c"]})
    dataset = open_dataset(str(root))
    assert [sample.name for sample in dataset.splits["train"]] == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]


def test_trainval_less_train_is_val(write_voc) -> None:
    root = write_voc({name: ONE_CAT for name in "abc"}, splits={"trainval": ["a", "b", "c"], "train": ["a", "c"]})
    assert [sample.name for sample in open_dataset(str(root)).splits["val"]] == ["JPEGImages/b.jpg"]


@pytest.mark.parametrize("parent", ["", "VOCdevkit/"])
def test_years_are_joined(write_voc, parent: str) -> None:
    write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]}, folder=f"{parent}VOC2007")
    root = write_voc({"a": [("dog", 1, 1, 9, 9)]}, splits={"train": ["a"]}, folder=f"{parent}VOC2012")
    dataset = open_dataset(str(root))
    names = [sample.name for sample in dataset.splits["train"]]
    assert names == [f"{parent}VOC2007/JPEGImages/a.jpg", f"{parent}VOC2012/JPEGImages/a.jpg"]
    assert dataset.class_names == ("cat", "dog")


def test_an_image_in_two_splits_is_told(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a", "b", "b"], "val": ["b"]})
    assert open_dataset(str(root)).notes == (
        "1 image is listed twice in train",
        "1 image is in both train and val",
    )


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((30, 5, 20, 15), r"box 1 \(29\.0, 4\.0, 20\.0, 15\.0\) is inverted"),
        ((21, 5, 20, 15), r"has no area"),
        ((70, 5, 80, 15), r"lies outside its image \(64×48\)"),
        (("nan", 5, 20, 15), r"is not finite"),
        (("left", 5, 20, 15), r"object 1: could not convert string to float: 'left'"),
    ],
)
def test_broken_box_is_named_or_left_out(write_voc, box: tuple[object, ...], reason: str) -> None:
    root = write_voc({"a": [("cat", *box), *ONE_CAT], "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    with pytest.raises(DatasetError, match=rf"Annotations/a\.xml: .*{reason}") as caught:
        open_dataset(str(root))
    assert "--skip-broken" in caught.value.hint
    dataset = open_dataset(str(root), on_broken="skip")
    assert len(dataset.left_out) == 1
    assert dataset.splits["train"][0].boxes.tolist() == [[0, 0, 64, 48]]


def test_box_partly_outside_is_clipped_and_counted(write_voc) -> None:
    root = write_voc({"a": [("cat", -9, 1, 80, 20)], "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].boxes.tolist() == [[0, 0, 64, 20]]
    assert dataset.notes == ("1 box reached outside its image and was clipped",)


def test_one_pixel_box_is_legal(write_voc) -> None:
    root = write_voc({"a": [("cat", 7, 7, 7, 7)], "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    assert open_dataset(str(root)).splits["train"][0].boxes.tolist() == [[6, 6, 7, 7]]


def _remove_image(root: Path) -> None:
    (root / "JPEGImages/a.jpg").unlink()


def _remove_annotation(root: Path) -> None:
    (root / "Annotations/a.xml").unlink()


def _break_xml(root: Path) -> None:
    (root / "Annotations/a.xml").write_text("<annotation><object>")


def _replace_image(root: Path) -> None:
    (root / "JPEGImages/a.jpg").write_text("no picture")


def _truncate_image(root: Path) -> None:
    path = root / "JPEGImages/a.jpg"
    path.write_bytes(path.read_bytes()[:-400])


def _shrink_image(root: Path) -> None:
    Image.new("RGB", (32, 24)).save(root / "JPEGImages/a.jpg")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove_image, r"JPEGImages/a\.jpg: the image is missing"),
        (_remove_annotation, r"Annotations/a\.xml: the annotation is missing"),
        (_break_xml, r"Annotations/a\.xml: the XML is broken: no element found"),
        (_replace_image, r"JPEGImages/a\.jpg: it is not an image of a known format"),
        (_truncate_image, r"JPEGImages/a\.jpg: the image cannot be read: .*truncated"),
        (_shrink_image, r"JPEGImages/a\.jpg: the annotation says 64×48 pixels, the image has 32×24"),
    ],
)
def test_broken_file_is_named_or_left_out(write_voc, damage, message: str) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT, "c": ONE_CAT}, splits={"train": ["a", "b"], "val": ["c"]})
    damage(root)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert [sample.name for sample in dataset.splits["train"]] == ["JPEGImages/b.jpg"]
    assert len(dataset.left_out) == 1


def test_split_whose_items_are_all_broken_is_an_error(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    _remove_image(root)
    with pytest.raises(DatasetError, match=r"the train split is empty \(1 broken items left out\)") as caught:
        open_dataset(str(root), on_broken="skip")
    assert "JPEGImages/a.jpg: the image is missing" in caught.value.hint


def test_missing_images_are_not_each_looked_for_among_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5,000 missing ones among 20,000 that took minutes, in every trial."""
    looks: list[FileTree] = []
    image = tmp_path / "JPEGImages" / "a.jpg"
    image.parent.mkdir()
    image.touch()
    monkeypatch.setattr(FileTree, "images", property(lambda tree: looks.append(tree) or (image,)))
    annotations = [tmp_path / "Annotations" / f"{number}.xml" for number in range(50)]
    images = VocImages(FileTree(tmp_path), annotations)
    for path in annotations:
        assert images.find(path, "") == image.with_name(f"{path.stem}.jpg")
    assert len(looks) < 5


def test_image_that_breaks_later_names_itself(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    sample = open_dataset(str(root)).splits["train"][0]
    _truncate_image(root)
    with pytest.raises(DatasetError, match=r"a\.jpg: the image cannot be read: .*truncated"):
        sample.load()


@pytest.mark.parametrize(("stated", "is_turned"), [((64, 48), True), ((48, 64), False)])
def test_orientation_follows_the_stated_size(write_voc, stated: tuple[int, int], is_turned: bool) -> None:
    root = write_voc({"a": [("cat", 2, 2, 9, 9)], "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.new("RGB", (64, 48)).save(root / "JPEGImages/a.jpg", exif=exif)
    path, (height, width) = root / "Annotations/a.xml", stated
    path.write_text(path.read_text().replace("<width>64</width><height>48", f"<width>{width}</width><height>{height}"))
    sample = open_dataset(str(root)).splits["train"][0]
    assert sample.size_hw == stated == sample.load().shape[:2]
    assert sample.load.is_upright == is_turned


def test_images_that_are_annotated_as_stored_are_noted(write_voc) -> None:
    """They are trained on lying on their side, and every program of an export turns them upright."""
    root = write_voc(
        {"a": [("cat", 2, 2, 9, 9)], "b": ONE_CAT, "c": ONE_CAT}, splits={"train": ["a", "b"], "val": ["c"]}
    )
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: its size is the same both ways
    Image.new("RGB", (64, 48)).save(root / "JPEGImages/b.jpg", exif=exif)
    assert open_dataset(str(root)).notes == ()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(root / "JPEGImages/a.jpg", exif=exif)
    assert open_dataset(str(root)).notes == (
        "1 image is read as stored, against the EXIF orientation, for the annotations state that size; 1 other, of which no "
        "stated size tells, is read upright; predict and run.py turn every image upright: turn these images and their "
        "boxes, first JPEGImages/a.jpg",
    )


def test_blood_cells(bccd: Path) -> None:
    dataset = open_dataset(str(bccd))
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert dataset.class_names == ("Platelets", "RBC", "WBC")
    assert sum(len(s.labels) for samples in dataset.splits.values() for s in samples) == 4888
    assert dataset.left_out == ()


def _move(root: Path, *moves: tuple[str, str]) -> None:
    for source, target in moves:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / source).rename(root / target)


def _split_sizes(root: Path) -> dict[str, int]:
    return {split: len(samples) for split, samples in open_dataset(str(root)).splits.items()}


@pytest.mark.parametrize(
    ("annotations", "images"),
    [("annotations", "images"), ("annots", "images"), ("ANNOTATIONS", "Images"), ("labels/xml", "photos"), (".", ".")],
)
def test_folders_may_have_any_names(write_voc, annotations: str, images: str) -> None:
    """Also those of published datasets: images/ with annotations/ or annots/, and LabelImg's XML beside the image."""
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT, "c": ONE_CAT})
    for stem in "abc":
        _move(root, (f"Annotations/{stem}.xml", f"{annotations}/{stem}.xml"))
        _move(root, (f"JPEGImages/{stem}.jpg", f"{images}/{stem}.jpg"))
    assert _split_sizes(root) == {"train": 2, "val": 1}
    assert open_dataset(str(root)).notes == ("no validation split: 1 of 3 training images set apart for it",)


@pytest.mark.parametrize("val", ["valid", "Val", "VALIDATION"])
def test_xml_beside_images_in_folders_of_splits(write_voc, val: str) -> None:
    """Roboflow's export of Pascal VOC."""
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT, "c": [("dog", 1, 1, 9, 9)]})
    for stem, split in (("a", "train"), ("b", val), ("c", "test")):
        _move(
            root, (f"Annotations/{stem}.xml", f"{split}/{stem}.xml"), (f"JPEGImages/{stem}.jpg", f"{split}/{stem}.JPG")
        )
    dataset = open_dataset(str(root))
    assert {split: [s.name for s in samples] for split, samples in dataset.splits.items()} == {
        "train": ["train/a.JPG"],
        "val": [f"{val}/b.JPG"],
        "test": ["test/c.JPG"],
    }
    assert dataset.notes == ()


def test_folders_train_and_test_without_validation(write_voc) -> None:
    """LabelImg's layout as the playing cards are published: XML beside the image, Windows paths inside."""
    root = write_voc({stem: ONE_CAT for stem in "abc"})
    for stem, split in (("a", "train"), ("b", "train"), ("c", "test")):
        _move(
            root, (f"Annotations/{stem}.xml", f"{split}/{stem}.xml"), (f"JPEGImages/{stem}.jpg", f"{split}/{stem}.JPG")
        )
        path = root / split / f"{stem}.xml"
        head = f"<annotation><filename>{stem}.JPG</filename><path>C:\\cards\\{split}\\{stem}.JPG</path>"
        path.write_text(path.read_text().replace("<annotation>", head))
    dataset = open_dataset(str(root))
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert dataset.notes == ("no validation split: 1 of 2 training images set apart for it",)


def test_playing_cards(cards: Path) -> None:
    dataset = open_dataset(str(cards))
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 252, "val": 44, "test": 67}
    assert dataset.class_names == ("ace", "jack", "king", "nine", "queen", "ten")


@pytest.mark.parametrize("lines", [["seq1/{}"], ["seq1/{}.jpg"], ["JPEGImages/seq1/{}.jpg"], ["{}"], ["seq1/{}  1"]])
def test_images_and_annotations_in_subfolders(write_voc, lines: list[str]) -> None:
    root = write_voc(
        {stem: ONE_CAT for stem in ("a", "b", "top")},
        splits={"train": [lines[0].format("a"), "top"], "val": [lines[0].format("b")]},
    )
    for stem in "ab":
        _move(root, (f"Annotations/{stem}.xml", f"Annotations/seq1/{stem}.xml"))
        _move(root, (f"JPEGImages/{stem}.jpg", f"JPEGImages/seq1/{stem}.jpg"))
    dataset = open_dataset(str(root))
    assert [s.name for s in dataset.splits["train"]] == ["JPEGImages/seq1/a.jpg", "JPEGImages/top.jpg"]
    assert [s.name for s in dataset.splits["val"]] == ["JPEGImages/seq1/b.jpg"]
    assert dataset.notes == ()


def test_same_names_in_two_subfolders_are_told_apart(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": [("dog", 1, 1, 9, 9)]}, splits={"train": ["x/a"], "val": ["y/a"]})
    _move(root, ("Annotations/a.xml", "Annotations/x/a.xml"), ("JPEGImages/a.jpg", "JPEGImages/x/a.jpg"))
    _move(root, ("Annotations/b.xml", "Annotations/y/a.xml"), ("JPEGImages/b.jpg", "JPEGImages/y/a.jpg"))
    assert open_dataset(str(root)).splits["val"][0].name == "JPEGImages/y/a.jpg"
    (root / "JPEGImages/y/a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"JPEGImages/y/a\.jpg: the image is missing"):
        open_dataset(str(root))
    (root / "ImageSets/Main/val.txt").write_text("a\n")
    with pytest.raises(DatasetError, match=r"val\.txt: 'a' means both Annotations/x/a\.xml and Annotations/y/a\.xml"):
        open_dataset(str(root))


def test_an_image_of_another_split_is_not_taken(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT})
    _move(root, ("Annotations/a.xml", "train/ann/a.xml"), ("JPEGImages/a.jpg", "test/img/a.jpg"))
    _move(root, ("Annotations/b.xml", "train/ann/b.xml"), ("JPEGImages/b.jpg", "train/img/b.jpg"))
    with pytest.raises(DatasetError, match=r"train/img/a\.jpg: the image is missing"):
        open_dataset(str(root))


def test_stated_name_finds_an_image_of_another_stem(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    _move(root, ("JPEGImages/a.jpg", "JPEGImages/photo 1.png"))
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<annotation>", "<annotation><filename>dir\\photo 1.png</filename>"))
    assert open_dataset(str(root)).splits["train"][0].name == "JPEGImages/photo 1.png"


def test_masks_of_the_same_name_are_not_the_image(write_voc, write_image) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    write_image(root / "SegmentationClass/a.png")
    assert open_dataset(str(root)).splits["train"][0].name == "JPEGImages/a.jpg"
    assert open_dataset(str(root)).notes == ()
    _remove_image(root)
    with pytest.raises(DatasetError, match=r"JPEGImages/a\.jpg: the image is missing"):
        open_dataset(str(root))


def test_two_annotations_of_one_image_are_named(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT, "c": ONE_CAT})
    path = root / "Annotations/c.xml"
    path.write_text(path.read_text().replace("<annotation>", "<annotation><filename>a.jpg</filename>"))
    (root / "JPEGImages/c.jpg").unlink()
    with pytest.raises(DatasetError, match=r"Annotations/c\.xml: its image a\.jpg belongs to Annotations/a\.xml too"):
        open_dataset(str(root))
    assert len(open_dataset(str(root), on_broken="skip").left_out) == 1


def test_list_with_a_byte_order_mark(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"]})
    path = root / "ImageSets/Main/train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert _split_sizes(root) == {"train": 1, "val": 1}


def test_what_is_in_no_list_or_has_no_annotation_is_told(write_voc, write_image) -> None:
    root = write_voc({stem: ONE_CAT for stem in "abc"}, splits={"train": ["a"], "val": ["b"]})
    write_image(root / "JPEGImages/unlabelled.jpg")
    write_image(root / "JPEGImages/raw.jpg").rename(root / "JPEGImages/raw.heic")
    (root / "Annotations/other.xml").write_text("<settings/>")
    (root / "ImageSets/Main/train.txt").write_text("a\nother\n")
    assert open_dataset(str(root)).notes == (
        "1 annotation file in no list of a split is left out, first Annotations/c.xml",
        "train: 1 XML file is no VOC annotation and left out, first Annotations/other.xml",
        "1 image without an annotation is left out, first JPEGImages/unlabelled.jpg",
        "images of formats that cannot be read are left out: 1 .heic",
    )


@pytest.mark.parametrize("on_broken", ["stop", "skip"])
def test_test_split_without_annotations_stops_nothing(write_voc, write_image, on_broken) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a"], "val": ["b"], "test": ["t"]})
    write_image(root / "JPEGImages/t.jpg")
    dataset = open_dataset(str(root), on_broken=on_broken)
    assert set(dataset.splits) == {"train", "val"}
    assert "test: 1 listed annotation is missing and left out, first Annotations/t.xml" in dataset.notes
    assert "the test split is left out: 0 images, no objects" in dataset.notes


def test_broken_item_of_the_test_split_is_left_out(write_voc) -> None:
    splits = {"train": ["a"], "val": ["b"], "test": ["c", "d"]}
    root = write_voc({stem: ONE_CAT for stem in "abcd"}, splits=splits)
    (root / "JPEGImages/c.jpg").write_text("no picture")
    dataset = open_dataset(str(root))
    assert [sample.name for sample in dataset.splits["test"]] == ["JPEGImages/d.jpg"]
    assert dataset.left_out == ("JPEGImages/c.jpg: it is not an image of a known format",)


@pytest.mark.parametrize("is_image", [True, False])
def test_broken_item_of_a_scored_test_split_stops(write_voc, is_image: bool) -> None:
    splits = {"train": ["a"], "val": ["b"], "test": ["c", "d"]}
    root = write_voc({stem: ONE_CAT for stem in "abcd"}, splits=splits)
    path, reason = (
        ("JPEGImages/c.jpg", "the image is missing") if is_image else ("Annotations/c.xml", "the annotation is missing")
    )
    (root / path).unlink()
    assert len(open_dataset(str(root), scored="val").splits["test"]) == 1
    with pytest.raises(DatasetError, match=rf"c\.\w+: {reason}"):
        open_dataset(str(root), scored="test")
    dataset = open_dataset(str(root), on_broken="skip", scored="test")
    assert [sample.name for sample in dataset.splits["test"]] == ["JPEGImages/d.jpg"]
    assert dataset.left_out == (f"{path}: {reason}",)


def test_folder_of_a_difficult_name(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, folder="ünï %20 a?b's [1]", splits={"train": ["a"], "val": ["b"]})
    assert _split_sizes(root / "ünï %20 a?b's [1]") == {"train": 1, "val": 1}


def test_names_that_are_no_utf_8(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT})
    for path in (root / "Annotations/a.xml", root / "JPEGImages/a.jpg"):
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix)))
    dataset = open_dataset(str(root))
    assert {s.name for samples in dataset.splits.values() for s in samples} == {
        "JPEGImages/b.jpg",
        "JPEGImages/caf\\xe9.jpg",
    }


def test_annotations_named_after_the_whole_image_name(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["a.jpg"], "val": ["b.jpg"]})
    for stem in "ab":
        _move(root, (f"Annotations/{stem}.xml", f"Annotations/{stem}.jpg.xml"))
    assert _split_sizes(root) == {"train": 1, "val": 1}
    assert open_dataset(str(root)).notes == ()


def test_lists_of_other_things_are_not_used(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT}, splits={"train": ["cat", "dog"]})
    assert open_dataset(str(root)).notes == (
        "ImageSets/Main/train.txt and the lists beside it name no annotation file and are not used",
        "no validation split: 1 of 2 training images set apart for it",
    )


def test_splits_repeat_names(write_voc) -> None:
    root = write_voc({"1": ONE_CAT, "2": ONE_CAT})
    for number, split in (("1", "train"), ("2", "val")):
        _move(root, (f"Annotations/{number}.xml", f"{split}/labels/xml/1.xml"))
        _move(root, (f"JPEGImages/{number}.jpg", f"{split}/photos/1.jpg"))
    dataset = open_dataset(str(root))
    assert [s.name for samples in dataset.splits.values() for s in samples] == [
        "train/photos/1.jpg",
        "val/photos/1.jpg",
    ]


def test_size_beyond_bounds_is_none_stated(write_voc) -> None:
    root = write_voc({stem: [("cat", 1, 1, 9, 9)] for stem in "ab"})
    path = next(root.rglob("a.xml"))
    path.write_text(re.sub("<width>.*?</width>", "<width>1e999</width>", path.read_text()))
    dataset = open_dataset(str(root))
    assert {sample.size_hw for samples in dataset.splits.values() for sample in samples} == {(48, 64)}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("dataset_train", "dataset_val"),
        ("TrainData", "ValData"),
        ("trainset", "valset"),
        ("train_images_resized", "validation_images_resized"),
        ("a_test_train", "a_test_val"),
    ],
)
def test_folders_whose_names_differ_in_the_split_alone(write_voc, train: str, val: str) -> None:
    root = write_voc({name: ONE_CAT for name in "abcd"})
    for name, folder in (("a", train), ("b", train), ("c", val), ("d", val)):
        _move(
            root,
            (f"JPEGImages/{name}.jpg", f"{folder}/{name}.jpg"),
            (f"Annotations/{name}.xml", f"{folder}/{name}.xml"),
        )
    splits = open_dataset(str(root)).splits
    assert {split: [sample.name for sample in samples] for split, samples in splits.items()} == {
        "train": [f"{train}/a.jpg", f"{train}/b.jpg"],
        "val": [f"{val}/c.jpg", f"{val}/d.jpg"],
    }


def test_folder_whose_name_only_holds_a_split_is_none(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT, "c": ONE_CAT})
    for name, folder in (("a", "latest"), ("b", "cats"), ("c", "cats_val")):
        _move(
            root,
            (f"JPEGImages/{name}.jpg", f"{folder}/{name}.jpg"),
            (f"Annotations/{name}.xml", f"{folder}/{name}.xml"),
        )
    assert "no validation split: 1 of 3 training images set apart for it" in open_dataset(str(root)).notes


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_image_that_may_be_one_of_two_is_named(write_voc, write_image, suffix: str) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT, "c": ONE_CAT})
    for name in "abc":
        _move(root, (f"JPEGImages/{name}.jpg", f"rgb/{name}.jpg"))
    write_image(root / f"depth/b.{suffix}")
    with pytest.raises(DatasetError, match=rf"b\.xml: its image may be depth/b\.{suffix} or rgb/b\.jpg"):
        open_dataset(str(root))


def test_folders_of_images_that_are_called_as_those_of_annotations(write_voc) -> None:
    root = write_voc({name: ONE_CAT for name in "ab"})
    for name, folder in (("a", "left_2"), ("b", "right_3")):
        _move(
            root, (f"Annotations/{name}.xml", f"{folder}_xml/1.xml"), (f"JPEGImages/{name}.jpg", f"{folder}_img/1.jpg")
        )
    names = {sample.name for samples in open_dataset(str(root)).splits.values() for sample in samples}
    assert names == {"left_2_img/1.jpg", "right_3_img/1.jpg"}


def test_folders_of_images_divide_annotations(write_voc) -> None:
    root = write_voc({name: ONE_CAT for name in "abcdef"})
    for name, split in zip("abcdef", ("train", "train", "val", "val", "test", "test"), strict=True):
        _move(root, (f"JPEGImages/{name}.jpg", f"images/{split}/{'img_' if name == 'd' else ''}{name}.jpg"))
    xml = root / "Annotations/d.xml"
    xml.write_text(xml.read_text().replace("<annotation>", "<annotation><filename>img_d.jpg</filename>"))
    splits = open_dataset(str(root)).splits
    assert {split: [sample.name for sample in samples] for split, samples in splits.items()} == {
        "train": ["images/train/a.jpg", "images/train/b.jpg"],
        "val": ["images/val/c.jpg", "images/val/img_d.jpg"],
        "test": ["images/test/e.jpg", "images/test/f.jpg"],
    }


def test_listed_name_of_an_image_in_its_split_s_folder(write_voc, write_image) -> None:
    root = write_voc({name: ONE_CAT for name in "abc"}, splits={"train": "a", "val": "b", "test": "ac"})
    for name in "abc":
        _move(
            root,
            (f"JPEGImages/{name}.jpg", f"training/images/{name}.jpg"),
            (f"Annotations/{name}.xml", f"training/xml/{name}.xml"),
        )
    write_image(root / "testing/images/a.jpg")  # another image than training's
    dataset = open_dataset(str(root))
    assert {split: [sample.name for sample in samples] for split, samples in dataset.splits.items()} == {
        "train": ["training/images/a.jpg"],
        "val": ["training/images/b.jpg"],
        "test": ["training/images/c.jpg"],
    }
    assert "test: 1 listed annotation is missing and left out, first testing/images/a.xml" in dataset.notes


@pytest.mark.parametrize("encoding", ["gb2312", "shift_jis", "iso-8859-1", "utf-16"])
def test_xml_in_the_encoding_that_it_declares(write_voc, encoding: str) -> None:
    name = "é" if encoding == "iso-8859-1" else "中"
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT})
    for path in root.rglob("*.xml"):
        text = path.read_text().replace("cat", name)
        path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding))
    assert open_dataset(str(root)).class_names == (name,)


def test_xml_that_is_not_in_its_encoding_is_named(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT})
    for encoding, reason in (("gb2312", "codec can't decode"), ("klingon", "unknown encoding")):
        for path in root.rglob("*.xml"):
            path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?><annotation>'.encode() + b"\xff</annotation>")
        with pytest.raises(DatasetError, match=rf"Annotations/a\.xml: the XML is broken: .*{reason}"):
            open_dataset(str(root))


def test_turned_boxes_are_used_by_their_bounding_boxes(write_voc) -> None:
    """As roLabelImg writes them, angles in radians; and as CVAT, the straight box and an attribute in degrees."""
    root = write_voc({"a": ONE_CAT, "b": [("cat", 10, 5, 30, 20)]}, splits={"train": "a", "val": "b"})
    turned = f"<cx>20</cx><cy>20</cy><w>20</w><h>10</h><angle>{np.pi / 2}</angle>"
    path = root / "Annotations/a.xml"
    path.write_text(f"<annotation><object><name>cat</name><robndbox>{turned}</robndbox></object></annotation>")
    path = root / "Annotations/b.xml"
    attribute = "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes>"
    path.write_text(path.read_text().replace("</name>", f"</name>{attribute}"))
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].boxes.round(3).tolist() == [[15, 10, 25, 30]]
    assert dataset.splits["val"][0].boxes.round(3).tolist() == [[12.5, 2.5, 27.5, 22.5]]
    assert "2 turned boxes are used by their bounding boxes" in dataset.notes


def test_difficult_that_is_neither_yes_nor_no(write_voc) -> None:
    root = write_voc({"a": ONE_CAT, "b": ONE_CAT})
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>maybe"))
    with pytest.raises(DatasetError, match=r"a\.xml: object 1: difficult is 'maybe', not 0 or 1"):
        open_dataset(str(root))
