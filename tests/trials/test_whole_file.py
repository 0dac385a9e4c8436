"""A file is written whole, or stays as it was."""

import os
from pathlib import Path

import pytest

from trials.whole_file import whole_file, whole_folder


def test_an_error_leaves_the_former_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "front.v2.csv"
    with whole_file(path) as partial:
        partial.write_text("first")
        assert not path.exists()
        assert partial.suffix == ".csv"

    def fail_halfway() -> None:
        with whole_file(path) as partial:
            partial.write_text("sec")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_halfway()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("letter", ["x", "字"])
def test_a_name_as_long_as_file_systems_take_has_room_for_what_is_unfinished(tmp_path: Path, letter: str) -> None:
    names = [f"{letter * (250 // len(letter.encode()))}{number}.png" for number in (0, 1)]
    with whole_file(tmp_path / names[0]) as first, whole_file(tmp_path / names[1]) as second:
        first.write_text("0")
        second.write_text("1")
        assert first.suffix == ".png"
    assert [(tmp_path / name).read_text() for name in names] == ["0", "1"]
    assert len(list(tmp_path.iterdir())) == 2


def test_folder_is_whole_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with whole_folder(path) as partial:
        (partial / "a").write_text("a")
        assert not path.exists()
    assert [entry.name for entry in path.parent.iterdir()] == ["folder"]
    assert (path / "a").read_text() == "a"

    def fail_halfway() -> None:
        with whole_folder(tmp_path / "other") as partial:
            (partial / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new"]


def test_folder_takes_the_place_of_an_empty_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with whole_folder(path) as partial:
        (partial / "a").write_text("a")
    with pytest.raises(OSError, match="not empty"), whole_folder(path):
        pass
    assert (path / "a").read_text() == "a"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_the_content_is_on_the_disk_before_it_takes_the_former_file_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut there would be an empty file under the name otherwise."""
    path, order = tmp_path / "result.json", []
    monkeypatch.setattr(os, "fsync", lambda file: order.append(os.fstat(file).st_ino))
    monkeypatch.setattr(os, "replace", lambda old, new: order.append(old))
    with whole_file(path) as partial:
        partial.write_text("{}")
        inode = partial.stat().st_ino
    assert order == [inode, partial]
