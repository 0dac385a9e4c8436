"""A file is written whole, or stays as it was."""

from pathlib import Path

import pytest

from trials.whole_file import whole_file


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
