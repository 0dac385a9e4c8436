"""Which commit the running code is."""

import subprocess
from pathlib import Path

_CODE = Path(__file__).resolve().parents[2]


def describe_git(folder: Path = _CODE) -> str:
    """Return ``2e2ffba41c…, 3 changed files``, or that the code comes from no git checkout, as an installed package.

    Args:
        folder: Where the code lies: in a checkout, and committed there. A package that a user installed inside a
            repository of their own is not committed to it.
    """
    commit = _git(folder, "rev-parse", "HEAD", "HEAD:./")
    if not commit:
        return "no checkout"
    changed = len(_git(folder, "status", "--porcelain", "--untracked-files=no", "."))
    return commit[0] + (f", {changed} changed files" if changed else "")


def _git(folder: Path, *arguments: str) -> list[str]:
    """Return the lines of git's answer; none where there is no git, or it refuses."""
    try:
        ran = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return ran.stdout.splitlines() if ran.returncode == 0 else []
