"""The YAML file of a space: written, and read with errors that name the line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spaces.architecture import Architecture
from spaces.documents import compose_yaml, construct_yaml, why_misread
from spaces.errors import printable
from spaces.networks import block_shapes
from spaces.scale_set import STRIDES, ArchitectureError
from spaces.space import AXES, RFCR_AXES, BackboneChoice, Space, SpaceError

_OWN_KEYS = ("name", "description", "backbones")
_NULL = "tag:yaml.org,2002:null"
_HEAD = """\
# A search space for: yoloret-nas search --space THIS_FILE     (to show it: yoloret-nas space THIS_FILE)
# truncation: blocks kept; transfer: blocks that start from ImageNet weights (0: none).
# scale_set: strides collected @ stride of the fusion > output strides that get the fusion; none leaves RFCR out.
# input_size: longer side of the network's input, pixels; aspect (optional): its width to height, as 16:9.
# neck (optional): rfcr, which goes with each scale set; none and bifpn, which go with scale_set none.
"""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The place of a value in the file, for messages."""

    path: Path
    line: int

    @classmethod
    def of(cls, node: yaml.Node, path: Path) -> "_Place":
        return cls(path=path, line=node.start_mark.line + 1)

    def error(self, message: str, *, hint: str = "") -> SpaceError:
        return SpaceError(f"{self.path}:{self.line}: {message}", hint=hint)


def read_space(path: Path) -> Space:
    """Read a space.

    Args:
        path: A YAML file of the form that `Space.to_dict` returns.

    Raises:
        SpaceError: the file is not YAML, an axis or value is unknown, or no architecture is legal; the message names
            file and line of a value that is wrong by itself.
    """
    try:
        root = compose_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"space file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SpaceError(f"space file {path} is not YAML: {error}") from error
    if not isinstance(root, yaml.MappingNode):
        raise SpaceError(f"{path}:1: a space is a mapping of axes", hint="see: yoloret-nas space tiny --yaml")
    entries = _mapping(root, path)
    for key, (_, place) in entries.items():
        if key not in (*_OWN_KEYS, *AXES[3:]):
            raise place.error(f"unknown axis {key!r}", hint=f"a space has {', '.join((*_OWN_KEYS, *AXES[3:]))}")
    if "backbones" not in entries:
        raise SpaceError(f"{path}:1: the space has no backbone", hint="add at least one under backbones:")
    axes = {key: _axis(key, *entries[key]) for key in entries if key not in _OWN_KEYS}
    return Space(
        name=_text(entries, "name", path.stem),
        description=_text(entries, "description", f"From {path.name}."),
        backbones=_backbones(*entries["backbones"]),
        axes=axes,
    )


def to_yaml(space: Space) -> str:
    """Return the text of a space's file, with each list on one line."""
    return _HEAD + yaml.safe_dump(
        space.to_dict(), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )


def _backbones(node: yaml.Node, place: _Place) -> dict[str, BackboneChoice]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise place.error(
            "backbones must be a mapping of names", hint="for example  mobilenetv2_050: {truncation: [14, 16]}"
        )
    return {name: _choice(name, inner, where) for name, (inner, where) in _mapping(node, place.path).items()}


def _choice(name: str, node: yaml.Node, place: _Place) -> BackboneChoice:
    try:
        num_blocks = len(block_shapes(name))
    except ArchitectureError as error:
        raise place.error(error.message, hint=error.hint) from error
    if not isinstance(node, yaml.MappingNode):
        raise place.error(
            f"{name} must be a mapping with truncation", hint=f"for example  {name}: {{truncation: [{num_blocks}]}}"
        )
    parts = _mapping(node, place.path)
    for key, (_, where) in parts.items():
        if key not in ("truncation", "transfer"):
            raise where.error(f"unknown key {key!r} under {name}", hint="use truncation and transfer")
    if "truncation" not in parts:
        raise place.error(
            f"{name} has no truncation", hint=f"add truncation: and the number of blocks kept, 1 to {num_blocks}"
        )
    numbers = {}
    for key, (inner, where) in parts.items():
        low, allowed = (1, f"from 1 to {num_blocks}") if key == "truncation" else (0, "of at least 0")
        values = _values(inner, where)
        for value, its_place in values:
            if type(value) is not int or value < low or (key == "truncation" and value > num_blocks):
                raise its_place.error(f"{key} {value!r} of {name} is not a whole number {allowed}")
        numbers[key] = _distinct(f"{key} of {name}", values)
    return BackboneChoice(**numbers)


def _axis(name: str, node: yaml.Node, place: _Place) -> tuple[Any, ...]:
    values = _values(node, place)
    for value, its_place in values:
        try:
            # Each value is checked alone, with others that accept it; `Space` checks the combinations.
            Architecture.from_dict({"backbone": "", "truncation": 1, **_companions(name, value), name: value})
        except ArchitectureError as error:
            raise its_place.error(error.message, hint=error.hint) from error
    return _distinct(name, values)


def _companions(name: str, value: Any) -> dict[str, Any]:
    """Return values of other axes that accept any legal value of this one."""
    if name == "scale_set" and value != "none":
        return {"outputs": "4+8+16+32"}
    if name in ("scale_set", "outputs", "input_size") or (name == "neck" and value in ("none", "bifpn")):
        outputs = {"outputs": str(STRIDES[0])} if name == "input_size" else {}
        return {"scale_set": "none", **dict.fromkeys(RFCR_AXES, 0), **outputs}
    return {}


def _values(node: yaml.Node, place: _Place) -> list[tuple[Any, _Place]]:
    """Return the values of an axis, of which the file has a list or a single one, each with its place."""
    items = [(node, place)]
    if isinstance(node, yaml.SequenceNode):
        items = [(item, _Place.of(item, place.path)) for item in node.value]
    if not items:
        raise place.error("an axis needs at least one value")
    return [(_value(item, its_place), its_place) for item, its_place in items]


def _value(node: yaml.Node, place: _Place) -> Any:
    if reason := why_misread(node):
        raise place.error(reason)
    try:
        value = construct_yaml(node)
    except ValueError as error:
        raise place.error(str(error)) from error
    if not isinstance(node, yaml.ScalarNode):
        raise place.error(f"an axis is a list of plain values, not of {value!r}")
    return value


def _distinct(name: str, values: list[tuple[Any, _Place]]) -> tuple[Any, ...]:
    """Return values without their places."""
    seen = set()
    for value, place in values:
        if value in seen:
            raise place.error(f"{name} lists a value twice: {[one for one, _ in values]}")
        seen.add(value)
    return tuple(value for value, _ in values)


def _text(entries: dict[str, tuple[yaml.Node, _Place]], key: str, default: str) -> str:
    if key not in entries:
        return printable(default)  # from the file's name
    node, place = entries[key]
    if not isinstance(node, yaml.ScalarNode) or (node.tag == _NULL and node.value):
        raise place.error(f"{key} must be text", hint="put it in quotes, or leave the line out")
    if not node.value:
        raise place.error(f"{key} is empty", hint="write a text, or leave the line out")
    if printable(node.value) != node.value:
        raise place.error(
            f"{key} has characters that no terminal shows: {printable(node.value)}", hint="leave them out"
        )
    return str(node.value)


def _mapping(node: yaml.MappingNode, path: Path) -> dict[str, tuple[yaml.Node, _Place]]:
    entries: dict[str, tuple[yaml.Node, _Place]] = {}
    for key, value in node.value:
        place = _Place.of(key, path)
        if not isinstance(key, yaml.ScalarNode):
            raise place.error("a name is plain text")
        if key.value in entries:
            raise place.error(f"{key.value!r} appears twice")
        entries[str(key.value)] = (value, place)
    return entries
