"""The tree of errors in the docstring, against the classes there are."""

import ast
import re
from pathlib import Path

from spaces import errors

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^ {4}((?:│   |    )*)[├└]── (\w+) +([\w.]+) +\S", re.M)


def test_the_tree_holds_every_error_below_its_parent_with_its_module() -> None:
    drawn: dict[str, tuple[str, str]] = {}
    above = ["YoloRetError"]
    for indent, name, module in _LINE.findall(errors.__doc__ or ""):
        above[len(indent) // 4 + 1 :] = [name]
        drawn[name] = (above[-2], module)
    assert drawn == defined()


def defined() -> dict[str, tuple[str, str]]:
    """Return each class below the root with the one it is derived from and its module, from the source: some modules of the
    command line take seconds to import, or packages that are not installed everywhere."""
    bases: dict[str, tuple[str, str]] = {}
    for package in ("spaces", "trials", "search", "yoloret_nas"):
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and node.bases:
                    bases[node.name] = (ast.unparse(node.bases[0]).rpartition(".")[2], module)
    found: dict[str, tuple[str, str]] = {}
    while new := {
        name: (base, module)
        for name, (base, module) in bases.items()
        if name not in found and (base == "YoloRetError" or base in found)
    }:
        found |= new
    return found
