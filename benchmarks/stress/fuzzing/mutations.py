"""Breaks valid inputs: bytes, text, and trees of JSON types.

Every choice is drawn from one `random.Random`, so that a seed gives the same input again, and Hypothesis can shrink it.
"""

import copy
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Edit = Callable[[str, Random], str]

NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        "-0.0",
        "0.5",
        "1.0000001",
        "2",
        "32",
        "1e308",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "-Infinity",
        "0x10",
    ),
    *("1_000", "١٢", "²", "1.2.3", "1e", "", "+", ".", "4294967296", "18446744073709551616", "9" * 400, "9" * 5000),
)
"""What replaces a number in a text. Python's `int` refuses more than 4300 digits; `float` gives inf for 400."""

WORDS = (
    *(
        "",
        " ",
        "..",
        ".",
        "/",
        "/dev/zero",
        "../../etc/passwd",
        "a\0b",
        "\n",
        "\r\n",
        "\t",
        "-",
        "--",
        "-oProxyCommand=x",
    ),
    *("$(id)", "`id`", "%s%n%x", "{}", "{0.__class__}", "~", "null", "true", "\x1b[2J", "\u2028", "é", "日本", "😀"),
    *("train", "val", "test", "\ufeff", "a" * 300, "ab/" * 1500, "x" * 5000),
)
"""What replaces a word in a text."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *([], {}, [[]], [None], [1, 2, 3, 4], {"": None}, {"a": {"b": []}}, "\ud800", "1", "nan", *WORDS),
)
"""What replaces a value of a tree: each type where another one is expected."""

_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|\w+|[^\w\s]")
_DEEP = 20_000
"""Levels of a nested input: far beyond the limits of recursive readers."""


def mutate_text(text: str, rng: Random) -> str:
    """Return a text with one to four edits; now and then it is a short text of any characters."""
    if rng.random() < 0.02:
        return "".join(rng.choice(" \n\t:,;-+.0123456789abz\0\x1b<>&{}[]\"'%$\\/é") for _ in range(rng.randrange(80)))
    for _ in range(rng.randint(1, 4)):
        text = rng.choice(_TEXT_EDITS)(text, rng)
    return text


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Return bytes with one to four edits: cut, flipped, overwritten, taken out, repeated."""
    for _ in range(rng.randint(1, 4)):
        if not data:
            return rng.randbytes(rng.randrange(64))
        place, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 16, 256))
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            data = data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]
        elif kind == 2:
            data = data[:place] + rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length + data[place + length :]
        elif kind == 3:
            data = data[:place] + data[place + length :]
        elif kind == 4:
            data = data[:place] + data[place : place + length] * rng.choice((2, 3, 50)) + data[place + length :]
        else:
            data = data[:place] + rng.randbytes(length) + data[place + length :]
    return data


def mutate_tree(tree: Any, rng: Random) -> Any:
    """Return a copy of a JSON tree in which one to three values are replaced, deleted, repeated or wrapped."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, 3)):
        holders = [holder for holder in _holders(tree) if holder]
        if not holders or rng.random() < 0.02:
            return copy.deepcopy(rng.choice(VALUES))
        # A large tree has many leaves and few branches: each level gets the same chance.
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.append(json.loads(json.dumps(holder[key])))
        elif kind == 2:
            holder[key] = [holder[key]]
        elif kind == 3 and isinstance(holder, dict):
            holder[rng.choice(WORDS)] = holder.pop(key)
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return tree


def mutate_json(tree: Any, rng: Random) -> bytes:
    """Return a JSON document of a broken tree, or a valid one's text broken: duplicate keys, deep nesting, huge numbers."""
    if rng.random() < 0.8:
        return json.dumps(mutate_tree(tree, rng)).encode()
    text = json.dumps(tree)
    kind = rng.randrange(4)
    if kind == 0:
        return mutate_bytes(text.encode(), rng)
    if kind == 1:
        return _nest(text, rng, ("[", "]") if rng.random() < 0.5 else ('{"a":', "}")).encode()
    if kind == 2:  # duplicate keys: the first of an object once more, with another value
        return re.sub(
            r'\{("\w+":)', lambda m: f"{m[0]} {rng.choice(('null', '[]', '1e400', '-1'))}, {m[1]}", text
        ).encode()
    return mutate_text(text, rng).encode(errors="surrogatepass")


def mutate_yaml(text: str, rng: Random) -> str:
    """Return YAML that is broken, or uses what YAML has beyond JSON: aliases, tags, merge keys, deep nesting."""
    if rng.random() < 0.7:
        return mutate_text(text, rng)
    lines = text.splitlines()
    place = rng.randrange(len(lines) + 1)
    return "\n".join([*lines[:place], rng.choice(_YAML), *lines[place:]])


def mutate_xml(text: str, rng: Random) -> bytes:
    """Return XML that is broken, or has a document type: entities that expand, external ones, another encoding."""
    if rng.random() < 0.8:
        return mutate_text(text, rng).encode(errors="surrogatepass")
    kind = rng.randrange(5)
    if kind == 0:
        return mutate_bytes(text.encode(), rng)
    if kind == 1:
        return _nest(text, rng, ("<a>", "</a>")).encode()
    if kind == 2:
        encoding = rng.choice(("utf-16", "utf-7", "latin-1", "ascii", "cp037", "no-such", "rot13", "base64", "idna"))
        return f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode()
    entities = rng.choice(_ENTITIES) if rng.random() < 0.9 else _LAUGHTER
    words = re.findall(r">([^<>]+)<", text) or [text]
    return f"<!DOCTYPE a [{entities}]>{text.replace(rng.choice(words), '&x;')}".encode()


def _holders(tree: Any) -> list[Any]:
    """Return all objects and lists of a tree."""
    found, waiting = [], [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def _nest(text: str, rng: Random, marks: tuple[str, str]) -> str:
    """Return a text with a value, or all of it, inside many levels."""
    depth = rng.choice((50, 300, 1100)) if rng.random() < 0.9 else _DEEP
    if rng.random() < 0.3:
        return marks[0] * depth  # never closed
    inner = f"{marks[0] * depth}1{marks[1] * depth}"
    numbers = list(re.finditer(r"(?<![\w.])\d+(?![\w.])", text))
    if not numbers or rng.random() < 0.2:
        return inner
    chosen = rng.choice(numbers)
    return text[: chosen.start()] + inner + text[chosen.end() :]


def _replace_token(text: str, rng: Random) -> str:
    chosen = _TOKEN.search(text, rng.randrange(len(text) + 1)) or _TOKEN.search(text)
    if chosen is None:
        return rng.choice(WORDS)
    is_number = chosen[0].lstrip("-")[:1].isdigit()
    new = rng.choice(NUMBERS if is_number != (rng.random() < 0.2) else WORDS)
    return text[: chosen.start()] + new + text[chosen.end() :]


def _on_lines(edit: Callable[[list[str], int, Random], Sequence[str]]) -> Edit:
    def apply(text: str, rng: Random) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(edit(lines, rng.randrange(len(lines)), rng)) if lines else text

    return apply


def _cut(text: str, rng: Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _insert(text: str, rng: Random) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice((*WORDS, *NUMBERS)) + text[place:]


def _repeat(text: str, rng: Random) -> str:
    """Repeat a part many times: what a reader does more than once for each character takes long then."""
    begin = rng.randrange(len(text) + 1)
    times = rng.choice((2, 3, 10, 100, 300)) if rng.random() < 0.97 else 20_000
    return text[:begin] + text[begin : begin + rng.choice((1, 2, 8, 40))] * times + text[begin:]


_TEXT_EDITS: tuple[Edit, ...] = (
    *(_replace_token,) * 5,
    _cut,
    _insert,
    _repeat,
    _on_lines(lambda lines, at, rng: lines[:at] + lines[at + 1 :]),
    _on_lines(lambda lines, at, rng: lines[:at] + lines[at : at + 1] * 2 + lines[at + 1 :]),
    _on_lines(lambda lines, at, rng: [*lines[:at], lines[at].replace(" ", "", 1), *lines[at + 1 :]]),
    _on_lines(lambda lines, at, rng: [*lines[:at], rng.choice(lines), *lines[at:]]),
)

_BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)),
    ]
)
_YAML = (
    _BOMB,
    _BOMB + "\nnames: *a9",
    _BOMB + "\ntrain: *a9",
    _BOMB + "\nhead_width: *a9",
    "loop: &loop [*loop]",
    "names: &names [*names]",
    "backbones: &b {a: *b}",
    "outputs: &o [*o]",
    "x: !!python/object/apply:os.system ['exit 1']",
    "names: !!python/name:os.system",
    "x: !!binary aGVsbG8",
    "nc: !!binary aGVsbG8",
    "x: !!set {a, b}",
    "names: !!set {a, b}",
    "x: !!timestamp 2001-99-99",
    "x: 2001-12-14",
    "data: 2001-12-14",
    "<<: {names: [a]}",
    "<<: 3",
    "? [a, b]\n: c",
    "? {a: b}\n: c",
    "[1, 2]: 3",
    "names: {0: cat, 0: dog}",
    "names: {1e400: cat}",
    "nc: 1e400",
    "nc: " + "9" * 5000,
    "budget: " + "9" * 5000,
    "nc: 100000000000",
    "x: " + "[" * _DEEP,
    "x: " + "[" * 900 + "]" * 900,
    "x: " + "{a: " * 300 + "1" + "}" * 300,
    "%YAML 9.9\n---",
    "--- a\n--- b",
    "x: *unknown",
    "\t- a",
    "x: 0o7777\ny: 1:30:00\nz: .inf\nw: .nan",
    "path: !!null ''",
    "path: [a]",
    "path: " + "ab/" * 1500,
    'names: ["\\ud800"]',
    'names: ["\\0"]',
)

_LAUGHS = "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 10))
_LAUGHTER = f'<!ENTITY x0 "ha">{_LAUGHS}<!ENTITY x "&x9;">'
"""The billion laughs: a few hundred bytes that expand to two gigabytes."""
_ENTITIES = (
    '<!ENTITY x "7">',
    '<!ENTITY y "ha"><!ENTITY x "&y;&y;&y;">',
    '<!ENTITY x SYSTEM "file:///etc/passwd">',
    '<!ENTITY x SYSTEM "http://127.0.0.1:9/x">',
    '<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;',
    '<!ENTITY x "&x;">',
    '<!ENTITY x "<b>1</b>">',
)
