"""A dataset written as COCO is the dataset that was read, for us and for COCO's own tools."""

import errno
import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO as FasterCoco  # noqa: N811
from PIL import Image
from pycocotools.coco import COCO

from tests.trials.data.formats.coco_round_trip import check_round_trip
from trials.data import DatasetError, open_dataset
from trials.data.formats.coco_writer import _Names, check_apart, check_free
from trials.data.formats.coco_writer import write_coco as convert  # write_coco is a fixture

Write = Callable[[], str]


@pytest.fixture
def voc(write_voc, write_image) -> str:
    """Difficult objects, an image without objects, images of one name in two folders, and a test split."""
    objects = {
        "a": [("cat", 1, 1, 10.25, 10.7), ("dog", 3, 3, 40, 40, "difficult")],
        "b": [],
        "v": [("dog", 1, 1, 64, 48)],
        "t": [("cat", 5.5, 5.5, 9.75, 9.5)],
    }
    root = write_voc(objects, splits={"train": ["a", "b", "x/1", "y/1"], "val": ["v"], "test": ["t"]})
    for folder in ("x", "y"):
        (root / "Annotations" / folder).mkdir()
        write_image(root / "JPEGImages" / folder / "1.jpg")
        text = (root / "Annotations/a.xml").read_text().replace("10.25", f"{11 + ord(folder) % 7}")
        (root / "Annotations" / folder / "1.xml").write_text(text)
    return str(root)


@pytest.fixture
def coco(tmp_path: Path, write_coco, write_image) -> str:
    """Crowds, boxes between pixels, a class without objects, names with folders and characters that few expect."""
    names = ["sub/a b.jpg", 'ü%20?"<|>:.jpg', "a.jpg", "A.jpg", "none.jpg"]
    crowd = {"iscrowd": 1}
    boxes = [
        (0, 3, [0.1, 0.2, 30.3, 40.4]),
        (1, 3, [10, 5, 20, 15], crowd),
        (2, 3, [0, 0, 64, 48]),
        (3, 3, [1, 1, 2, 2]),
    ]
    write_coco("annotations/instances_train.json", names, boxes)
    write_coco("annotations/instances_val.json", ["v.jpg"], [(0, 3, [63.5, 1, 0.3, 5])])
    for name in names:
        write_image(tmp_path / "coco/train" / name)
    write_image(tmp_path / "coco/val/v.jpg")
    return str(tmp_path / "coco")


@pytest.fixture
def yolo(tmp_path: Path, write_image) -> str:
    root = tmp_path / "yolo"
    for split, names in {"train": ("a.b.png", "c.jpg"), "val": ("a.jpg",)}.items():
        for number, name in enumerate(names, 3):
            write_image(root / "images" / split / name)
            label = root / "labels" / split / f"{Path(name).stem}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(f"1 0.5 0.5 0.3{number} 0.123456\n0 0.1 0.1 0.1 0.1\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [none, 'no: 1']\n")
    return str(root)


@pytest.fixture
def shapes() -> str:
    return "shapes:train=3,val=2,test=2,size=48"


@pytest.mark.parametrize("name", ["voc", "coco", "yolo", "shapes"])
def test_what_is_read_back_is_equal(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dataset = open_dataset(request.getfixturevalue(name))
    num_images = sum(len(samples) for samples in dataset.splits.values())
    assert check_round_trip(dataset, tmp_path / "new/out") == (tmp_path / "new/out", num_images, ())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out"]
    reports: list[tuple[int, int]] = []
    convert(dataset, tmp_path / "other", report=lambda *report: reports.append(report))
    assert reports == [(done, num_images) for done in range(num_images + 1)]


@pytest.mark.parametrize("tool", [COCO, FasterCoco])
def test_coco_s_own_tools_load_it(tool, voc: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(open_dataset(voc), tmp_path / "out")
    loaded = tool(str(tmp_path / "out/annotations/instances_train.json"))
    assert [category["name"] for category in loaded.loadCats(loaded.getCatIds())] == ["cat", "dog"]
    images = loaded.loadImgs(loaded.getImgIds())
    assert len(images) == 4
    assert all((tmp_path / "out/train" / image["file_name"]).is_file() for image in images)
    assert [image["source"] for image in images][2:] == ["JPEGImages/x/1.jpg", "JPEGImages/y/1.jpg"]
    annotations = loaded.loadAnns(loaded.getAnnIds(imgIds=images[0]["id"]))
    assert [annotation["iscrowd"] for annotation in annotations] == [0, 1]
    assert annotations[0]["bbox"] == [0, 0, 10.25, pytest.approx(10.7, abs=1e-5)]
    assert annotations[0]["area"] == pytest.approx(10.25 * 10.7, abs=1e-3)
    assert (
        min(loaded.getAnnIds()) == min(loaded.getCatIds()) == min(loaded.getImgIds()) == 1
    )  # 0 means none in COCO's code


def test_names_are_distinct_on_every_file_system(coco: str, tmp_path: Path) -> None:
    convert(open_dataset(coco), tmp_path / "out")
    names = sorted(os.listdir(tmp_path / "out/train"))
    assert names == ["A-2.jpg", "a b.jpg", "a.jpg", "none.jpg", "ü%20______.jpg"]


def test_many_images_of_one_name_are_named_at_once() -> None:
    names, began = _Names(), time.monotonic()
    given = [names.give(f"{number}/A.jpg", suffix=".jpg") for number in range(20_000)]
    assert time.monotonic() - began < 10
    assert given[:3] == ["A.jpg", "A-2.jpg", "A-3.jpg"]
    assert len(set(given)) == 20_000


def test_hidden_and_undecodable_names(tmp_path: Path, write_coco, write_image) -> None:
    write_coco("train.json", [".a.jpg", "b.jpg"], [(0, 3, [1, 1, 9, 9])])
    for name in (".a.jpg", "b.jpg"):
        write_image(tmp_path / "coco" / name)
    os.rename(tmp_path / "coco/b.jpg", os.fsencode(tmp_path / "coco") + b"/\xff.jpg")
    text = (tmp_path / "coco/train.json").read_text()
    (tmp_path / "coco/train.json").write_text(text.replace("b.jpg", "\\udcff.jpg"))
    dataset = open_dataset(str(tmp_path / "coco"))
    convert(dataset, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out/train") + os.listdir(tmp_path / "out/val")) == ["_xff.jpg", "a.jpg"]


def test_what_other_tools_read_otherwise_becomes_the_pixels_seen_here(tmp_path: Path, write_image) -> None:
    folder = tmp_path / "yolo/images/train"
    write_image(folder / "plain.jpg")
    write_image(folder / "grey.png")
    Image.open(folder / "grey.png").convert("L").save(folder / "grey.png")
    turned = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    write_image(folder / "turned.jpg", exif=turned)
    Image.fromarray(np.full((48, 64), 40_000, np.uint16)).save(folder / "deep.png")
    write_image(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-8])
    Image.open(folder / "plain.jpg").convert("CMYK").save(folder / "print.jpg")
    write_image(folder / "web.webp", lossless=True)
    for image in folder.iterdir():
        label = tmp_path / "yolo/labels/train" / f"{image.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.25 0.25 0.1 0.2\n")
    (tmp_path / "yolo/data.yaml").write_text("train: images/train\nval: images/train\nnames: [cat]\n")
    dataset = open_dataset(str(tmp_path / "yolo"))
    converted = check_round_trip(dataset, tmp_path / "out")
    rewritten = [Path(name).name for name in converted.rewritten if name in {s.name for s in dataset.splits["train"]}]
    assert sorted(set(rewritten)) == ["cut.jpg", "deep.png", "print.jpg", "turned.jpg", "web.webp"]
    files = sorted(os.listdir(tmp_path / "out/train"))
    assert files == ["cut.png", "deep.png", "grey.png", "plain.jpg", "print.png", "turned.png", "web.png"]
    with Image.open(tmp_path / "out/train/turned.png") as image:
        assert (image.size, dict(image.getexif())) == ((48, 64), {})


def test_images_are_files_of_their_own(tmp_path: Path, voc: str) -> None:
    """Neither a change of the new dataset nor a move of the former one touches the other."""
    image = Path(voc) / "JPEGImages/a.jpg"
    image.rename(tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    (tmp_path / "elsewhere.jpg").chmod(0o444)
    convert(open_dataset(voc), tmp_path / "out")
    written = tmp_path / "out/train/a.jpg"
    assert not written.is_symlink()
    assert not written.samefile(image)
    assert written.stat().st_mode & 0o200


def test_an_error_leaves_nothing(tmp_path: Path, voc: str) -> None:
    dataset = open_dataset(voc)
    (Path(voc) / "JPEGImages/v.jpg").unlink()  # after the training images are written
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DatasetError, match=r"v\.jpg does not exist"):
        convert(dataset, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == before


def test_folders_that_are_taken(tmp_path: Path, voc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(voc)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    cases = {
        tmp_path / "full": "full holds files already",
        tmp_path / "full/mine.txt": r"mine\.txt is a file",
        Path(voc) / "new": "is inside of .*, which would then hold each image twice",
        tmp_path / "empty": "empty is the working directory",
    }
    monkeypatch.chdir(tmp_path / "empty")
    for folder, message in cases.items():
        with pytest.raises(DatasetError, match=message):
            convert(dataset, folder, source=Path(voc))
    assert (tmp_path / "full/mine.txt").read_text() == "mine"
    monkeypatch.chdir(tmp_path)
    convert(dataset, Path("empty"), source=Path(voc))
    document = json.loads((tmp_path / "empty/annotations/instances_val.json").read_text())
    assert document["info"]["description"] == "voc, converted from voc by yoloret-nas"


def test_places_that_cannot_be_written(tmp_path: Path, voc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "disk").mkdir()
    with pytest.raises(DatasetError, match=r"file/new/out cannot be written: Not a directory: .*file"):
        check_free(tmp_path / "file/new/out", Path(voc))
    before = sorted(os.listdir(tmp_path))
    check_free(tmp_path / "disk", Path(voc))
    assert sorted(os.listdir(tmp_path)) == before
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    with pytest.raises(DatasetError, match="disk is a mount point") as caught:
        check_free(tmp_path / "disk", Path(voc))
    assert caught.value.hint == "name a folder in it"


def test_folder_of_the_given_file_is_the_dataset_s(coco: str, tmp_path: Path) -> None:
    given = next(Path(coco).rglob("instances_train.json"))
    with pytest.raises(DatasetError, match=r"annotations/out is inside of .*, which would then hold each image twice"):
        check_free(given.parent / "out", given)


def test_full_disk_names_the_new_folder(coco: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*/out'"):
        convert(open_dataset(coco), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_list", [False, True])
def test_folder_of_images_that_a_yaml_file_elsewhere_names(tmp_path: Path, yolo: str, is_list: bool) -> None:
    given = tmp_path / "settings/data.yaml"
    given.parent.mkdir()
    images = [path for path in sorted(Path(yolo).rglob("*")) if path.suffix in (".jpg", ".png")]
    assert images
    (given.parent / "all.txt").write_text("".join(f"{path}\n" for path in images))
    place = "train: all.txt" if is_list else f"path: {yolo}\ntrain: images"
    given.write_text(f"{place}\nnames: {[str(number) for number in range(9)]}\n")
    dataset = open_dataset(str(given), on_broken="skip")
    out = images[0].parent / "out"
    with pytest.raises(DatasetError, match=r"out is inside of .*, which would then hold each image twice"):
        convert(dataset, out, source=given)
    assert not out.exists()
    check_apart(tmp_path / "out", dataset)
    if not is_list:  # images of that folder may lie anywhere in it
        with pytest.raises(DatasetError, match=r"out is inside of .*/yolo, which"):
            check_apart(Path(yolo) / "out", dataset)


def test_images_without_a_suffix_get_that_of_their_content(coco: str, tmp_path: Path) -> None:
    for name, suffix in (("v", "jpg"), ("w", "png")):
        path = Path(coco) / f"val/{name}.{suffix}"
        Image.new("RGB", (64, 48)).save(path)
        path.rename(path.with_suffix(""))
    path = Path(coco) / "annotations/instances_val.json"
    document = json.loads(path.read_text())
    document["images"] = [{"id": number, "file_name": name} for number, name in enumerate("vw", 100)]
    path.write_text(json.dumps(document))
    out = tmp_path / "out"
    assert convert(open_dataset(coco), out).rewritten == ()
    assert {file.name for file in (out / "val").iterdir()} == {"v.jpg", "w.png"}
