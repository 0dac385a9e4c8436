import re
from pathlib import Path

import pytest
from PIL.ImageFile import ImageFile

from trials.data import DatasetError, open_dataset


def test_missing_path() -> None:
    with pytest.raises(DatasetError, match="dataset '/no/such/place' does not exist") as caught:
        open_dataset("/no/such/place")
    assert "shapes" in caught.value.hint


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a dataset of a known format: it is empty") as caught:
        open_dataset(str(tmp_path))
    for word in ("Pascal VOC", "COCO", "data.yaml"):
        assert word in caught.value.hint


def test_other_folder_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"it holds letters/, notes\.txt"):
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
    assert caught.value.hint == "there are images but no annotations"


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
