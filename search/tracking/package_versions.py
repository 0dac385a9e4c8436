"""The versions of installed packages.

Code that runs may be no installed package: ours on a source tree's path, OpenCV as a system's package manager brings it.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version


def describe_versions(packages: Sequence[str]) -> str:
    """Return ``torch 2.15.0, yoloret-nas (not installed)``."""
    return ", ".join(f"{package} {_installed(package) or '(not installed)'}" for package in packages)


def as_requirements(packages: Sequence[str]) -> list[str]:
    """Return what pip must be asked for to have these versions elsewhere; any version of those that are not installed."""
    return [f"{package}=={found}" if (found := _installed(package)) else package for package in packages]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
