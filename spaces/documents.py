"""Reads JSON and YAML from outside: a `ValueError` says what is wrong, whatever that is.

The standard library and PyYAML raise a dozen kinds of errors at documents that were made to break them: nested thousands of
levels deep, with numbers of thousands of digits, with aliases that unfold to gigabytes.
"""

import dataclasses
import functools
import json
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import yaml

_MOST_LEVELS = 100
"""Of a YAML file. What this project reads has five; PyYAML takes a time that grows with the square of the levels."""
_MOST_WRITTEN = 1_000_000
"""Letters of a YAML file: PyYAML reads some 200 000 in a second. A dataset's file with 20 000 classes has half a million."""
_MOST_LETTERS = 10_000_000
"""Of a YAML file with its aliases unfolded."""
_YAML_FAULTS = (yaml.YAMLError, ValueError, OverflowError, TypeError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises: its own errors for the syntax, Python's for values such as 2001-99-99."""
_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*|[0-9]*\.[^:_]*)")
"""A number that YAML 1.1 reads as people do; in other forms, 010 is 8."""

T = TypeVar("T")


def parse_json(text: str | bytes, *, unique_keys: bool = False) -> Any:
    """Return a JSON document's value.

    Args:
        text: The document.
        unique_keys: Whether a key that an object has twice is refused; otherwise its last value counts.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deeply, or holds a key twice where that is refused.
    """
    try:
        return json.loads(text, object_pairs_hook=_build_object if unique_keys else None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document that a user wrote for us, without running code from it.

    Aliases are followed, within limits. What YAML would read silently as something else is refused.

    Raises:
        ValueError: it is not YAML, nested too deeply, or too large with its aliases unfolded; a key is given twice; or
            `why_misread` tells something of a number.
    """
    root = compose_yaml(text)
    _check_clear(root)
    return construct_yaml(root)


def compose_yaml(text: str) -> yaml.Node | None:
    """Return a YAML document as nodes that know their lines; None for an empty one.

    Raises:
        ValueError: it is not YAML, nested too deeply, or too large with its aliases unfolded.
    """
    try:
        if len(text) > _MOST_WRITTEN:
            raise ValueError(f"it is longer than {_MOST_WRITTEN} letters")
        node = _Loader(text).get_single_node()
        _check_size(node)
    except _YAML_FAULTS as error:
        raise ValueError(" ".join(str(error).split())) from error
    return node


def construct_yaml(node: yaml.Node | None, *, as_text: bool = False) -> Any:
    """Return a node's value.

    Args:
        node: As `compose_yaml` returns it.
        as_text: Whether each plain value is the text that was written, so that ``no`` is no False, and ``1.10`` not 1.1.

    Raises:
        ValueError: a value is none of its type: 2001-99-99 as a date.
    """
    if node is None:
        return None
    try:
        return (yaml.BaseLoader if as_text else yaml.SafeLoader)("").construct_document(node)
    except _YAML_FAULTS as error:
        raise ValueError(" ".join(str(error).split())) from error


def why_misread(node: yaml.Node) -> str:
    """Return why YAML may read a number as another one than is meant, as 010 as 8; empty for other nodes."""
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _NUMBERS or _PLAIN_NUMBER.fullmatch(node.value):
        return ""
    return (
        f"{_short(node.value)} is no plain number, and YAML may read another one; write it in digits without leading zeros "
        "and underscores, or put it in quotes if it is text"
    )


def build_value(kind: type[T], values: Any) -> T:
    """Return a dataclass of values of JSON types: lists become tuples, objects the dataclasses that its fields name.

    Args:
        kind: The dataclass.
        values: What JSON held.

    Raises:
        ValueError: a field is missing, unknown, or of another type; or the dataclass refuses the values.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{_short(values)} is no object")
    hints = _hints(kind)  # type: ignore[arg-type]
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(map(str, set(values) - set(fields))):
        raise ValueError(f"there is an unknown field {unknown[0][:40]!r}")
    missing = dataclasses.MISSING
    for name, field in fields.items():
        if name not in values and field.default is missing and field.default_factory is missing:
            raise ValueError(f"the field {name!r} is missing")
    return kind(**{name: _convert(hints[name], value, name) for name, value in values.items()})


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _convert(hint: Any, value: Any, name: str) -> Any:
    """Return a value as an annotation has it."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        (hint,) = (part for part in parts if part is not type(None))
        return _convert(hint, value, name)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build_value(hint, value)
    if origin is Literal and value in parts:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        if parts == (float, ...) and all(type(one) is float for one in value):
            return tuple(value)  # samples of latencies: a study has tens of thousands
        inner = [parts[0]] * len(value) if parts[-1] is ... else parts
        if len(inner) == len(value):
            return tuple(_convert(part, one, name) for part, one in zip(inner, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {_convert(parts[0], key, name): _convert(parts[1], one, name) for key, one in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ValueError(f"{name} is {_short(value)}, too large a number") from error
    if hint is Any or (hint in (int, str, bool) and type(value) is hint):
        return value
    raise ValueError(f"{name} is {_short(value)}, not {getattr(hint, '__name__', hint)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {_short(key)} is given twice")
    return values


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with a limit on levels, and without numbers in base 60."""

    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and those in it."""
        if self._level >= _MOST_LEVELS:
            raise ValueError(f"it is nested more than {_MOST_LEVELS} levels deep")
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and ":" in node.value and node.style is None:
            node.tag = _TEXT  # as in YAML 1.2: 16:9 is no 969
        return node


def _check_size(root: yaml.Node | None) -> None:
    """Raise for a node that holds itself, or that is too large with its aliases unfolded."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def measure(node: yaml.Node) -> int:
        if id(node) in inside:
            raise ValueError("an alias stands for what it is part of")
        if id(node) not in sizes:
            inside.add(id(node))
            is_mapping = isinstance(node, yaml.MappingNode)
            parts = [part for pair in node.value for part in pair] if is_mapping else node.value
            is_plain = isinstance(node, yaml.ScalarNode)
            sizes[id(node)] = 1 + (len(node.value) if is_plain else sum(map(measure, parts)))
            inside.discard(id(node))
        return sizes[id(node)]

    if root is not None and measure(root) > _MOST_LETTERS:
        raise ValueError(f"its aliases unfold to more than {_MOST_LETTERS} letters")


def _check_clear(root: yaml.Node | None) -> None:
    """Raise for a key that a mapping has twice, of which the last value would count, and for numbers that are misread."""
    waiting = [] if root is None else [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
        elif reason := why_misread(node):
            raise ValueError(f"line {_line(node)}: {reason}")


def _check_keys(mapping: yaml.MappingNode) -> None:
    first: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode) and first.setdefault((key.tag, key.value), key) is not key:
            before = _line(first[key.tag, key.value])
            raise ValueError(f"line {_line(key)}: {_short(key.value)} is given twice, first in line {before}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
