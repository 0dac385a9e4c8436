"""Which commit a study's code was."""

import shutil
import subprocess
from pathlib import Path

import pytest

from search.tracking.git_state import describe_git


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "checkout"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "a.py").write_text("first")
    (folder / ".gitignore").write_text(".venv\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=me", "-c", "user.email=me@here", "commit", "--quiet", "--message", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_commit_is_named_and_what_was_changed_since_is_counted(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert describe_git(checkout / "code") == commit
    (checkout / "code" / "new.py").write_text("not of the code yet")
    assert describe_git(checkout / "code") == commit
    (checkout / "code" / "a.py").write_text("second")
    assert describe_git(checkout / "code") == f"{commit}, 1 changed files"


def test_what_was_installed_inside_a_repository_is_no_checkout_of_it(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv").mkdir()
    assert describe_git(checkout / ".venv") == "no checkout"
    assert describe_git(tmp_path) == "no checkout"


def test_a_machine_without_git_is_no_error(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_git(checkout) == "no checkout"
