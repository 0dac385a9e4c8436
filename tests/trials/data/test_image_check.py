"""The check that every image decodes, and what it remembers."""

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from trials.data import Dataset, DatasetError, image_check, open_dataset
from trials.data.image_check import check_images, leave_out
from trials.data.images.image_file import ImageFile

USED = ("train", "val")
Open = Callable[[], Dataset]


@pytest.fixture
def root(write_voc) -> Path:
    """A dataset of three training images, one for validation, one for testing."""
    stems = {stem: [("cat", 1, 1, 9, 9)] for stem in "abcvt"}
    return write_voc(stems, splits={"train": ["a", "b", "c"], "val": ["v"], "test": ["t"]})


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "decoded.db"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []
    decode = ImageFile.decode

    def note(file: ImageFile):
        names.append(file.path.name)
        return decode(file)

    monkeypatch.setattr(ImageFile, "decode", note)
    return names


def damage(root: Path, stem: str) -> Path:
    """Break the pixels of an image, but neither its header nor its end."""
    path = root / "JPEGImages" / f"{stem}.jpg"
    data = bytearray(path.read_bytes())
    begin = data.rfind(b"\xff\xda")
    data[begin + 14 : -2] = b"\xff\xc4" * ((len(data) - begin - 16) // 2)  # tables of codes where pixels belong
    path.write_bytes(data)
    return path


def test_a_broken_image_is_named_with_reason_and_ways_out(root: Path, memory: Path) -> None:
    damage(root, "b")
    dataset = open_dataset(str(root))  # reads headers only
    with pytest.raises(DatasetError, match=r"^voc: JPEGImages/b\.jpg: the image cannot be read: .+") as caught:
        check_images(dataset, splits=USED, skip_broken=False, memory=memory)
    assert "repair it" in caught.value.hint
    assert "--skip-broken" in caught.value.hint
    damage(root, "v")
    with pytest.raises(DatasetError, match=r"b\.jpg: .* \(and 1 more broken image\)"):
        check_images(open_dataset(str(root)), splits=USED, skip_broken=False, memory=memory)


def test_a_skipped_image_is_listed_and_changes_the_fingerprint(root: Path, memory: Path) -> None:
    damage(root, "b")
    dataset = open_dataset(str(root), on_broken="skip")
    checked, broken, _ = check_images(dataset, splits=USED, skip_broken=True, memory=memory)
    assert broken == ("JPEGImages/b.jpg",)
    assert [sample.name for sample in checked.splits["train"]] == ["JPEGImages/a.jpg", "JPEGImages/c.jpg"]
    assert len(checked.left_out) == 1
    assert checked.left_out[0].startswith("JPEGImages/b.jpg: the image cannot be read")
    assert checked.fingerprint != dataset.fingerprint
    # Trials open the dataset themselves, and leave out the same samples.
    assert leave_out(open_dataset(str(root), on_broken="skip"), broken).fingerprint == checked.fingerprint


def test_only_the_splits_in_use_have_to_be_sound(root: Path, memory: Path) -> None:
    damage(root, "t")
    dataset = open_dataset(str(root))
    checked, broken, _ = check_images(dataset, splits=USED, skip_broken=False, memory=memory)
    assert (checked, broken) == (dataset, ())
    with pytest.raises(DatasetError, match=r"JPEGImages/t\.jpg"):
        check_images(dataset, splits=("test",), skip_broken=False, memory=memory)


def test_a_test_split_beside_others_stops_nothing(root: Path, memory: Path) -> None:
    damage(root, "t")
    checked, broken, _ = check_images(
        open_dataset(str(root)), splits=("train", "val", "test"), skip_broken=False, memory=memory
    )
    assert list(checked.splits) == ["train", "val"]
    assert broken == ("JPEGImages/t.jpg",)
    assert checked.left_out[0].startswith("JPEGImages/t.jpg: the image cannot be read")


def test_a_split_of_broken_images_only_is_refused(root: Path, memory: Path) -> None:
    damage(root, "v")
    dataset = open_dataset(str(root))
    with pytest.raises(DatasetError, match="the val split has 1 image, all of them broken") as caught:
        check_images(dataset, splits=USED, skip_broken=True, memory=memory)
    assert "JPEGImages/v.jpg" in caught.value.hint


def test_a_test_split_alone_of_broken_images_only_is_refused(root: Path, memory: Path) -> None:
    damage(root, "t")
    dataset = open_dataset(str(root))
    alone = replace(dataset, splits={"test": dataset.splits["test"]})
    with pytest.raises(DatasetError, match="the test split has 1 image, all of them broken"):
        check_images(alone, splits=("test",), skip_broken=True, memory=memory)


def test_an_image_is_decoded_once_until_it_changes(root: Path, memory: Path, decoded: list[str]) -> None:
    reports: list[tuple[int, int]] = []

    def check() -> list[str]:
        decoded.clear()
        reports.clear()
        dataset = open_dataset(str(root))
        check_images(
            dataset, splits=USED, skip_broken=True, memory=memory, report=lambda *report: reports.append(report)
        )
        return sorted(decoded)

    assert check() == ["a.jpg", "b.jpg", "c.jpg", "v.jpg"]
    assert reports == [(done, 4) for done in range(5)]
    assert (check(), reports) == ([], [])
    path = root / "JPEGImages" / "b.jpg"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert check() == ["b.jpg"]
    damage(root, "c")
    assert check() == check() == ["c.jpg"]  # what is broken is looked at again
    assert reports == [(0, 1), (1, 1)]


@pytest.mark.parametrize(("cores", "threads"), [(2, 2), (96, 8)])
def test_memory_does_not_grow_with_a_host_of_many_cores(
    root: Path, memory: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    pool = Mock(wraps=ThreadPoolExecutor)
    monkeypatch.setattr(image_check, "ThreadPoolExecutor", pool)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    check_images(open_dataset(str(root)), splits=USED, skip_broken=False, memory=memory)
    pool.assert_called_once_with(threads)


def test_looks_are_remembered(root: Path, memory: Path) -> None:
    damage(root, "b")
    dataset = open_dataset(str(root))
    first, again = (check_images(dataset, splits=USED, skip_broken=True, memory=memory).looks for _ in range(2))
    assert sorted(first) == [f"JPEGImages/{stem}.jpg" for stem in "acv"]  # of images in use that decode
    assert first == again


def test_another_reader_decodes_anew(
    root: Path, memory: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for reader, count in (("one", 4), ("one", 0), ("another", 4)):
        monkeypatch.setattr(image_check, "_READER", reader)
        decoded.clear()
        check_images(open_dataset(str(root)), splits=USED, skip_broken=False, memory=memory)
        assert len(decoded) == count


def test_a_memory_that_is_no_database_is_made_anew(root: Path, memory: Path, decoded: list[str]) -> None:
    memory.parent.mkdir()
    memory.write_bytes(b"garbage" * 1000)
    dataset = open_dataset(str(root))
    check_images(dataset, splits=USED, skip_broken=False, memory=memory)
    decoded.clear()
    check_images(dataset, splits=USED, skip_broken=False, memory=memory)
    assert decoded == []


@pytest.mark.parametrize("harm", ["pages", "columns", "thumbnail"])
def test_a_damaged_memory_is_made_anew(root: Path, memory: Path, decoded: list[str], harm: str) -> None:
    dataset = open_dataset(str(root))
    check_images(dataset, splits=USED, skip_broken=False, memory=memory)
    if harm == "pages":
        memory.write_bytes(memory.read_bytes()[:4096] + b"\xff" * (memory.stat().st_size - 4096))
    else:
        statements = {
            "columns": "ALTER TABLE looks RENAME COLUMN reader TO version",
            "thumbnail": "UPDATE looks SET thumbnail = NULL",
        }
        with closing(sqlite3.connect(memory)) as connection, connection:
            connection.execute(statements[harm])
    decoded.clear()
    looks = check_images(dataset, splits=USED, skip_broken=False, memory=memory).looks
    assert sorted(decoded) == ["a.jpg", "b.jpg", "c.jpg", "v.jpg"]
    assert check_images(dataset, splits=USED, skip_broken=False, memory=memory).looks == looks
    assert len(decoded) == 4


def test_a_memory_that_cannot_be_written_costs_time_only(root: Path, tmp_path: Path, decoded: list[str]) -> None:
    (tmp_path / "file").touch()
    dataset = open_dataset(str(root))
    for _ in range(2):
        decoded.clear()
        check_images(dataset, splits=USED, skip_broken=False, memory=tmp_path / "file" / "decoded.db")
        assert len(decoded) == 4


def test_an_interrupted_check_keeps_what_it_found(root: Path, memory: Path) -> None:
    def interrupt(done: int, whole: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_images(open_dataset(str(root)), splits=USED, skip_broken=False, memory=memory, report=interrupt)
    connection = sqlite3.connect(memory)
    assert connection.execute("SELECT COUNT(*) FROM looks").fetchone() == (2,)
    connection.close()


def test_generated_images_are_not_decoded(memory: Path) -> None:
    dataset = open_dataset("shapes:train=4,val=2,size=32")
    assert check_images(dataset, splits=USED, skip_broken=False, memory=memory) == (dataset, (), {})
    assert not memory.exists()


def test_the_users_memory_is_beside_fetched_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORET_NAS_DATA", str(tmp_path / "data"))
    assert image_check.memory_path() == tmp_path / "data" / "decoded-images.db"
