"""A few architectures that together hold every choice of a space, to try what runs its networks."""

from spaces.architecture import Architecture, ParameterValue
from spaces.space import FREE_AXES, Space


def cover(space: Space) -> tuple[Architecture, ...]:
    """Choose architectures that together have all that can add an operator to a network.

    That is every backbone at its deepest truncation (the shallower ones have fewer of its blocks), every set of output
    strides, every pair of neck or scale set and shortcut, and every value of each axis of `FREE_AXES`; combinations that
    the space excludes are left out. Transfer changes no operator.

    The choice is greedy, in the space's order: the same space gives the same architectures.
    """
    deepest: dict[str, int] = {}
    for skeleton in space.skeletons:
        deepest[skeleton.backbone] = max(skeleton.truncation, deepest.get(skeleton.backbone, 0))
    items = [_items(skeleton, deepest) for skeleton in space.skeletons]
    missing = set().union(*items)
    waiting: dict[str, list[ParameterValue]] = {axis: list(space.values(axis)) for axis in FREE_AXES}
    chosen: list[Architecture] = []
    while True:
        gains = [
            len(own & missing) + sum(bool(waiting[axis]) for axis in space.active_free_axes(skeleton))
            for own, skeleton in zip(items, space.skeletons, strict=True)
        ]
        best = gains.index(max(gains))
        if gains[best] == 0:
            return tuple(chosen)
        skeleton = space.skeletons[best]
        free = {}
        for axis in space.active_free_axes(skeleton):
            values = space.values(axis)
            free[axis] = waiting[axis].pop(0) if waiting[axis] else values[len(chosen) % len(values)]
        chosen.append(skeleton.replace(**free))
        missing -= items[best]


def _items(skeleton: Architecture, deepest: dict[str, int]) -> frozenset[tuple[str, ...]]:
    items: set[tuple[str, ...]] = {
        ("outputs", str(skeleton.outputs)),
        ("neck and shortcut", skeleton.neck_choice, skeleton.shortcut),
    }
    if skeleton.truncation == deepest[skeleton.backbone]:
        items.add(("backbone", skeleton.backbone))
    return frozenset(items)
