"""Images that are in two splits under different names."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trials.data import describe_dataset, open_dataset
from trials.data.copies import Copy, find_copies
from trials.data.image_check import check_images

SPLITS = ("train", "val", "test")


@pytest.fixture
def root(write_voc) -> Path:
    """A dataset of five training images, three for validation, one for testing, all different."""
    objects = {stem: [("cat", 1, 1, 9, 9)] for stem in ("a", "b", "c", "d", "e", "v", "w", "x", "t")}
    root = write_voc(objects, splits={"train": list("abcde"), "val": list("vwx"), "test": ["t"]})
    for number, stem in enumerate(objects):
        cells = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(cells).resize((64, 48), Image.Resampling.BICUBIC).save(root / "JPEGImages" / f"{stem}.jpg")
    return root


def copies_of(root: Path, memory: Path) -> tuple[list[Copy], tuple[str, ...]]:
    dataset, _, looks = check_images(open_dataset(str(root)), splits=SPLITS, skip_broken=False, memory=memory)
    report = describe_dataset(dataset, looks)
    assert report.copies == find_copies(dataset, looks)
    return list(report.copies), tuple(note for note in report.notes if "leakage" in note or "several times" in note)


def test_different_images_are_no_copies(root: Path, tmp_path: Path) -> None:
    assert copies_of(root, tmp_path / "memory.db") == ([], ())


def test_files_and_pictures_in_two_splits(root: Path, tmp_path: Path) -> None:
    images = root / "JPEGImages"
    shutil.copy(images / "b.jpg", images / "v.jpg")
    shutil.copy(images / "w.jpg", images / "t.jpg")
    Image.open(images / "c.jpg").save(images / "x.jpg", quality=60)
    name = "JPEGImages/{}.jpg".format
    expected = [
        Copy(kind="file", split="val", name=name("v"), other_split="train", other_name=name("b")),
        Copy(kind="picture", split="val", name=name("x"), other_split="train", other_name=name("c")),
        Copy(kind="file", split="test", name=name("t"), other_split="val", other_name=name("w")),
    ]
    for _ in range(2):  # looked at, then remembered
        found, notes = copies_of(root, tmp_path / "memory.db")
        assert found == expected
        assert notes == (
            "leakage: 2 images of val show the same picture as one of train (1 is the same file), first JPEGImages/v.jpg "
            "(val) and JPEGImages/b.jpg (train): delete the train image of each pair, else the AP on val is too high (all "
            "pairs: yoloret-nas data PATH --json)",
            "leakage: 1 image of test shows the same picture as one of val (1 is the same file), first JPEGImages/t.jpg "
            "(test) and JPEGImages/w.jpg (val): delete the val image of each pair, else the AP on test is too high (all "
            "pairs: yoloret-nas data PATH --json)",
        )


def test_a_changed_file_is_looked_at_again(root: Path, tmp_path: Path) -> None:
    images = root / "JPEGImages"
    assert copies_of(root, tmp_path / "memory.db") == ([], ())
    shutil.copy(images / "b.jpg", images / "v.jpg")
    assert len(copies_of(root, tmp_path / "memory.db")[0]) == 1


def test_files_twice_in_a_split_are_counted(root: Path, tmp_path: Path) -> None:
    for stem in "bc":
        shutil.copy(root / "JPEGImages/a.jpg", root / "JPEGImages" / f"{stem}.jpg")
    found, notes = copies_of(root, tmp_path / "memory.db")
    assert found == []
    assert notes == ("train: 2 images repeat a file of the same split and count several times",)


def test_roboflow_s_versions_are_told_by_their_names(root: Path, tmp_path: Path) -> None:
    names = {"a": "cell_1_jpg.rf." + 32 * "0", "v": "cell_1_jpg.rf." + 32 * "a", "w": "cell_2_jpg.rf." + 32 * "b"}
    for old, new in names.items():
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            (root / folder / f"{old}.{suffix}").rename(root / folder / f"{new}.{suffix}")
    for split in ("train", "val"):
        path = root / "ImageSets/Main" / f"{split}.txt"
        path.write_text("".join(f"{names.get(stem, stem)}\n" for stem in path.read_text().split()))
    found, notes = copies_of(root, tmp_path / "memory.db")
    assert [(copy.kind, copy.name[-8:], copy.other_name[-8:]) for copy in found] == [("source", "aaaa.jpg", "0000.jpg")]
    assert len(notes) == 1
    assert notes[0].startswith("leakage: 1 image of val is among Roboflow's versions of pictures that train has too")


def test_generated_images_are_no_copies(tmp_path: Path) -> None:
    assert copies_of(Path("shapes:train=3,val=2"), tmp_path / "memory.db") == ([], ())
