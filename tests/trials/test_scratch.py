"""Temporary files do not outlive their processes by more than the next start."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trials.processes import identify
from trials.scratch import _delete_left_behind, _place, scratch_prefix

_SCRIPT = """
import os, signal, sys
from trials.scratch import scratch_folder, temporary_folder
(scratch_folder() / "a file").touch()
print(scratch_folder(), flush=True)
with temporary_folder():
    if sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def _run(folder: Path, *arguments: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments], env={"TMPDIR": str(folder)}, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def test_a_process_that_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    assert _run(tmp_path).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_the_next_process_deletes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    left = _run(tmp_path, "killed")
    assert (left / "a file").is_file()
    assert len(list(tmp_path.iterdir())) == 2
    own = str(identify(os.getpid()))
    dead = scratch_prefix().replace(own, f"{os.getpid()}-0")  # the number is another process's now
    host, start, container = _place()
    others = [
        tmp_path / f"{scratch_prefix()}living",
        tmp_path / "yoloret-nas-slot-abc",
        tmp_path / f"{dead.replace(host, '0' * 6)}other",  # on a disk that hosts share
        tmp_path / f"{dead.replace(container, '0' * 6)}other",
        tmp_path / "another's",
    ]
    for other in (*others, tmp_path / f"{dead}left", tmp_path / f"{dead.replace(start, '0' * 6)}left"):
        other.mkdir()
    _run(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_two_processes_that_delete_what_was_left_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / f"{scratch_prefix().replace(str(identify(os.getpid())), f'{os.getpid()}-0')}left"
    left.mkdir()
    is_dir = Path.is_dir

    def is_dir_and_then_gone(path: Path) -> bool:
        found = is_dir(path)
        if path == left:
            path.rmdir()
        return found

    monkeypatch.setattr(Path, "is_dir", is_dir_and_then_gone)
    _delete_left_behind(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_where_temporary_files_go(monkeypatch: pytest.MonkeyPatch) -> None:
    from trials.scratch import scratch_folder

    assert scratch_folder() == scratch_folder()
    assert scratch_folder().parent == Path(tempfile.gettempdir())


def test_libraries_put_their_temporary_files_there_while_the_block_runs() -> None:
    from trials.scratch import scratch_folder, temporary_files_in

    before = tempfile.gettempdir()
    with temporary_files_in(scratch_folder()), tempfile.TemporaryDirectory() as name:
        assert Path(name).parent == scratch_folder()
    assert tempfile.gettempdir() == before


def test_a_socket_s_path_is_short_enough_whatever_tmpdir_is(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    script = "from trials.scratch import socket_folder; print(socket_folder())"
    done = subprocess.run([sys.executable, "-c", script], env={"TMPDIR": str(long)}, capture_output=True, text=True)
    folder = Path(done.stdout.strip())
    assert len(str(folder / "pymp-12345678" / "listener-12345678")) <= 107
    assert not folder.exists()
