"""The few architectures that together have every choice of a space."""

import pytest
from hypothesis import given, settings

from spaces import Architecture
from spaces.cover import cover
from spaces.named_spaces import SPACES
from spaces.space import FREE_AXES, Space
from tests.spaces.strategies import spaces_and_architectures


def _choices(architecture: Architecture, space: Space) -> set[tuple[str, ...]]:
    free = {(axis, str(getattr(architecture, axis))) for axis in space.active_free_axes(architecture)}
    return free | {
        ("backbone", architecture.backbone),
        ("outputs", str(architecture.outputs)),
        ("pair", architecture.neck_choice, architecture.shortcut),
    }


@pytest.mark.parametrize("name", SPACES)
def test_the_named_spaces_are_covered_by_a_few(name: str) -> None:
    space = SPACES[name]()
    chosen = cover(space)
    everything = set[tuple[str, ...]]().union(*(_choices(one, space) for one in space.skeletons))
    everything |= {(axis, str(value)) for axis in FREE_AXES for value in space.values(axis)}
    assert set[tuple[str, ...]]().union(*(_choices(one, space) for one in chosen)) == everything
    assert len(chosen) == len(set(chosen)) <= 13
    assert all(one in space for one in chosen)


@settings(max_examples=30)
@given(spaces_and_architectures())
def test_each_choice_of_any_architecture_is_in_the_cover(drawn: tuple[Space, Architecture]) -> None:
    space, architecture = drawn
    chosen = cover(space)
    assert all(one in space for one in chosen)
    assert _choices(architecture, space) <= set[tuple[str, ...]]().union(*(_choices(one, space) for one in chosen))
    deepest = max(one.truncation for one in space.skeletons if one.backbone == architecture.backbone)
    assert any((one.backbone, one.truncation) == (architecture.backbone, deepest) for one in chosen)
