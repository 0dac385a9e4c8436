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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size: 32\nwidth: 3\nsize: 64", "line 3: 'size' is given twice, first in line 1"),
        ("a: {b: 1, 'b': 2}", "line 1: 'b' is given twice"),
        ('{"a": 1,\n"a": 2}', "line 2: 'a' is given twice"),
        ("a: 1\nb: 032", "line 2: '032' is no plain number, and YAML may read another one"),
        ("- 0640", "line 1: '0640' is no plain number"),
        ("- 0x20", "line 1: '0x20' is no plain number"),
        ("- 1_000", "line 1: '1_000' is no plain number"),
        ("- 0x" + "f" * 4000, r"line 1: '0xf.*\.\.\. is no plain number"),  # Python writes no such number
    ],
)
def test_what_yaml_reads_as_something_else_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_plain_numbers_and_equal_keys_of_several_mappings_are_read() -> None:
    text = "- {a: 0, b: -12, c: 1.05, d: 1.5e+3, e: .5, f: '032', g: 2026-01-02x, h: 16:9}\n- {a: 1, 1: 2, '1': 3}"
    first, second = parse_yaml(text)
    assert list(first.values()) == [0, -12, 1.05, 1500.0, 0.5, "032", "2026-01-02x", "16:9"]
    assert parse_yaml("- 1:30.5\n- 4:3") == ["1:30.5", "4:3"]
    assert second == {"a": 1, 1: 2, "1": 3}


def test_of_a_key_that_json_holds_twice_the_last_value_counts_unless_it_is_refused() -> None:
    text = '{"b": 0, "a": {"x": 1, "x": 2}}'
    assert parse_json(text) == {"b": 0, "a": {"x": 2}}
    with pytest.raises(ValueError, match="the key 'x' is given twice"):
        parse_json(text, unique_keys=True)
    assert parse_json('[{"a": 1}, {"a": 2}]', unique_keys=True) == [{"a": 1}, {"a": 2}]


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
