"""Who drives a study is known without disturbing them."""

import fcntl
from pathlib import Path

import pytest

from search.study.lock import driver_lock, is_driven


def test_a_study_is_driven_while_its_lock_is_held(tmp_path: Path) -> None:
    assert not is_driven(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with driver_lock(tmp_path):
        assert is_driven(tmp_path)
        assert is_driven(tmp_path)
    assert not is_driven(tmp_path)


def test_a_glance_at_the_lock_keeps_no_driver_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "driver.lock").touch()
    with (tmp_path / "driver.lock").open() as glance:
        fcntl.flock(glance, fcntl.LOCK_SH)
        monkeypatch.setattr("search.study.lock.time.sleep", lambda seconds: glance.close())
        with driver_lock(tmp_path):
            assert is_driven(tmp_path)
