"""Commands that the user is told to type next."""

import shlex
from pathlib import Path


def dir_option(root: Path) -> str:
    """Return ``--dir`` for the folder of the studies, quoted for a shell, with a space before; empty for the default."""
    return "" if root == Path("runs") else f" --dir {shlex.quote(str(root))}"
