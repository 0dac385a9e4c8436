"""README and docs: their commands parse, their Python compiles, and what they name exists.

Each check returns what is wrong with a text. The first test runs all of them on all pages, the second on broken examples.
"""

import argparse
import ast
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import yaml

from yoloret_nas.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PACKAGES = ("yoloret_nas", "search", "trials", "spaces")
FOLDERS = ("PATH", "FOLDER", "bccd/JPEGImages", "cards/test", "my-dataset", "weights")
FILES = ("image.jpg", "my.onnx", "my.yaml", "video.mp4")
FOREIGN_OPTIONS = {"--restore"}  # of jetson_clocks
NAMED_IN_SOURCE = ("only", "strategies", "ways", "settings", "baselines", "shelf")
"""Options of benchmarks whose values are names that the benchmark's own file spells out."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_INDENTED = re.compile(r"^    (\S.*)$", re.M)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"(?:yoloret_nas|search|trials|spaces|tests|benchmarks|docs|\.ci)/[\w./-]*")
_DEFINED_IN = re.compile(
    r"`([A-Za-z_][\w.]*)`(?: table)? (?:in|of)\s+`((?:yoloret_nas|search|trials|spaces)/[\w/]+\.py)`"
)
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\(\w*\))?")


def commands_shown(text: str) -> list[str]:
    """Return the commands of fenced and indented blocks and of inline code, without their comments."""
    prose = _FENCE.sub("", text)
    lines = [line for _, body in _FENCE.findall(text) for line in body.splitlines()]
    lines += [*_INDENTED.findall(prose), *_CODE.findall(prose)]
    starts = ("yoloret-nas ", "python ", ".venv/bin/python ", "make ")
    found = [line.strip() for line in lines if line.strip().startswith(starts)]
    return [line for line in found if "…" not in line]


def inline_code(text: str) -> list[str]:
    return _CODE.findall(_FENCE.sub("", text))


def wrong_commands(text: str, page: Path) -> Iterator[str]:
    group = click.Context(cli)
    for line in commands_shown(text):
        words = shlex.split(line, comments=True)
        if words[0] != "yoloret-nas" or words[1].startswith("--"):
            continue
        command = cli.get_command(group, words[1])
        if command is None:
            yield f"{line}: no such command"
            continue
        if words[2:] or all(not p.required for p in command.params):
            try:
                command.make_context(words[1], words[2:], parent=group)
            except click.ClickException as error:
                yield f"{line}: {error.format_message()}"


def wrong_targets(text: str, page: Path) -> Iterator[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets, variables = (set(re.findall(pattern, makefile, re.M)) for pattern in (r"^([\w-]+):", r"^(\w+) \?="))
    for line in commands_shown(text):
        command, *words = shlex.split(line, comments=True)
        for word in words if command == "make" else ():
            if word.partition("=")[0] not in (variables if "=" in word else targets):
                yield f"{line}: the Makefile has no {word}"


def benchmark_parser(source: str) -> argparse.ArgumentParser:
    """Rebuild a script's parser from its text, without running or importing it."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    for call in ast.walk(ast.parse(source)):
        if not (
            isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
        ):
            continue
        if not all(isinstance(name, ast.Constant) for name in call.args):
            continue
        keywords = {
            k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant) and k.arg != "help"
        }
        types = [k.value.id for k in call.keywords if k.arg == "type" and isinstance(k.value, ast.Name)]
        numeric = {"int": int, "float": float}.get(types[0]) if types else None
        parser.add_argument(
            *(ast.literal_eval(name) for name in call.args), **keywords, **({"type": numeric} if numeric else {})
        )
    return parser


def wrong_benchmarks(text: str, page: Path) -> Iterator[str]:
    for line in commands_shown(text):
        if not (match := re.search(r"python (?:-m benchmarks\.([\w.]+)|benchmarks/\S+)(.*)", line)):
            continue
        if match[1] is None:
            yield f"{line}: benchmarks run as modules, python -m benchmarks.NAME"
            continue
        path = ROOT.joinpath("benchmarks", *match[1].split(".")).with_suffix(".py")
        if not path.is_file():
            yield f"{line}: {path.relative_to(ROOT)} does not exist"
            continue
        source = path.read_text(encoding="utf-8")
        try:
            values, unknown = benchmark_parser(source).parse_known_args(shlex.split(match[2], comments=True))
        except (argparse.ArgumentError, SystemExit) as error:
            yield f"{line}: {error}"
            continue
        if unknown:
            yield f"{line}: unknown {unknown}"
        choices = [value for name in NAMED_IN_SOURCE for value in getattr(values, name, None) or ()]
        choices += parts.split(",") if (parts := getattr(values, "parts", None)) else []
        yield from (f"{line}: no {value!r} in {path.name}" for value in choices if f'"{value}"' not in source)


def wrong_python(text: str, page: Path) -> Iterator[str]:
    for language, body in _FENCE.findall(text):
        if language != "python":
            continue
        try:
            tree = ast.parse(body)
        except SyntaxError as error:
            yield f"python block: {error}"
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
                path = ROOT.joinpath(*node.module.split(".")).with_suffix(".py")
                yield from (f"{node.module} has no {a.name}" for a in node.names if not defines(path, a.name))


def defines(path: Path, name: str) -> bool:
    """Return whether a file defines a name, or a class of it a member written ``Class.member``."""
    if not path.is_file():
        return False
    source = path.read_text(encoding="utf-8")
    owner, *rest = name.split(".")
    patterns = [rf"^(?:def|class) {owner}\b|^{owner}\b.*="]
    patterns += [rf"^    (?:def {member}\b|{member}: )" for member in rest]
    return all(re.search(pattern, source, re.M) for pattern in patterns)


def wrong_paths(text: str, page: Path) -> Iterator[str]:
    for code in inline_code(text):
        for path in _PATH.findall(code) if _PATH.match(code) else ():
            if not (ROOT / path).exists():
                yield f"{path} does not exist"
    for name, path in _DEFINED_IN.findall(text):
        if not defines(ROOT / path, name):
            yield f"{path} does not define {name}"
    for row in re.findall(r"^\| `(\w+)/` \|(.*)$", text, re.M):
        rooms = re.findall(r"`(\w+)/`", row[1])
        yield from (f"{row[0]}/{room}/ does not exist" for room in rooms if not (ROOT / row[0] / room).is_dir())


def wrong_names(text: str, page: Path) -> Iterator[str]:
    """Names of the code, on the pages about the code: each occurs in it."""
    if page.name not in ("design.md", "contributing.md"):
        return
    code = "".join(path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    words = set(re.findall(r"\w+", code)) | {
        "pytest",
        "make",
        "report",
        "utils",
        "common",
        "match",
        "jetson",
        "gpu",
        "slow",
    }
    for name in inline_code(text):
        if _NAME.fullmatch(name) and not (ROOT / name).exists() and not re.search(r"\.(py|md|toml|txt|json)$", name):
            yield from (f"{name} is not in the code" for part in re.findall(r"\w+", name) if part not in words)


def wrong_options(text: str, page: Path) -> Iterator[str]:
    group = click.Context(cli)
    commands = [cli.get_command(group, name) for name in COMMANDS]
    params = [(option, p) for command in commands if command for p in command.params for option in p.opts]
    for code in inline_code(text):
        if not re.fullmatch(r"--[\w-]+( [\w./:-]+)?", code) or code in FOREIGN_OPTIONS:
            continue
        option, _, value = code.partition(" ")
        types = [p.type for name, p in params if name == option]
        if not types:
            yield f"no command has {option}"
        elif value and all(isinstance(one, click.Choice) and value not in one.choices for one in types):
            yield f"{option} does not take {value}"


def wrong_links(text: str, page: Path) -> Iterator[str]:
    for link in _LINK.findall(_FENCE.sub("", text)):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if re.match(r"https?://", link):
            continue
        if not path.is_file():
            yield f"{link} does not exist"
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
            yield f"{link}: no such heading"


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


CHECKS: list[Callable[[str, Path], Iterator[str]]] = [
    wrong_commands,
    wrong_targets,
    wrong_benchmarks,
    wrong_python,
    wrong_paths,
    wrong_names,
    wrong_options,
    wrong_links,
]


@pytest.fixture
def _folder_of_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory holds what the pages' placeholders stand for."""
    for name in FOLDERS:
        (tmp_path / name).mkdir(parents=True)
    for name in FILES:
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_folder_of_a_reader")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path, check: Callable[[str, Path], Iterator[str]]) -> None:
    assert list(check(page.read_text(encoding="utf-8"), page)) == []


BROKEN = {
    "unknown option": (wrong_commands, "```\nyoloret-nas search --nothing\n```\n"),
    "unknown choice": (wrong_commands, "```\nyoloret-nas search --sampler best\n```\n"),
    "missing argument": (wrong_commands, "```\nyoloret-nas predict exports/NAME-7\n```\n"),
    "unknown command": (wrong_commands, "`yoloret-nas find --data PATH`"),
    "no such folder": (wrong_commands, "```\nyoloret-nas predict exports/NAME-7 test/\n```\n"),
    "target": (wrong_targets, "```\nmake nothing  # of use\n```\n"),
    "variable": (wrong_targets, "`make search NOTHING=3`"),
    "no such benchmark": (wrong_benchmarks, "    python -m benchmarks.nothing\n"),
    "benchmark as a script": (wrong_benchmarks, "    python benchmarks/quick_recipe.py\n"),
    "benchmark's option": (wrong_benchmarks, "    python -m benchmarks.search_wall_clock --nothing 1\n"),
    "benchmark's choice": (wrong_benchmarks, '`python -m benchmarks.quick_recipe --only "nothing"`'),
    "benchmark's way": (
        wrong_benchmarks,
        '`python -m benchmarks.transfer_recipe --data bccd --ways "at 0.2 of the rate"`',
    ),
    "benchmark's setting": (
        wrong_benchmarks,
        '`python -m benchmarks.against_the_shelf --data bccd --settings "batches of 9"`',
    ),
    "benchmark's shelf": (
        wrong_benchmarks,
        "`python -m benchmarks.against_the_shelf --data bccd --shelf yolov8n yolov7`",
    ),
    "benchmark's baseline": (wrong_benchmarks, "`python -m benchmarks.search_wall_clock --baselines random dearest`"),
    "benchmark's part": (wrong_benchmarks, "`python -m benchmarks.gpu_check --parts machine,nothing`"),
    "syntax": (wrong_python, "```python\nfor\n```\n"),
    "import": (wrong_python, "```python\nfrom trials.data.formats.coco import nothing\n```\n"),
    "path": (wrong_paths, "see `trials/data/nothing.py`"),
    "definition": (wrong_paths, "`nothing` in `trials/data/formats/coco.py`"),
    "room": (wrong_paths, "| `trials/` | `nothing/` |\n"),
    "name": (wrong_names, "`NoSuchClass` decides"),
    "option in prose": (wrong_options, "`--nothing 3` sets it"),
    "choice in prose": (wrong_options, "`--sampler best` is better"),
    "link": (wrong_links, "[page](nothing.md)"),
    "anchor": (wrong_links, "[page](start.md#nothing)"),
}


@pytest.mark.usefixtures("_folder_of_a_reader")
@pytest.mark.parametrize("example", BROKEN)
def test_a_broken_page_is_noticed(example: str) -> None:
    check, text = BROKEN[example]
    assert list(check(text, DOCS / "design.md"))


def test_every_page_is_in_the_navigation_and_the_index() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = {page.name for page in DOCS.glob("*.md")}
    assert {path for entry in nav for path in entry.values()} == pages
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert pages - {"index.md"} <= set(_LINK.findall(index))


def test_every_room_has_a_line_in_the_design() -> None:
    rooms = {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")}
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    assert [room for room in sorted(rooms) if f"| `{room}/` |" not in text] == []


def test_the_code_names_pages_that_exist() -> None:
    sources = [path for folder in ("yoloret_nas", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8"))}
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
