import errno
import os
import re
from pathlib import Path

import pytest
from PIL.ImageFile import ImageFile

from trials.data import DatasetError, open_dataset


def test_missing_path() -> None:
    with pytest.raises(DatasetError, match="dataset '/no/such/place' does not exist") as caught:
        open_dataset("/no/such/place")
    assert "shapes" in caught.value.hint


@pytest.mark.parametrize("question", ["exists", "is_file"])
def test_what_this_user_may_not_read_is_named(write_voc, monkeypatch: pytest.MonkeyPatch, question: str) -> None:
    """Up to Python 3.13, pathlib raises where a folder above may not be searched."""
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, question, refuse)
    with pytest.raises(DatasetError, match=rf"^dataset '{root}' cannot be read: Permission denied: {root}\n"):
        open_dataset(str(root))


def test_a_folder_below_that_this_user_may_not_enter_is_named(write_voc, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    (root / "private").mkdir()
    scandir, is_file = os.scandir, Path.is_file

    def refuse(path: Path) -> None:
        if "private" in (path.name, path.parent.name):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) or scandir(path))
    monkeypatch.setattr(Path, "is_file", lambda path: refuse(path) or is_file(path))
    with pytest.raises(DatasetError, match=rf"^{root}/private: the folder cannot be read: Permission denied$"):
        open_dataset(str(root))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a dataset of a known format: it is empty") as caught:
        open_dataset(str(tmp_path))
    assert caught.value.hint == "give the folder that holds the images and their annotations"


def test_unknown_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DatasetError, match="is not a dataset of a known format") as caught:
        open_dataset(str(tmp_path))
    for word in ("Pascal VOC", "COCO", "data.yaml"):
        assert word in caught.value.hint


def test_other_folder_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"it holds letters/, notes\.txt"):
        open_dataset(str(tmp_path))


def test_annotations_that_git_lfs_did_not_fetch(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(DatasetError, match="is not a dataset of a known format") as caught:
        open_dataset(str(tmp_path))
    assert caught.value.hint == (
        "labels.json: it is a Git LFS pointer, not the file itself: run 'git lfs pull' in its folder"
    )
    (tmp_path / "labels.json").rename(tmp_path / "labels.parquet")
    with pytest.raises(DatasetError, match=r"labels\.parquet: it is a Git LFS pointer, not the file itself"):
        open_dataset(str(tmp_path))


def test_other_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.touch()
    with pytest.raises(DatasetError, match="it is a single file"):
        open_dataset(str(path))


def test_folder_named_shapes_needs_its_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shapes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_dataset("shapes:train=2,val=1").format == "shapes"
    with pytest.raises(DatasetError, match=r"'\./shapes' is not a dataset"):
        open_dataset("./shapes")


def test_unknown_policy(tmp_path: Path, write_voc) -> None:
    with pytest.raises(ValueError, match="on_broken='perhaps' is unknown; choose one of stop, skip"):
        open_dataset(str(write_voc({"a": []})), on_broken="perhaps")


def test_fingerprint_tells_annotations_apart(tmp_path: Path, write_voc) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    before = open_dataset(str(root)).fingerprint
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<xmax>9", "<xmax>8"))
    assert open_dataset(str(root)).fingerprint != before


def test_opening_decodes_no_image(write_voc, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads sizes and end marks only, so that large datasets open in seconds."""

    def decode(image: ImageFile) -> None:
        raise AssertionError(f"{image} is decoded")

    monkeypatch.setattr(ImageFile, "load", decode)
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    dataset = open_dataset(str(root))
    with pytest.raises(AssertionError, match="is decoded"):
        dataset.splits["train"][0].load()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("d-export.csv", '"image","xmin","ymin","xmax","ymax","label"\n', "VoTT CSV..*datum convert -if vott_csv "),
        ("gt/gt.txt", "1,1,10,5,20,15,1,1,1\n", "MOT..*datum convert -if mot_seq "),
        (
            "v.json",
            '{"securityToken": "t", "videoSettings": {}, "assets": {}}',
            "VoTT JSON.* from the tool that wrote it",
        ),
        (
            "v.json",
            '{"a": {"regions": [{"shape_attributes": {}, "region_attributes": {}}]}}',
            "VGG Image Annotator's JSON",
        ),
        ("annotations/1.txt", "10,10,20,20,1,4,0,0\n", "looked for Pascal VOC"),  # VisDrone's are like MOT's
        ("_annotations.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n", "TensorFlow's CSV"),
        ("_annotations.csv", "a.jpg,10,10,20,20,cat\n", "RetinaNet's CSV"),
        ("_annotations.txt", "a.jpg 10,10,20,20,0 1,1,2,2,0\n", "Keras' list"),
        ("metadata.jsonl", '{"file_name":"a.jpg","objects":{}}\n', "Hugging Face's image folder"),
        ("d.ndjson", '{"type":"dataset","task":"detect"}\n', "Ultralytics' NDJSON"),
        ("l.json", '[{"name": "a.jpg", "labels": [{"category": "car", "box2d": {"x1": 1}}]}]', "BDD100K's JSON"),
        ("labelTxt/a.txt", "gsd:0.1\n10 10 20 10 20 20 10 20 plane 0\n", "DOTA"),
        ("a.tfrecord", "", "TFRecord.* from the tool that wrote it"),
        ("a.txt", "0 0.5 0.5 0.1 0.1\n", "label files without class names; add a classes.txt"),
        ("notes.md", "", "looked for Pascal VOC"),
    ],
)
def test_hint_tells_other_formats_and_their_converters(
    tmp_path: Path, write_image, file: str, text: str, message: str
) -> None:
    write_image(tmp_path / "images/a.jpg")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    with pytest.raises(DatasetError, match=r"\(files by suffix: 1 \.") as caught:
        open_dataset(str(tmp_path))
    assert re.search(message, caught.value.hint)


def test_images_alone(tmp_path: Path, write_image) -> None:
    write_image(tmp_path / "images/a.jpg")
    with pytest.raises(DatasetError, match=r"it holds images/ \(files by suffix: 1 \.jpg\)") as caught:
        open_dataset(str(tmp_path))
    assert caught.value.hint.startswith("there are images but no annotations: label them")
    with pytest.raises(DatasetError, match="it is a single file") as caught:
        open_dataset(str(tmp_path / "images/a.jpg"))
    assert caught.value.hint == "give the folder of the images, not one of them"


@pytest.mark.parametrize("name", ["export.zip", "export.tar.gz"])
def test_an_archive_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    for spec in (tmp_path, tmp_path / name):
        with pytest.raises(DatasetError, match="is not a dataset of a known format") as caught:
            open_dataset(str(spec))
        assert caught.value.hint == f"unpack {name}, and give the folder"


def test_a_pipe_below_the_folder_is_not_read(write_voc) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    os.mkfifo(root / "Annotations" / "c.xml")
    assert len(open_dataset(str(root)).splits["train"]) == 1


def test_the_other_format_is_named_when_the_first_is_broken(write_voc) -> None:
    root = write_voc({"a": [("cat", 9, 1, 1, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    (root / "data.yaml").write_text("train: JPEGImages\nnames: [cat]\n")
    with pytest.raises(DatasetError, match="is inverted") as caught:
        open_dataset(str(root))
    assert "--skip-broken; annotations in the format yolo are there too: not read, voc is" in caught.value.hint


def test_a_second_format_is_told(write_voc) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    (root / "data.yaml").write_text("train: JPEGImages\nnames: [cat]\n")
    assert open_dataset(str(root)).notes == ("annotations in the format yolo are there too: not read, voc is",)


def test_files_that_systems_leave_behind_are_skipped(write_voc) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    before = open_dataset(str(root)).fingerprint
    for name in ("Annotations/._a.xml", "JPEGImages/._a.jpg", "JPEGImages/Thumbs.db", "__MACOSX/Annotations/a.xml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x00\x05\x16\x07")
    assert (open_dataset(str(root)).fingerprint, open_dataset(str(root)).notes) == (before, ())


def test_layouts_of_the_docs_name_their_tests() -> None:
    here = Path(__file__).parent
    tests = "".join(path.read_text() for path in here.rglob("test_*.py"))
    rows = re.findall(r"`(test_\w+)` \|$", (here.parents[2] / "docs/data.md").read_text(), re.M)
    assert len(rows) > 20
    assert [name for name in rows if f"def {name}(" not in tests] == []
