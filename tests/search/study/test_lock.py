"""Who drives a study is known without disturbing them."""

import fcntl
from pathlib import Path

import pytest

from search.study.errors import StudyError
from search.study.lock import creation_lock, driver_lock, is_driven


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


def test_who_creates_the_stores_and_is_stopped_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.lock.CREATION_S", 0.2)
    refused = pytest.raises(StudyError, match=r"has been creating the stores of .*\n.*creation\.lock names it")
    with creation_lock(tmp_path), refused, creation_lock(tmp_path):
        pytest.fail("two at once")
    with creation_lock(tmp_path):
        pass
