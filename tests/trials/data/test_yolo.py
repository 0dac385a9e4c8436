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
    assert dataset.notes == ("1 image(s) of train have no label file and count as without objects",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("7 0.5 0.5 0.1 0.1", r"labels/train/train\.txt: line 1: unknown class 7; the classes are 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", r"line 1: unknown class 0\.5"),
        ("0 0.5 0.5 0.1", r"line 1: holds 3 numbers after the class"),
        ("0 a b c d", r"line 1: could not convert string to float: 'a'"),
        ("0 30 20 10 10", r"line 1: holds 30: coordinates are shares of the image"),
        ("0 0.5 0.5 0 0.1", r"box 1 .* has no area"),
        ("0 1.5 0.5 0.2 0.2", r"box 1 .* lies outside its image \(64×48\)"),
        ("0 nan 0.5 0.2 0.2", r"box 1 .* is not finite"),
    ],
)
def test_broken_line(write_yolo, labels: str, message: str) -> None:
    root = write_yolo(labels)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(root))
    assert len(open_dataset(str(root), on_broken="skip").left_out) == 2


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
