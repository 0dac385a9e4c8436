"""Datasets by name, from small archives of the originals' layout on a local server."""

import hashlib
import io
import json
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets.voc import DATASET_YEAR_DICT

from tests.file_server import FileServer
from trials.data import DatasetError, known_datasets, open_dataset
from trials.data.formats.broken_items import OnBroken
from trials.data.known_datasets import KNOWN, Archive, fetch_known


def image_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "grey").save(buffer, "JPEG")
    return buffer.getvalue()


ANNOTATION = """<annotation><filename>{0}.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>
<object><name>{1}</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>25</ymax></bndbox></object></annotation>"""


def voc_archive(year: str, lists: dict[str, list[str]]) -> bytes:
    files = {}
    for split, stems in lists.items():
        files[f"ImageSets/Main/{split}.txt"] = "\n".join(stems).encode()
        for stem in stems:
            files[f"JPEGImages/{stem}.jpg"] = image_bytes()
            files[f"Annotations/{stem}.xml"] = ANNOTATION.format(stem, "cat" if stem < "1" else "dog").encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"VOCdevkit/VOC{year}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def put_up(server: FileServer, name: str, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    server.files |= contents
    archives = tuple(
        Archive(url=f"{server.url}/{file}", md5=hashlib.md5(content).hexdigest()) for file, content in contents.items()
    )
    monkeypatch.setitem(KNOWN, name, archives)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YOLORET_NAS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def voc(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    contents = {
        "trainval.tar": voc_archive("2007", {"train": ["001", "002", "003"], "val": ["004", "005"]}),
        "test.tar": voc_archive("2007", {"test": ["008", "009"]}),
        "2012.tar": voc_archive("2012", {"train": ["2008_1", "2008_2"], "val": ["2008_3"]}),
    }
    put_up(server, "voc", contents, monkeypatch)
    monkeypatch.setattr(known_datasets, "_NUM_VOC_VAL", 3)
    return contents


def test_both_years_make_one_dataset_of_the_paper_s_splits(
    voc: dict[str, bytes], server: FileServer, home: Path
) -> None:
    dataset = open_dataset("voc")
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 5, "val": 3, "test": 2}
    everything = [sample.name for samples in dataset.splits.values() for sample in samples]
    assert len(set(everything)) == 10
    assert dataset.class_names == ("cat", "dog")
    assert dataset.splits["val"][0].load().shape == (30, 40, 3)
    again = open_dataset("voc")
    assert again.fingerprint == dataset.fingerprint
    assert len(server.asked) == 3  # fetched once
    assert not list(home.rglob("*.tar*"))[3:]  # the archives went, their marks stayed
    assert {path.suffix for path in home.rglob("*.tar*")} == {".unpacked"}


def test_a_fetch_that_broke_off_leaves_nothing_and_starts_over_with_progress(
    voc: dict[str, bytes], server: FileServer, home: Path
) -> None:
    server.break_after = [5000]
    with pytest.raises(DatasetError, match=r"dataset voc is not in .*/trainval\.tar cannot be fetched") as caught:
        open_dataset("voc")
    assert "the download starts over" in caught.value.hint
    assert f"fetch trainval.tar into {home / 'voc'} yourself, for example with wget -c" in caught.value.hint
    assert [path.name for path in (home / "voc").iterdir()] == [".lock"]
    heard: list[tuple[str, int, int | None]] = []
    fetch_known("voc", lambda archive, done, whole: heard.append((archive, done, whole)))
    assert set(server.asked) == {None}  # whole files only
    assert heard[-1] == ("2012.tar", len(voc["2012.tar"]), len(voc["2012.tar"]))
    assert all(whole is not None and 0 < done <= whole for _, done, whole in heard)


def test_an_archive_of_other_content_is_refused(voc: dict[str, bytes], server: FileServer, home: Path) -> None:
    server.files["test.tar"] = voc["test.tar"][:-1] + b"x"
    with pytest.raises(DatasetError, match="does not match the known hash"):
        open_dataset("voc")
    assert not list((home / "voc").glob("*test.tar*"))


def test_an_archive_put_into_the_folder_by_hand_is_not_fetched(
    voc: dict[str, bytes], server: FileServer, home: Path
) -> None:
    (home / "voc").mkdir(parents=True)
    for name, content in voc.items():
        (home / "voc" / name).write_bytes(content)
    assert len(open_dataset("voc").splits["train"]) == 5
    assert server.asked == []


def test_two_at_once_fetch_once_and_both_get_the_right_content(
    voc: dict[str, bytes], server: FileServer, home: Path
) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(fetch_known, ["voc", "voc"]))
    assert folders == [home / "voc"] * 2
    assert len(server.asked) == 3
    assert len(open_dataset("voc").splits["train"]) == 5


def test_an_unpacked_dataset_needs_no_write_access(voc: dict[str, bytes], home: Path) -> None:
    fetch_known("voc")
    (home / "voc" / ".lock").unlink()
    fetch_known("voc")
    assert not (home / "voc" / ".lock").exists()


def pack(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def instances(stem: str, *more_boxes: list[float]) -> bytes:
    boxes = [[2, 3, 10, 10], *more_boxes]
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": f"{stem}.jpg", "width": 40, "height": 30}],
            "annotations": [
                {"id": number, "image_id": 1, "category_id": 7, "bbox": box, "iscrowd": 0}
                for number, box in enumerate(boxes)
            ],
            "categories": [{"id": 7, "name": "train"}],
        }
    ).encode()


@pytest.fixture
def coco(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original's layout; its training image has a box of zero height, as annotation 918 of train2017."""
    contents = {
        "annotations.zip": pack(
            {
                "annotations/instances_train2017.json": instances("a", [6.65, 8.33, 1.03, 0.0]),
                "annotations/instances_val2017.json": instances("b"),
            }
        ),
        "val2017.zip": pack({"val2017/b.jpg": image_bytes()}),
        "train2017.zip": pack({"train2017/a.jpg": image_bytes()}),
    }
    put_up(server, "coco", contents, monkeypatch)


@pytest.mark.usefixtures("coco")
@pytest.mark.parametrize("on_broken", ["stop", "skip"])
def test_coco_is_read_as_it_comes_with_its_flaws(on_broken: OnBroken) -> None:
    dataset = open_dataset("coco", on_broken=on_broken)
    assert {split: [s.name for s in samples] for split, samples in dataset.splits.items()} == {
        "train": ["train2017/a.jpg"],
        "val": ["val2017/b.jpg"],
    }
    assert dataset.splits["train"][0].boxes.tolist() == [[2, 3, 12, 13]]
    told = "annotations/instances_train2017.json: annotation 1 of a.jpg: bbox [6.65, 8.33, 1.03, 0] has no area"
    assert dataset.left_out == (told,)


@pytest.mark.usefixtures("coco")
def test_an_image_that_went_missing_after_the_download_still_stops(home: Path) -> None:
    fetch_known("coco")
    (home / "coco" / "train2017" / "a.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"train2017/a\.jpg: it is empty: 0 bytes"):
        open_dataset("coco")


def test_a_folder_of_the_same_name_is_not_passed_over(
    voc: dict[str, bytes], server: FileServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "voc").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DatasetError, match="'voc' is the original dataset of this name, and also a folder here"
    ) as caught:
        open_dataset("voc")
    assert caught.value.hint.startswith("write ./voc for the folder")
    assert not home.exists()  # nothing was fetched
    home.mkdir()
    monkeypatch.chdir(home)
    fetch_known("voc")
    fetch_known("voc")  # the folder here is the original's own
    assert (home / "voc").is_dir()


def test_offline_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "voc", (Archive(url="http://127.0.0.1:9/voc.tar", md5="0"),))
    with pytest.raises(
        DatasetError, match=r"and http://127\.0\.0\.1:9/voc\.tar cannot be fetched: .*refused"
    ) as caught:
        open_dataset("voc")
    assert "\n" not in caught.value.message


def test_voc_s_archives_are_those_of_the_library() -> None:
    known = {(DATASET_YEAR_DICT[year]["url"], DATASET_YEAR_DICT[year]["md5"]) for year in ("2007", "2007-test", "2012")}
    assert {(archive.url, archive.md5) for archive in KNOWN["voc"]} == known
