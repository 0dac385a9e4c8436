"""The Tab key, in the shells that are there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search.study.read_study import EXPERIMENT_FILE
from tests.yoloret_nas.conftest import Call

HOME = Path(__file__).parents[2]
TRY = """
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _yoloret_nas_completion yoloret-nas; echo "${COMPREPLY[*]}"
}
try yoloret-nas repo
try yoloret-nas search --max
try yoloret-nas report ""
try yoloret-nas export --dir others --study t
try yoloret-nas train --recipe q
try yoloret-nas search --prior ""
try yoloret-nas search --prior b
"""


@pytest.fixture
def home(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's home, `yoloret-nas` on the path, and a few studies."""
    program = tmp_path / "bin" / "yoloret-nas"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from yoloret_nas.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    for name in ("runs/one", "runs/two", "others/three"):
        (tmp_path / "here" / name / "trials").mkdir(parents=True)
    (tmp_path / "here" / "runs" / "one" / EXPERIMENT_FILE).write_text("{}")  # trainings, not a search
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_bash_completes_once_it_is_installed(call: Call, home: Path) -> None:
    (home / ".bashrc").write_text("echo hello")  # without an end of line
    installed = call("completion", "bash", "--install")
    assert installed.code == 0, installed.said
    before = (home / ".bashrc").read_text()
    assert before.splitlines()[0] == "echo hello"
    assert call("completion", "bash", "--install").code == 0
    assert (home / ".bashrc").read_text() == before  # once is enough
    found = subprocess.run(["bash", "-i", "-c", TRY], capture_output=True, text=True, check=False)
    lines = ["hello", "report", "--max-latency", "one two", "three", "quick", "two built-in none", "built-in"]
    assert found.stdout.splitlines() == lines, found.stderr
    shutil.rmtree(home / ".local")
    assert "No such file" not in subprocess.run(["bash", "-i", "-c", ":"], capture_output=True, text=True).stderr


def test_the_script_of_each_shell_goes_where_the_shell_reads_it(call: Call, home: Path) -> None:
    for shell, path in (
        ("zsh", ".local/share/yoloret-nas/completion.zsh"),
        ("fish", ".config/fish/completions/yoloret-nas.fish"),
    ):
        assert call("completion", shell, "--install").code == 0
        assert (home / path).read_text() == call("completion", shell).out.removesuffix("\n")
    assert str(home / ".local/share/yoloret-nas/completion.zsh") in (home / ".zshrc").read_text()
    assert not (home / ".fishrc").exists()


def test_a_shell_s_file_in_another_encoding_is_added_to(call: Call, home: Path) -> None:
    latin_1 = "# Müller\n".encode("latin-1")
    (home / ".bashrc").write_bytes(latin_1)
    for _ in range(2):
        installed = call("completion", "bash", "--install")
        assert installed.code == 0, installed.said
    assert (home / ".bashrc").read_bytes().startswith(latin_1)
    assert (home / ".bashrc").read_bytes().count(b"\n") == 2


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(call: Call, home: Path) -> None:
    assert call("completion", "fish", "--install").code == 0
    found = subprocess.run(
        ["fish", "-c", 'complete -C "yoloret-nas report "'], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["one", "two"]


def test_the_shell_is_the_user_s_unless_it_is_named(call: Call, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert call("completion").out == call("completion", "zsh").out
    monkeypatch.setenv("SHELL", "/bin/csh")
    refused = call("completion")
    assert refused.code == 2
    assert "SHELL names none of bash, zsh, fish; give one: yoloret-nas completion bash" in refused.said
