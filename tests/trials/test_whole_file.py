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
