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
