import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from trials.data import DatasetError, open_dataset

USUAL = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def write_yolo(tmp_path: Path, write_image):
    """Writes one image of 64×48 for each of train and val; gives the folder."""

    def write(labels: str = "1 0.5 0.5 0.5 0.25\n", *, yaml: str = USUAL, images: str = "images/{split}") -> Path:
        (tmp_path / "data.yaml").write_text(yaml)
        for split in ("train", "val"):
            place = images.format(split=split)
            write_image(tmp_path / place / f"{split}.jpg")
            path = tmp_path / place.replace("images", "labels") / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(labels)
        return tmp_path

    return write


def test_boxes_become_pixels(write_yolo) -> None:
    root = write_yolo("1 0.5 0.5 0.5 0.25\n\n0 0.1 0.1 0.3 0.1 0.2 0.5\n")
    dataset = open_dataset(str(root))
    sample = dataset.splits["train"][0]
    assert dataset.format == "yolo"
    assert dataset.class_names == ("cat", "dog")
    np.testing.assert_allclose(sample.boxes, [[16, 18, 48, 30], [6.4, 4.8, 19.2, 24]], rtol=1e-6)
    assert sample.labels.tolist() == [1, 0]
    assert sample.name == "images/train/train.jpg"
    assert open_dataset(str(root / "data.yaml")).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    "yaml",
    [
        "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\nnc: 2\n",
        "path: /another/machine\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
        "train: [images/train]\nval: val.txt\nnames: [cat, dog]\n",
    ],
)
def test_ways_to_write_the_yaml(write_yolo, yaml: str) -> None:
    root = write_yolo(yaml=yaml)
    (root / "val.txt").write_text("./images/val/val.jpg\n")
    dataset = open_dataset(str(root))
    assert [len(samples) for samples in dataset.splits.values()] == [1, 1]
    assert len(dataset.splits["val"][0].labels) == 1


def test_roboflow_paths(write_yolo) -> None:
    yaml = "train: ../train/images\nval: ../val/images\nnames: [cat, dog]\n"
    dataset = open_dataset(str(write_yolo(yaml=yaml, images="{split}/images")))
    assert dataset.splits["val"][0].name == "val/images/val.jpg"


def test_image_without_labels_has_no_objects(write_yolo, write_image) -> None:
    root = write_yolo()
    write_image(root / "images/train/empty.png")
    dataset = open_dataset(str(root))
    assert [len(sample.labels) for sample in dataset.splits["train"]] == [0, 1]
    assert dataset.notes == ("1 image of train has no label file and counts as without objects",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("7 0.5 0.5 0.1 0.1", r"labels/train/train\.txt: line 1: unknown class 7; the classes are 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", r"line 1: unknown class 0\.5"),
        ("0 0.5 0.5 0.1", r"line 1: holds 3 numbers after the class"),
        ("0 a b c d", r"line 1: could not convert string to float: 'a'"),
        ("0 30 20 10 10", r"line 1: holds 30: coordinates are shares of the image"),
        ("0 0.5 0.5 0 0.1", r"line 1: the box has no area"),
        ("0 1.5 0.5 0.2 0.2", r"line 1: the box lies outside its image \(64×48\)"),
        ("0 nan 0.5 0.2 0.2", r"line 1: the box is not finite"),
    ],
)
def test_broken_line(write_yolo, labels: str, message: str) -> None:
    root = write_yolo(f"1 0.5 0.5 0.5 0.25\n\n{labels}\n")
    message = message.replace("line 1", "line 3")
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert len(dataset.left_out) == 2
    assert dataset.splits["train"][0].labels.tolist() == [1]


@pytest.mark.parametrize("labels", ["0 0.5 0.5 0.1", "0 0.5 0.5 0 0.1"])
def test_image_of_broken_boxes_alone_is_no_image_without_objects(write_yolo, write_image, labels: str) -> None:
    root = write_yolo()
    write_image(root / "images/train/broken.jpg")
    (root / "labels/train/broken.txt").write_text(labels)
    dataset = open_dataset(str(root), on_broken="skip")
    assert [sample.name for sample in dataset.splits["train"]] == ["images/train/train.jpg"]
    assert dataset.left_out[1] == "images/train/broken.jpg: the image is left out, since all of its boxes are broken"


def test_images_in_no_split_are_counted(write_yolo, write_image) -> None:
    root = write_yolo(yaml="train: images/train\nnames: [cat, dog]\n")
    write_image(root / "images/train/more.jpg")
    assert "1 image in no split is left out, first images/val/val.jpg" in open_dataset(str(root)).notes


def test_a_yaml_whose_images_lie_elsewhere_says_nothing_of_those_beside_it(write_yolo, write_image) -> None:
    root = write_yolo()
    (root / "home").mkdir()
    (root / "home/data.yaml").write_text(f"train: {root}/images/train\nval: {root}/images/val\nnames: [cat, dog]\n")
    write_image(root / "home/photos/mine.jpg")
    assert open_dataset(str(root / "home/data.yaml")).notes == ()


def test_only_a_note_needs_the_folders_beside_the_images(
    write_yolo, write_image, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_yolo()
    write_image(root / "venv/lib/logo.png")
    (root / "venv/pyvenv.cfg").touch()
    assert open_dataset(str(root / "data.yaml")).notes == ()
    (root / "private").mkdir()
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "private":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("os.scandir", refuse)  # root may read any folder
    (note,) = open_dataset(str(root / "data.yaml")).notes
    assert note == f"images in no split are not counted: {root}/private: the folder cannot be read: Permission denied"


def test_two_images_of_one_label_file(write_yolo, write_image) -> None:
    root = write_yolo()
    write_image(root / "images/train/train.png")
    note = "1 image of train has the label file of another image, whose name differs by its suffix"
    assert note in open_dataset(str(root)).notes


@pytest.mark.parametrize("listed", [True, False])
def test_a_relative_path_is_the_same_dataset(
    tmp_path: Path, write_image, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    root = tmp_path / "data"
    for split in ("train", "val"):
        write_image(root / f"images/{split}/{split}.jpg")
        (root / f"labels/{split}").mkdir(parents=True)
        (root / f"labels/{split}/{split}.txt").write_text("0 0.5 0.5 0.5 0.25\n")
        if listed:
            (root / f"{split}.txt").write_text(f"images/{split}/{split}.jpg\n")
    (root / "classes.txt").write_text("cat\n")
    expected = open_dataset(str(root))
    assert expected.notes == ()
    (tmp_path / "elsewhere").mkdir()
    for folder, spec in ((tmp_path, "data"), (root, "."), (tmp_path / "elsewhere", "../data")):
        monkeypatch.chdir(folder)
        dataset = open_dataset(spec)
        assert (dataset.fingerprint, dataset.notes) == (expected.fingerprint, ())


def test_pictures_in_other_folders_are_no_images(write_yolo, write_image) -> None:
    root = write_yolo()
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")
    write_image(root / "predictions/drawn.jpg")
    dataset = open_dataset(str(root))
    assert len(dataset.splits["train"]) == 1
    assert "1 image in no split is left out, first predictions/drawn.jpg" in dataset.notes


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [", "the YAML is broken"),
        ("just text", "holds 'train', 'val' and 'names'"),
        ("train: images/train\nnames: {1: cat, 2: dog}", r"the keys of 'names' are \[1, 2\], not 0 to 1"),
        ("train: images/train\nnames: cat", "'names' is neither a list nor a mapping"),
        ("train: images/train\nnames: [cat]\nnc: 3", "'nc' is 3, but 'names' holds 1 names"),
        ("train: images/gone\nnames: [cat, dog]", "'images/gone' does not exist"),
        ("train: data.yaml\nnames: [cat, dog]", "is neither a folder nor a .txt list"),
        ("train: images/train\nval: nothing\nnames: [cat, dog]", "the val split is empty"),
    ],
)
def test_broken_yaml(write_yolo, yaml: str, message: str) -> None:
    root = write_yolo(yaml=yaml)
    (root / "nothing").mkdir()
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(root))


def test_missing_label_folder_is_an_error(write_yolo) -> None:
    root = write_yolo()
    (root / "labels/train/train.txt").unlink()
    with pytest.raises(DatasetError, match="no image of the train split has a label file") as caught:
        open_dataset(str(root))
    assert "labels/train/train.txt" in caught.value.hint


BOM = b"\xef\xbb\xbf"


def test_byte_order_marks(write_yolo) -> None:
    root = write_yolo(yaml="train: train.txt\nval: images/val\nnames: [cat, dog]\n")
    (root / "train.txt").write_text("images/train/train.jpg\n")
    for path in (root / "labels/val/val.txt", root / "train.txt", root / "data.yaml"):
        path.write_bytes(BOM + path.read_bytes())
    label = root / "labels/train/train.txt"
    label.write_text(label.read_text(), encoding="utf-16")
    dataset = open_dataset(str(root))
    assert [samples[0].labels.tolist() for samples in dataset.splits.values()] == [[1], [1]]


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ("[2, 3]", "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 2"),
        ("[3, 2]", "0 0.5 0.5 0.4 0.4 0.1 0.1 0.9 0.9 0.9 0.1"),
        ("[17, 3]", "0 0.5 0.5 0.4 0.4" + " 0.9 0.9 2" * 17),
        ("[2, 3]", "0 0.5 0.5 0.4 0.4"),
    ],
)
def test_pose_labels_hold_a_box_and_key_points(write_yolo, shape: str, line: str) -> None:
    dataset = open_dataset(str(write_yolo(line, yaml=f"{USUAL}kpt_shape: {shape}\n")))
    np.testing.assert_allclose(dataset.splits["train"][0].boxes, [[19.2, 14.4, 44.8, 33.6]], rtol=1e-6)
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("[2, 3]", r"line 1: holds 8 numbers after the class, not 4, or 10 with the key points of 'kpt_shape'"),
        ("17", r"'kpt_shape' is 17, not \[number of points, 2 or 3\]"),
    ],
)
def test_broken_pose(write_yolo, shape: str, message: str) -> None:
    root = write_yolo("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6", yaml=f"{USUAL}kpt_shape: {shape}\n")
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(root))


def test_outlines_and_oriented_boxes(write_yolo) -> None:
    dataset = open_dataset(str(write_yolo("0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n1 0.1 0.1 0.3 0.1 0.2 0.5\n")))
    np.testing.assert_allclose(dataset.splits["train"][0].boxes[0], [16, 12, 48, 36], rtol=1e-6)
    assert dataset.notes == ("4 polygons or oriented boxes are used by their bounding boxes",)


@pytest.mark.parametrize(
    ("labels", "is_noted"),
    [
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6 0.7 0.3\n", True),
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6 0 0\n1 0.2 0.2 0.2 0.2 0.1 0.1 0.3 0.3 0 0\n", True),  # 0 0: not labelled
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 1\n", True),
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6\n", False),  # an oriented box
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6 0.9 0.9\n", False),
        ("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6 0.7 0.3\n1 0.1 0.1 0.3 0.1 0.2 0.5\n", False),
    ],
)
def test_outlines_that_may_be_key_points_are_asked_about(write_yolo, labels: str, is_noted: bool) -> None:
    dataset = open_dataset(str(write_yolo(labels)))
    note = "all of them hold 10 numbers: if these are boxes with key points, state 'kpt_shape' in the YAML file"
    assert (note in dataset.notes) == is_noted


def test_the_same_line_twice_counts_once(write_yolo) -> None:
    dataset = open_dataset(str(write_yolo("1 0.5 0.5 0.5 0.25\n0 0.5 0.5 0.5 0.25\n1 0.50 0.5 0.5 0.25\n")))
    assert [sample.labels.tolist() for sample in dataset.splits["train"]] == [[1, 0]]
    assert dataset.notes == ("2 label lines repeat another line of their image and were left out",)


@pytest.mark.parametrize(
    ("names", "expected", "num_notes"),
    [
        ("names: {'0': cat, '1': dog}", ("cat", "dog"), 0),
        ("'names': {1: dog, 0: cat}", ("cat", "dog"), 0),
        ("nc: 2", ("class_0", "class_1"), 1),
        ("names: [cat, cat]", ("cat", "cat (1)"), 1),
    ],
)
def test_ways_to_name_classes(write_yolo, names: str, expected: tuple[str, ...], num_notes: int) -> None:
    dataset = open_dataset(str(write_yolo(yaml=f"train: images/train\nval: images/val\n{names}\n")))
    assert dataset.class_names == expected
    assert len(dataset.notes) == num_notes


def test_linked_folders_are_followed(write_yolo, write_image, tmp_path_factory: pytest.TempPathFactory) -> None:
    root, elsewhere = write_yolo(), tmp_path_factory.mktemp("elsewhere")
    for folder in ("images", "labels"):
        (elsewhere / folder).mkdir()
        (root / folder / "train/cam").symlink_to(elsewhere / folder)
    write_image(elsewhere / "images/more.jpg")
    (elsewhere / "labels/more.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "images/train/loop").symlink_to(root / "images")
    dataset = open_dataset(str(root))
    names = [sample.name for sample in dataset.splits["train"]]
    assert names[0] == "images/train/cam/more.jpg"
    assert all(len(sample.labels) == 1 for sample in dataset.splits["train"])


def test_all_folders_of_a_split_linked(write_yolo, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root, linked = write_yolo(), tmp_path_factory.mktemp("linked")
    (linked / "data.yaml").write_text("train: images\nval:\nnames: [cat, dog]\n")
    for place in ("images/train", "images/val", "labels/train", "labels/val"):
        (linked / place).parent.mkdir(exist_ok=True)
        (linked / place).symlink_to(root / place)
    dataset = open_dataset(str(linked))
    assert [len(samples[0].labels) for samples in dataset.splits.values()] == [1, 1]


@pytest.mark.parametrize("classes", ["classes.txt", "labels/train/classes.txt", "obj.names"])
@pytest.mark.parametrize("images", ["images/{split}", "{split}/images", "Images/{split}"])
def test_without_yaml_classes_and_folders_tell(write_yolo, classes: str, images: str) -> None:
    root = write_yolo(images=images)
    if images.startswith("Images"):
        for split in ("train", "val"):
            (root / "Labels" / split).mkdir(parents=True)
            (root / f"Images/{split}/{split}.txt").rename(root / f"Labels/{split}/{split}.txt")
    (root / "data.yaml").unlink()
    (root / classes).parent.mkdir(parents=True, exist_ok=True)
    (root / classes).write_text("cat\ndog\n")
    dataset = open_dataset(str(root))
    assert dataset.format == "yolo"
    assert dataset.class_names == ("cat", "dog")
    assert [samples[0].labels.tolist() for samples in dataset.splits.values()] == [[1], [1]]
    assert dataset.notes == ()


def test_labels_beside_images_without_splits(tmp_path: Path, write_image) -> None:
    """LabelImg's YOLO format: one folder for everything."""
    for stem in "abc":
        write_image(tmp_path / f"{stem}.jpg")
        (tmp_path / f"{stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    dataset = open_dataset(str(tmp_path))
    assert [len(samples) for samples in dataset.splits.values()] == [2, 1]
    assert dataset.notes == ("no validation split: 1 of 3 training images set apart for it",)


def test_lists_of_images_without_yaml(write_yolo) -> None:
    root = write_yolo()
    (root / "data.yaml").unlink()
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "train.txt").write_text("data/images/train/train.jpg\n")  # as CVAT writes it
    (root / "Valid.txt").write_text(".\\images\\val\\val.jpg\n")
    dataset = open_dataset(str(root))
    assert [sample.name for samples in dataset.splits.values() for sample in samples] == [
        "images/train/train.jpg",
        "images/val/val.jpg",
    ]


def test_lists_of_classes_that_differ(write_yolo) -> None:
    root = write_yolo()
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "labels/train/classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DatasetError, match=r"classes\.txt and labels/train/classes\.txt list different classes"):
        open_dataset(str(root))


def test_blank_line_in_a_list_of_classes(write_yolo) -> None:
    """It may stand for a class without a name, or for nothing: the labels behind it would differ by one."""
    root = write_yolo()
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DatasetError, match=r"classes\.txt: line 2 is blank"):
        open_dataset(str(root))
    (root / "classes.txt").write_text("cat\ndog\n\n \n")
    assert open_dataset(str(root)).class_names == ("cat", "dog")


def test_names_are_the_text_that_is_written(write_yolo) -> None:
    names = ["yes", "no", "on", "null", "1.10", "007", "1_000", "0x1F", "12:30"]
    for written in (f"[{', '.join(names)}]", f"{{{', '.join(f'{n}: {name}' for n, name in enumerate(names))}}}"):
        root = write_yolo(yaml=f"train: images/train\nval: images/val\nnames: {written}\n")
        assert open_dataset(str(root)).class_names == tuple(names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("[{name: cat}, {name: dog}]", r"the class 0 in 'names' is \{'name': 'cat'\}, not a name"),
        ("[cat, '']", r"the class 1 in 'names' is '', not a name"),
        ("\n- cat\n-\n", r"the class 1 in 'names' is '', not a name"),
        ("{0: cat, 1: [dog]}", r"the class 1 in 'names' is \['dog'\], not a name"),
        ("[cat, dog]\nnc: two", r"'nc' is 'two', not a number of classes"),
        ("[cat, dog]\nnc: '3'", r"'nc' is 3, but 'names' holds 2 names"),
    ],
)
def test_classes_that_have_no_name(write_yolo, names: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(write_yolo(yaml=f"train: images/train\nval: images/val\nnames: {names}\n")))


def test_number_of_classes_as_text(write_yolo) -> None:
    assert open_dataset(str(write_yolo(yaml=f"{USUAL}nc: '2'\n"))).class_names == ("cat", "dog")


def test_yamls_that_name_different_classes(write_yolo) -> None:
    root = write_yolo()
    (root / "data.yaml").rename(root / "my.yaml")
    (root / "a_coco.yaml").write_text(USUAL.replace("cat", "person"))
    with pytest.raises(DatasetError, match=r"a_coco\.yaml and my\.yaml name different classes"):
        open_dataset(str(root))
    assert open_dataset(str(root / "my.yaml")).class_names == ("cat", "dog")
    (root / "my.yaml").rename(root / "data.yaml")  # of the usual name: it is meant
    dataset = open_dataset(str(root))
    assert dataset.class_names == ("cat", "dog")
    assert "1 other YAML file of a dataset is not read, first a_coco.yaml" in dataset.notes


def _missing(root: Path) -> None:
    """Roboflow's YAML names a test split even where there is none."""


def _empty(root: Path) -> None:
    (root / "images/test").mkdir()


def _unlabelled(root: Path) -> None:
    (root / "images/test").mkdir()
    shutil.copy(root / "images/val/val.jpg", root / "images/test/t.jpg")


@pytest.mark.parametrize("damage", [_missing, _empty, _unlabelled])
@pytest.mark.parametrize("on_broken", ["stop", "skip"])
def test_unusable_test_split_is_a_note(write_yolo, damage, on_broken) -> None:
    root = write_yolo(yaml=f"{USUAL}test: images/test\n")
    damage(root)
    dataset = open_dataset(str(root), on_broken=on_broken)
    assert set(dataset.splits) == {"train", "val"}
    assert len(dataset.notes) == 1
    assert dataset.notes[0].startswith("the test split is left out: ")


def test_what_is_left_out_is_told(write_yolo, write_image) -> None:
    root = write_yolo()
    write_image(root / "images/train/photo.jpg").rename(root / "images/train/photo.HEIC")
    (root / "labels/train/gone.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert open_dataset(str(root)).notes == (
        "images of formats that cannot be read are left out: 1 .heic",
        "1 label file of no image in a split is left out, first labels/train/gone.txt",
    )


def test_yaml_one_folder_down(write_yolo) -> None:
    root = write_yolo()
    (root / "unpacked").mkdir()
    for name in ("data.yaml", "images", "labels"):
        (root / name).rename(root / "unpacked" / name)
    assert open_dataset(str(root)).splits["val"][0].name == "images/val/val.jpg"


@pytest.mark.parametrize(
    "train",
    ["/content/project/images/train", "D:\\\\project\\\\images\\\\train", "Images/Train", "/elsewhere/lists/train.txt"],
)
def test_places_of_another_machine_or_case(write_yolo, train: str) -> None:
    root = write_yolo(yaml=f'train: "{train}"\nval: images/val\nnames: [cat, dog]\n')
    (root / "train.txt").write_text("/content/project/images/train/train.jpg\n")
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].name == "images/train/train.jpg"
    assert len(dataset.notes) == 1
    assert "which does not exist" in dataset.notes[0]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (USUAL + "x: &x [*x]\n", "the YAML is broken: an alias"),
        (USUAL + "x: 2001-99-99\n", "the YAML is broken: month"),
        (USUAL.replace("images/train", "a" * 5000), "does not exist"),
        (USUAL.replace("path: .", f"path: {'ab/' * 1500}").replace("images/val", "gone"), "does not exist"),
        ("train: images/train\nval: images/val\nnc: 100000000000\n", "'nc' is 100000000000, not a number"),
        (USUAL.replace("[cat, dog]", f"{{'{'9' * 1000}': cat}}"), "the keys of 'names' are"),
    ],
)
def test_a_yaml_that_was_made_to_break_its_reader(write_yolo, yaml: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(write_yolo(yaml=yaml)))


@pytest.mark.parametrize("line", ["/", "a" * 5000 + ".jpg", "ab/" * 1500])
def test_a_listed_image_that_no_file_can_be(write_yolo, line: str) -> None:
    root = write_yolo(yaml=USUAL.replace("images/train", "train.txt"))
    (root / "train.txt").write_text(f"{line}\nimages/train/train.jpg\n")
    with pytest.raises(DatasetError, match=r"the image (is missing|cannot be read: File name too long)"):
        open_dataset(str(root))


def test_a_listed_path_of_thousands_of_parts_is_looked_for_by_its_end_alone(write_yolo, monkeypatch) -> None:
    root = write_yolo(yaml=USUAL.replace("images/train", "train.txt"))
    asked: list[str] = []
    is_file = os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(str(path)) or is_file(path))
    (root / "train.txt").write_text("a/" * 5000 + "images/train/train.jpg\n")
    assert len(open_dataset(str(root)).splits["train"]) == 1
    assert len(asked) < 300


def test_many_images_without_objects_come_first(tmp_path: Path, write_image) -> None:
    """As in a video in which nothing is visible at first."""
    for number in range(60):
        write_image(tmp_path / f"frame_{number:03d}.jpg")
        (tmp_path / f"frame_{number:03d}.txt").write_text("0 0.5 0.5 0.5 0.5\n" if number > 50 else "")
    (tmp_path / "classes.txt").write_text("cat\n")
    dataset = open_dataset(str(tmp_path))
    assert (dataset.format, sum(map(len, dataset.splits.values()))) == ("yolo", 60)
