"""JSON and YAML that were made to break their readers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from spaces.documents import build_value, parse_json, parse_yaml
from spaces.errors import YoloRetError, printable

BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[1", b"\xff", "9" * 5000])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: " + "[" * 20_000, "more than 100 levels"),
        ("- " * 500 + "x", "more than 100 levels"),
        (BOMB, "unfold to more than"),
        ("x: &x [*x]", "an alias stands for what it is part of"),
        ("x: &x {a: {<<: *x}}", "an alias stands for what it is part of"),
        ("x: 2001-99-99", "month must be in"),
        ("x: " + "9" * 5000, "limit"),
        ("a: b\n" * 300_000, "longer than 1000000 letters"),
        ("x: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("? [a]\n: b", "unhashable"),
        ("x: *gone", "undefined alias"),
    ],
)
def test_yaml_that_cannot_be_read_says_why_at_once(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_aliases_are_followed() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 3}}") == {"a": [1, 2], "b": [1, 2], "c": {"d": 3}}
    assert parse_yaml("") is None


@dataclasses.dataclass(frozen=True)
class Inner:
    size: float


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None = None
    kind: Literal["a", "b"] = "a"
    rows: tuple[tuple[int, float | None], ...] = ()
    by_name: Mapping[str, Inner] = dataclasses.field(default_factory=dict)
    samples: tuple[float, ...] = ()


def test_a_dataclass_is_built_of_json() -> None:
    values = {
        "name": "x",
        "inner": {"size": 1},
        "kind": "b",
        "rows": [[1, None], [2, 3]],
        "by_name": {"y": {"size": 2.5}},
    }
    built = build_value(Outer, {**values, "samples": [1.0, 2]})
    assert built == Outer("x", Inner(1.0), "b", ((1, None), (2, 3.0)), {"y": Inner(2.5)}, (1.0, 2.0))
    assert type(built.inner.size) is float  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "is no object"),
        ({}, "'name' is missing"),
        ({"name": "x", "other": 1}, "unknown field 'other'"),
        ({"name": 3}, "name is 3, not str"),
        ({"name": None}, "name is None"),
        ({"name": "x", "inner": 3}, "3 is no object"),
        ({"name": "x", "inner": {"size": "1"}}, "size is '1', not float"),
        ({"name": "x", "inner": {"size": True}}, "size is True"),
        ({"name": "x", "inner": {"size": 10**400}}, "too large a number"),
        ({"name": "x", "kind": "c"}, "kind is 'c'"),
        ({"name": "x", "kind": []}, "kind is"),
        ({"name": "x", "rows": [[1]]}, "rows is"),
        ({"name": "x", "rows": [[1.5, 2]]}, "rows is 1.5, not int"),
        ({"name": "x", "by_name": []}, "by_name is"),
        ({"name": "x", "samples": [1.0, "y"]}, "samples is 'y'"),
    ],
)
def test_values_of_other_types_are_refused_by_name(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_value(Outer, values)


def test_no_message_steers_a_terminal_or_breaks_utf_8() -> None:
    assert printable("a\x1b[2J\ud800é\n\tb") == "a\\x1b[2J\\ud800é\n\tb"
    error = YoloRetError("x\x1by", hint="z\x1b")
    assert (str(error), error.hint) == ("x\\x1by", "z\\x1b")
    assert error.__notes__ == ["hint: z\\x1b"]
