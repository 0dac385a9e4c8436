"""Parquet as ``datasets`` 5.2.0's ``Dataset.to_parquet`` writes it: the schema below, and its classes in the metadata."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.trials.data.formats.coco_round_trip import check_round_trip
from trials.data import DatasetError, open_dataset
from trials.data.data_home import data_home
from trials.data.formats import parquet

XYWH = [[10, 5, 20, 15], [30.5, 20.25, 10, 8]]
XYXY = [[10, 5, 30, 20], [30.5, 20.25, 40.5, 28.25]]
NAMES = ["cat", "red cell"]
Row = Mapping[str, Any]
WriteParquet = Callable[..., Path]


def _image(seed: int) -> bytes:
    stored = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stored, "JPEG")
    return stored.getvalue()


def _row(seed: int, boxes: Sequence[Sequence[float]] = XYWH, classes: Sequence[int | str] = (1, 0)) -> Row:
    image = {"bytes": _image(seed), "path": f"{seed}.jpg"}
    return {"image_id": seed, "image": image, "objects": {"bbox": list(boxes), "category": list(classes)}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YOLORET_NAS_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def write_parquet(tmp_path: Path, home: Path) -> WriteParquet:
    def write(names: Sequence[str] | None = NAMES, /, **splits: Sequence[Row]) -> Path:
        for split, rows in splits.items():
            category: dict[str, Any] = {"_type": "Value", "dtype": "int64"}
            if names is not None:
                category = {"_type": "ClassLabel", "names": list(names)}
            boxes = {"_type": "List", "feature": {"_type": "List", "feature": {"_type": "Value"}, "length": 4}}
            objects = {"bbox": boxes, "category": {"_type": "List", "feature": category}}
            metadata = json.dumps({"info": {"features": {"image": {"_type": "Image"}, "objects": objects}}})
            table = pa.Table.from_pylist([dict(row) for row in rows])
            path = tmp_path / f"data/data/{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
        return tmp_path / "data"

    return write


@pytest.mark.parametrize("field", ["iscrowd", "is_crowd", "difficult", "invalid"])
def test_flagged_boxes_are_ignored(write_parquet: WriteParquet, field: str) -> None:
    row = _row(0)
    root = write_parquet(train=[{**row, "objects": {**row["objects"], field: [False, True]}}], validation=[_row(1)])
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].ignored.tolist() == [False, True]
    assert not dataset.splits["val"][0].ignored.any()


def test_any_of_several_flags_is_heeded(write_parquet: WriteParquet) -> None:
    row = _row(0)
    flags = {"iscrowd": [0, 0], "difficult": [False, True]}
    root = write_parquet(train=[{**row, "objects": {**row["objects"], **flags}}], validation=[_row(1)])
    assert open_dataset(str(root)).splits["train"][0].ignored.tolist() == [False, True]


def test_parquet_of_hugging_face(write_parquet: WriteParquet, home: Path) -> None:
    root = write_parquet(train=[_row(0), _row(1, [], [])], validation=[_row(2)])
    dataset = open_dataset(str(root))
    assert (dataset.name, dataset.format, dataset.class_names) == ("data", "parquet", ("cat", "red cell"))
    first, second = dataset.splits["train"]
    assert first.boxes.tolist() == XYXY
    assert first.labels.tolist() == [1, 0]
    assert second.boxes.shape == (0, 4)
    assert dataset.splits["val"][0].name == "data/validation-00000-of-00001/0000000.jpg"
    expected = np.array(Image.open(io.BytesIO(_image(0))))
    assert (pickle.loads(pickle.dumps(first.load))() == expected).all()
    assert dataset.notes == (
        "boxes are read as x, y, width, height in pixels, as in COCO",
        f"the images are unpacked in {next((home / 'parquet').iterdir())}",
    )


def test_parquet_is_unpacked_once_and_again_where_it_changed(write_parquet: WriteParquet, home: Path) -> None:
    root = write_parquet(train=[_row(0)], validation=[_row(2)])
    before = open_dataset(str(root))
    image = before.splits["train"][0].load.path
    stamp = image.stat().st_mtime_ns
    assert open_dataset(str(root)).fingerprint == before.fingerprint
    assert image.stat().st_mtime_ns == stamp
    write_parquet(train=[_row(0, XYWH[:1], [1])])
    os.utime(root / "data/train-00000-of-00001.parquet", ns=(0, 0))
    assert open_dataset(str(root)).fingerprint != before.fingerprint
    assert len(list((home / "parquet").iterdir())) == 2


def test_corners_are_told_from_widths(write_parquet: WriteParquet) -> None:
    root = write_parquet(train=[_row(0, [*XYXY, [40, 30, 60, 45]], [1, 0, 0])], validation=[_row(2, XYXY)])
    dataset = open_dataset(str(root))
    assert dataset.splits["val"][0].boxes.tolist() == XYXY
    assert dataset.notes[0].startswith("boxes are read as x1, y1, x2, y2: as x, y, width, height some would reach")


def test_one_box_past_the_edge_or_without_area_does_not_change_how_all_are_read(write_parquet: WriteParquet) -> None:
    widths = [_row(n, XYWH[:1], [0]) for n in range(20)] + [_row(20, [[50, 20, 51, 21]], [0])]
    assert open_dataset(str(write_parquet(train=widths, val=[_row(2)]))).splits["train"][0].boxes.tolist() == XYXY[:1]
    corners = [_row(n, [[40, 30, 60, 45]], [0]) for n in range(20)] + [
        _row(20, [[50, 20, 50, 30], [40, 30, 60, 45]], [0, 0])
    ]
    dataset = open_dataset(str(write_parquet(train=corners, val=corners[:1])), on_broken="skip")
    assert dataset.splits["train"][0].boxes.tolist() == [[40, 30, 60, 45]]
    assert len(dataset.left_out) == 1


def test_another_version_of_the_reader_unpacks_anew(
    write_parquet: WriteParquet, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_parquet(train=[_row(0)], validation=[_row(2)])
    open_dataset(str(root))
    monkeypatch.setattr(parquet, "_UNPACKER", -1)
    open_dataset(str(root))
    assert len(list((home / "parquet").iterdir())) == 2


def test_numbers_that_nothing_names_are_noted(write_parquet: WriteParquet) -> None:
    dataset = open_dataset(str(write_parquet(None, train=[_row(0)], validation=[_row(2)])))
    assert dataset.class_names == ("0", "1")
    note = "the files name no classes: they are called by the numbers in their rows, such as 0"
    assert dataset.notes[1] == note
    named = open_dataset(str(write_parquet(["0", "1"], train=[_row(0)], validation=[_row(2)])))
    assert (named.class_names, note in named.notes) == (("0", "1"), False)
    words = open_dataset(
        str(write_parquet(None, train=[_row(0, classes=["b", "a"])], validation=[_row(2, classes=["a", "b"])]))
    )
    assert (words.class_names, note in words.notes) == (("a", "b"), False)


def test_names_of_other_fields_are_not_the_classes(write_parquet: WriteParquet) -> None:
    """As WIDER FACE on the hub, whose faces have "blur" and more, each with names of its own."""
    root = write_parquet(train=[_row(0)], validation=[_row(1)])
    for path in root.rglob("*.parquet"):
        table = pq.read_table(path)
        metadata = json.loads(table.schema.metadata[b"huggingface"])
        objects = metadata["info"]["features"]["objects"]
        blur = {"_type": "ClassLabel", "names": ["clear", "heavy"]}
        sequence = {"_type": "Sequence", "feature": {"blur": blur, **objects}}
        metadata["info"]["features"]["objects"] = sequence
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(metadata)}), path)
    assert open_dataset(str(root)).class_names == ("cat", "red cell")


def test_lists_of_other_lengths_in_a_row(write_parquet: WriteParquet) -> None:
    root = write_parquet(train=[_row(0), _row(1, XYWH, [1])], validation=[_row(2)])
    with pytest.raises(DatasetError, match=r"train\.json: annotation 3 has no class"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert [len(sample.boxes) for sample in dataset.splits["train"]] == [2, 1]


def test_fractions_are_refused(write_parquet: WriteParquet, home: Path) -> None:
    root = write_parquet(train=[_row(0, [[0.5, 0.5, 0.2, 0.2]], [1])])
    with pytest.raises(DatasetError, match="the boxes in the Parquet files are fractions of the image"):
        open_dataset(str(root))
    assert list((home / "parquet").iterdir()) == []


def test_broken_rows_are_named_or_left_out(write_parquet: WriteParquet) -> None:
    missing = {**_row(3), "image": {"bytes": None, "path": "3.jpg"}}
    unlabelled = _row(4, XYWH, [1, -1])
    broken = {**_row(5), "image": {"bytes": _image(5)[:400], "path": "5.jpg"}}
    root = write_parquet(train=[_row(0), missing, unlabelled, broken], validation=[_row(2)])
    with pytest.raises(DatasetError, match="has an unknown class -1"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert [Path(sample.name).stem for sample in dataset.splits["train"]] == ["0000000", "0000002"]
    assert dataset.splits["train"][1].boxes.tolist() == XYXY[:1]
    assert any("0000001.jpg: the image is missing" in entry for entry in dataset.left_out)
    assert any("0000003.jpg: the image cannot be read" in entry for entry in dataset.left_out)


def test_image_without_any_label_of_the_hub_is_left_out(write_parquet: WriteParquet) -> None:
    root = write_parquet(train=[_row(0), _row(1, XYWH, [-1, -1])], validation=[_row(2)])
    dataset = open_dataset(str(root), on_broken="skip")
    assert [Path(sample.name).stem for sample in dataset.splits["train"]] == ["0000000"]
    assert any("0000001.jpg: the image is left out" in entry for entry in dataset.left_out)


def test_objects_as_a_list_and_classes_as_text(write_parquet: WriteParquet) -> None:
    rows = [{"image": _row(n)["image"], "objects": [{"bbox": box, "label": "dog"} for box in XYWH[:n]]} for n in (1, 2)]
    root = write_parquet(None, train=rows, validation=rows)
    dataset = open_dataset(str(root))
    assert dataset.class_names == ("dog",)
    assert [len(sample.boxes) for sample in dataset.splits["train"]] == [1, 2]


def test_numbers_without_names_are_the_names(write_parquet: WriteParquet) -> None:
    assert open_dataset(str(write_parquet(None, train=[_row(0)], validation=[_row(1)]))).class_names == ("0", "1")


def test_other_columns(write_parquet: WriteParquet, home: Path) -> None:
    root = write_parquet(train=[{"text": "a", "label": 1}])
    with pytest.raises(DatasetError, match=r"a column of images .* there are text, label"):
        open_dataset(str(root))
    assert list((home / "parquet").iterdir()) == []


def test_damaged_file(write_parquet: WriteParquet) -> None:
    root = write_parquet(train=[_row(0)])
    path = root / "data/train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"train-00000-of-00001\.parquet: the Parquet file cannot be read"):
        open_dataset(str(root))


def test_folder_that_cannot_be_written(write_parquet: WriteParquet, home: Path) -> None:
    root = write_parquet(train=[_row(0)])
    home.write_text("a file")
    with pytest.raises(DatasetError, match="the images cannot be unpacked into") as caught:
        open_dataset(str(root))
    assert "YOLORET_NAS_DATA" in caught.value.hint


def test_unpacked_by_another_process_meanwhile(write_parquet: WriteParquet, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_parquet(train=[_row(0), _row(1)])
    write, begun = parquet._to_coco, []

    def to_coco(*arguments: Any, **options: Any) -> Any:
        if not begun:
            begun.append(True)
            open_dataset(str(root))
        return write(*arguments, **options)

    monkeypatch.setattr(parquet, "_to_coco", to_coco)
    dataset = open_dataset(str(root))
    assert sum(map(len, dataset.splits.values())) == 2
    assert [entry.name.startswith(".") for entry in (data_home() / "parquet").iterdir()] == [False]


def test_written_as_coco_and_read_back(write_parquet: WriteParquet, tmp_path: Path) -> None:
    root = write_parquet(train=[_row(0), _row(1, [], [])], validation=[_row(2)])
    check_round_trip(open_dataset(str(root)), tmp_path / "out")


def test_only_file_is_for_training_whatever_its_name(write_parquet: WriteParquet) -> None:
    root = write_parquet(validation=[_row(0), _row(1)])
    dataset = open_dataset(str(root))
    assert sum(map(len, dataset.splits.values())) == 2
    assert dataset.notes[-1].endswith(
        "is the only annotation file: its images are read for training, though named for val"
    )


def test_only_file_is_scored_as_the_split_of_its_name(write_parquet: WriteParquet) -> None:
    root = write_parquet(validation=[_row(0), _row(1)])
    trained = open_dataset(str(root))
    scored = open_dataset(str(root), scored="val")
    assert {split: len(samples) for split, samples in scored.splits.items()} == {"val": 2}
    assert not any("only annotation file" in note for note in scored.notes)
    assert open_dataset(str(root)).fingerprint == trained.fingerprint


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("place", ["data/pictures", "pictures", "elsewhere/pictures"])
def test_images_beside_the_file(write_parquet: WriteParquet, write_image, as_text: bool, place: str) -> None:
    rows = []
    for number in range(2):
        name = f"pictures/{number}.jpg"
        rows.append({**_row(number), "image": name if as_text else {"bytes": None, "path": name}})
    root = write_parquet(train=rows, validation=[_row(2)] if not as_text else rows)
    for number in range(2):
        write_image(root / place / f"{number}.jpg")
        write_image(root / "others" / f"{number}.jpg", width=99)
    dataset = open_dataset(str(root))
    assert [sample.load().shape for sample in dataset.splits["train"]] == [(48, 64, 3)] * 2
    assert dataset.splits["train"][0].boxes.tolist() == XYXY


def test_several_configurations_are_told(write_parquet: WriteParquet) -> None:
    root = write_parquet(train=[_row(0)], validation=[_row(1)])
    for config in ("full", "mini"):
        shutil.copytree(root / "data", root / config / "data")
    shutil.rmtree(root / "data")
    notes = open_dataset(str(root)).notes
    assert "the files of 2 folders are joined: full, mini; give one of them for itself" in notes
    assert not any("joined" in note for note in open_dataset(str(root / "full")).notes)


def test_images_that_are_put_beside_the_file_later(write_parquet: WriteParquet, write_image) -> None:
    root = write_parquet(train=[{**_row(n), "image": {"bytes": None, "path": f"{n}.jpg"}} for n in range(2)])
    with pytest.raises(DatasetError, match="its rows hold no images, and those that they name are not below"):
        open_dataset(str(root))
    write_image(root / "0.jpg")
    with pytest.raises(DatasetError, match="the image is missing"):
        open_dataset(str(root))
    write_image(root / "1.jpg")
    assert sum(map(len, open_dataset(str(root)).splits.values())) == 2


@pytest.mark.parametrize(
    "metadata",
    [
        b"[",
        b"\xff",
        b"3",
        b'{"info": []}',
        b'{"info": {"features": {"objects": []}}}',
        b'{"info": {"features": {"objects": [[]]}}}',
    ],
)
def test_metadata_of_other_types_state_no_classes_or_name_the_file(tmp_path: Path, home: Path, metadata: bytes) -> None:
    table = pa.Table.from_pylist([_row(1), _row(2)]).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "train.parquet")
    if metadata in (b"[", b"\xff"):
        with pytest.raises(DatasetError, match=r"train\.parquet: the metadata of Hugging Face are broken"):
            open_dataset(str(tmp_path))
    else:
        assert open_dataset(str(tmp_path)).class_names == ("0", "1")


@pytest.mark.parametrize(
    "objects",
    [
        {"bbox": [["1", "2", "3", "x"]], "category": [0]},
        {"bbox": [[b"1", b"2", b"3", b"4"]], "category": [0]},
        {"bbox": [[1.0, 2.0, 3.0]], "category": [0]},
        {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [[0]]},
        {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [{"a": 1}]},
        {"bbox": 3.0, "category": 4},
        {"bbox": "x", "category": "y"},
    ],
)
@pytest.mark.parametrize("is_named", [True, False])
def test_objects_of_other_types_are_refused(tmp_path: Path, home: Path, objects: Any, is_named: bool) -> None:
    features = {"info": {"features": {"objects": {"category": {"names": ["cat"], "_type": "ClassLabel"}}}}}
    rows = [{"image": {"bytes": _image(n), "path": f"{n}.jpg"}, "objects": objects} for n in range(2)]
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
        {b"huggingface": json.dumps(features).encode()} if is_named else {}
    )
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DatasetError, match=r"train\.(parquet|json): "):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_object_without_a_class(write_parquet: WriteParquet, missing: object) -> None:
    """Where the file states no names, they are those in use: a missing one is none of them."""
    names = ["cat", missing] if isinstance(missing, str) else [1.0, missing]
    root = write_parquet(None, train=[_row(0), _row(1, classes=names)] if names[0] == 1.0 else [_row(1, classes=names)])
    with pytest.raises(DatasetError, match=r"train\.json: annotation \d has no class"):
        open_dataset(str(root))
