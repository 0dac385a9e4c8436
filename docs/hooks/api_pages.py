"""Adds one page for each sub-package of the code to the site, with the docstrings of its modules.

The pages exist only while the site is built, so that a new or renamed module needs no change here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("yoloret_nas", "search", "trials", "spaces")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the rooms to the navigation, package by package."""
    pages = [{package: [{room: f"api/{room}.md"} for room in _rooms(package)]} for package in _PACKAGES]
    assert config.nav is not None
    config.nav.append({"API": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write the rooms' pages."""
    for package in _PACKAGES:
        for room in _rooms(package):
            files.append(File.generated(config, f"api/{room}.md", content=_page(room)))
    return files


def _rooms(package: str) -> Iterator[str]:
    for path in sorted((_ROOT / package).rglob("__init__.py")):
        yield ".".join(path.parent.relative_to(_ROOT).parts)


def _page(room: str) -> str:
    folder = _ROOT.joinpath(*room.split("."))
    about = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
    return "\n\n".join([f"# {room}", about, *(f"::: {room}.{module}" for module in modules)]) + "\n"
