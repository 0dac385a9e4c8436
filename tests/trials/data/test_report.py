import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from trials.data import DatasetError, describe_dataset, draw_samples, open_dataset
from yoloret_nas.commands.data import data


@pytest.fixture
def small(write_voc) -> Path:
    return write_voc(
        {
            "a": [("cat", 1, 1, 10, 10), ("cat", 1, 1, 40, 40), ("cat", 1, 1, 9, 9, "difficult")],
            "b": [],
            "c": [("dog", 1, 1, 64, 48), ("dog", 5, 5, 5, 5)],
        },
        splits={"train": ["a", "b"], "val": ["c"]},
    )


def test_counts(small: Path) -> None:
    report = describe_dataset(open_dataset(str(small)))
    train, val = report.splits["train"], report.splits["val"]
    assert (train.num_images, train.num_empty_images, train.num_objects, train.num_ignored) == (2, 1, 2, 1)
    assert train.num_by_class == {"cat": 2, "dog": 0}
    assert (train.num_small, train.num_medium, train.num_large) == (1, 1, 0)
    assert (val.num_small, val.num_medium, val.num_large) == (1, 1, 0)
    assert (train.smallest_side_px, val.smallest_side_px) == (10, 1)
    assert train.largest_image_hw == (48, 64)
    assert report.notes == (
        "no training image shows dog",
        "val: 1 image(s) have boxes under 2 px wide or high, first JPEGImages/c.jpg",
    )
    json.dumps(report.to_json())


def test_split_without_objects(write_voc) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    val = describe_dataset(open_dataset(str(root))).splits["val"]
    assert (val.num_objects, val.smallest_side_px, val.median_share) == (0, None, None)


def test_contact_sheet(small: Path, tmp_path: Path) -> None:
    path = draw_samples(open_dataset(str(small)), tmp_path / "new/sheet.png", 9)
    with Image.open(path) as sheet:
        assert sheet.width > 2 * 320  # two images side by side
        assert len(sheet.getcolors(maxcolors=10**6) or []) > 100


def test_unwritable_picture(small: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the picture cannot be written"):
        draw_samples(open_dataset(str(small)), tmp_path / "sheet.nothing", 1)


def test_command_prints_tables(small: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(data, [str(small), "--out", str(tmp_path / "sheet.png")], catch_exceptions=False)
    for text in ("voc: voc", "without objects", "Note: no training image shows dog", f"Drawn images: {tmp_path}"):
        assert text in result.stdout
    assert (tmp_path / "sheet.png").is_file()


def test_command_prints_one_json_document(small: Path) -> None:
    result = CliRunner().invoke(data, [str(small), "--samples", "0", "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["splits"]["train"]["num_objects"] == 2
    assert document["picture"] is None


def test_command_lists_what_is_left_out(small: Path) -> None:
    (small / "JPEGImages/a.jpg").unlink()
    arguments = [str(small), "--samples", "0"]
    with pytest.raises(DatasetError, match=r"a\.jpg: the image is missing"):
        CliRunner().invoke(data, arguments, catch_exceptions=False)
    result = CliRunner().invoke(data, [*arguments, "--skip-broken"], catch_exceptions=False)
    assert "Left out as broken: 1" in result.stdout
    assert "JPEGImages/a.jpg: the image is missing" in result.stdout


def test_an_object_twice_is_told(write_voc) -> None:
    twice = [("cat", 1, 1, 9, 9), ("cat", 1, 1, 9, 9), ("dog", 1, 1, 9, 9)]
    root = write_voc({"a": twice, "b": twice[1:]}, splits={"train": ["a"], "val": ["b"]})
    assert describe_dataset(open_dataset(str(root))).notes == (
        "train: 1 image(s) have an object of the same class and box twice, first JPEGImages/a.jpg",
    )
