"""Our packages have common names: another distribution may install the same."""

import importlib.util
from pathlib import Path

_PACKAGES = ("search", "trials", "spaces")


def why_shadowed() -> str:
    """Return which of our packages another distribution's would be imported for; empty if none is."""
    home = Path(__file__).resolve().parents[1]
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parents[1] != home:
            found = spec.origin if spec else "nothing"
            return (
                f"the package {name!r} is not yoloret-nas's own: found {found}, expected it in {home}.\n"
                "Rename it if it is a file of yours. If another distribution installs the same name, install yoloret-nas in "
                "its own environment."
            )
    return ""
