import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from trials.data import DatasetError, describe_dataset, draw_samples, open_dataset
from trials.data.report import MOST_DETECTIONS, SIZES_BY_SPACE
from trials.detections import DetectionSettings
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
        "no training image shows dog: add images of it, or take it from the classes",
        "too few objects to learn, or to judge by: cat (2) (at most 10 in training): add images",
        "no validation image shows cat: no AP counts it, move images of it there",
        "at 160 px, the largest size of space tiny, 25% of the objects cover less than 8×8 px, a cell of the finest output; "
        "at 416 px of space nano still 25%: cut the images into tiles",
        "val: 1 image has boxes under 2 px wide or high, first JPEGImages/c.jpg",
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


def test_the_search_that_comes_next_leaves_out_what_was_left_out(write_voc, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    root = write_voc({name: [("cat", 1, 1, 9, 9)] for name in names}, splits={"train": names[:4], "val": names[4:]})
    (root / "JPEGImages/a.jpg").unlink()
    arguments = [str(root), "--samples", "0", "--skip-broken"]
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert f"Next: yoloret-nas search --data {root} --skip-broken --budget 50" in result.stdout
    copied = [*arguments, "--convert", "coco", str(tmp_path / "new")]
    result = CliRunner().invoke(data, copied, catch_exceptions=False)
    assert f"--data {tmp_path / 'new'} --budget 50" in result.stdout  # which lacks the broken one


def test_an_object_twice_is_told(write_voc) -> None:
    twice = [("cat", 1, 1, 9, 9), ("cat", 1, 1, 9, 9), ("dog", 1, 1, 9, 9)]
    root = write_voc({"a": twice, "b": twice[1:]}, splits={"train": ["a"], "val": ["b"]})
    assert describe_dataset(open_dataset(str(root))).notes[-1:] == (
        "train: 1 image has an object of the same class and box twice, first JPEGImages/a.jpg",
    )


def test_more_objects_than_detections_are_told(write_voc) -> None:
    assert DetectionSettings().max_detections == MOST_DETECTIONS
    many = [("cat", 1 + n % 40, 1 + n // 40, 21 + n % 40, 21 + n // 40) for n in range(101)]
    ignored = ("cat", 1, 1, 30, 30, "difficult")
    splits = {"train": ["a"], "val": ["b"]}
    root = write_voc({"a": [*many[1:], ignored], "b": many}, splits=splits)
    (note,) = (note for note in describe_dataset(open_dataset(str(root))).notes if "objects, and no more" in note)
    assert note == (
        "val: 1 image has more than 100 objects, and no more detections of an image are scored, first JPEGImages/b.jpg: "
        "cut them into tiles"
    )


def test_rare_classes(write_voc) -> None:
    many = {f"m{n}": [("cat", 1, 1, 9, 9), ("dog", 1, 1, 9, 9), ("fox", 1, 1, 9, 9)] for n in range(10)}
    root = write_voc(
        {**many, "one": [("dog", 1, 1, 9, 9)], "v": [("dog", 1, 1, 9, 9), ("emu", 1, 1, 9, 9)]},
        splits={"train": [*many, "one"], "val": ["v"]},
    )
    report = describe_dataset(open_dataset(str(root)))
    assert report.rare_classes == {"cat": 10, "emu": 0, "fox": 10}  # dog has 11
    assert report.classes_without_validation == ("cat", "fox")
    assert report.notes == (
        "no training image shows emu: add images of it, or take it from the classes",
        "too few objects to learn, or to judge by: cat (10), fox (10) (at most 10 in training): add images",
        "no validation image shows cat, fox: no AP counts it, move images of it there",
    )


@pytest.mark.parametrize(
    ("side", "num_large", "share_at", "words"),
    [
        (3, 1, {64: 0.5, 160: 0.5, 192: 0.0}, "50% of the objects cover less than 8×8 px, .* 0%: use --space nano"),
        (
            1,
            1,
            {160: 0.5, 416: 0.5},
            "at 160 px, .* 50% .* at 416 px of space nano still 50%: cut the images into tiles",
        ),
        (3, 39, {64: 0.025}, None),
        (10, 1, {64: 0.0}, None),
    ],
)
def test_tiny_objects(write_voc, side: int, num_large: int, share_at: dict[int, float], words: str | None) -> None:
    """An image of 64×48 px is enlarged 2.5 times to 160 px: a side of 3 px becomes 7.5 px, under a cell of 8."""
    objects = [("cat", 11, 11, 10 + side, 10 + side), *num_large * [("cat", 1, 1, 48, 48)]]
    ignored = ("cat", 1, 1, 2, 2, "difficult")
    root = write_voc({"a": [*objects, ignored], "b": objects}, splits={"train": ["a"], "val": ["b"]})
    report = describe_dataset(open_dataset(str(root)))
    assert {size: report.tiny_objects[size] for size in share_at} == share_at
    notes = [note for note in report.notes if "cover less" in note]
    assert (len(notes) == 1 and re.search(words, notes[0])) if words else notes == []


def test_sizes_are_those_of_the_spaces_a_search_takes_by_default() -> None:
    from spaces.named_spaces import SPACES

    assert {name: SPACES[name]().axes["input_size"] for name in SIZES_BY_SPACE} == SIZES_BY_SPACE


@pytest.mark.parametrize(
    ("widths", "aspect", "num_half_empty", "is_noted"),
    [
        ([64] * 40 + [129], "4:3", 1, False),
        ([64] * 40 + [128], "4:3", 0, False),
        ([64] * 20 + [129] * 2 + [20] * 2, "4:3", 4, True),
    ],
)
def test_images_that_leave_half_of_the_input_to_margins(
    tmp_path: Path, write_image, write_coco, widths: list[int], aspect: str, num_half_empty: int, is_noted: bool
) -> None:
    names = [f"{number:02d}.jpg" for number in range(len(widths))]
    paths = [write_coco(f"{split}.json", names, [(0, 3, [1, 1, 10, 40])]) for split in ("train", "val")]
    for name, width in zip(names, widths, strict=True):
        write_image(paths[0].parent / name, width=width)
        for path in paths:
            path.write_text(path.read_text().replace(f'{name}", "width": 64', f'{name}", "width": {width}'))
    report = describe_dataset(open_dataset(str(tmp_path)))
    assert report.aspect == aspect
    assert report.splits["train"].num_half_empty == num_half_empty
    assert any(f"half of a network's input of {aspect} to the margins" in note for note in report.notes) == is_noted


def test_command_converts(small: Path, tmp_path: Path) -> None:
    arguments = [str(small), "--samples", "0", "--convert", "coco", str(tmp_path / "new")]
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert f"COCO: {tmp_path / 'new'}, 3 images" in result.stdout
    assert f"Next: yoloret-nas search --data {tmp_path / 'new'}" in result.stdout
    assert open_dataset(str(tmp_path / "new")).class_names == ("cat", "dog")
    with pytest.raises(DatasetError, match="new holds files already"):
        CliRunner().invoke(data, arguments, catch_exceptions=False)
    inside = [*arguments[:-1], str(small / "new"), "--json"]
    with pytest.raises(DatasetError, match="is inside of"):
        CliRunner().invoke(data, inside, catch_exceptions=False)


def test_command_says_what_was_written_anew(write_voc, tmp_path: Path) -> None:
    root = write_voc({"a": [("cat", 1, 1, 9, 9)], "b": []}, splits={"train": ["a"], "val": ["b"]})
    Image.open(root / "JPEGImages/a.jpg").convert("CMYK").save(root / "JPEGImages/a.jpg")
    arguments = [str(root), "--samples", "0", "--convert", "coco", str(tmp_path / "new")]
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert "1 of them, which other tools could turn or decode otherwise, are PNG files" in result.stdout
    result = CliRunner().invoke(data, [*arguments[:-1], str(tmp_path / "other"), "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["converted"] == str(tmp_path / "other")


def test_json_lists_all_copies(small: Path) -> None:
    (small / "JPEGImages/c.jpg").write_bytes((small / "JPEGImages/b.jpg").read_bytes())
    result = CliRunner().invoke(data, [str(small), "--samples", "0", "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["copies"][0] | {"other_name": ""} == {
        "kind": "file",
        "split": "val",
        "name": "JPEGImages/c.jpg",
        "other_split": "train",
        "other_name": "",
    }
    assert document["tiny_objects"]["64"] == 0.25
