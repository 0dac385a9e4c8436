"""The networks that learn from one batch: the largest and the smallest of the space, and some between.

Source: Yu and Huang, Universally Slimmable Networks, 2019, section 3.2 (the sandwich rule).
"""

import random
from collections.abc import Callable

from spaces import Architecture
from spaces.named_spaces import is_named
from spaces.space import ORDERED_AXES, Space, SpaceError

NUM_RANDOM = 2
"""Networks of a step between the largest and the smallest."""


def check_one_backbone(space: Space) -> None:
    """Refuse a space of several backbones: their networks cannot share weights.

    Raises:
        SpaceError: there are several.
    """
    if len(space.backbones) > 1:
        raise SpaceError(
            f"space {space.name!r} has {len(space.backbones)} backbones, and weights are shared within one only",
            hint="leave one backbone in the space's file"
            + (f" (yoloret-nas space {space.name} --yaml), and name it with --space" if is_named(space) else ""),
        )


def check_shareable(space: Space) -> None:
    """Refuse a space whose networks cannot share weights.

    Raises:
        SpaceError: it has several backbones or aspects, or networks that differ only in how many blocks start from ImageNet.
    """
    check_one_backbone(space)
    (choice,) = space.backbones.values()
    if len(choice.transfer) > 1:
        raise SpaceError(
            f"space {space.name!r} has transfer {', '.join(map(str, choice.transfer))}, and shared weights start in one way",
            hint="leave one value of transfer in the space's file",
        )
    if len(aspects := space.values("aspect")) > 1:
        raise SpaceError(
            f"space {space.name!r} has aspect {', '.join(map(str, aspects))}, and shared weights learn from images of one",
            hint="leave one value of aspect in the space's file, or name one with --aspect",
        )


def sandwich(space: Space, *, seed: int) -> Callable[[int], tuple[Architecture, ...]]:
    """Return what draws the networks of a step, by its number: a largest one, a smallest one, `NUM_RANDOM` between."""

    def draw(step: int) -> tuple[Architecture, ...]:
        rng = random.Random(f"{seed}/{step}")
        ends = (_extreme(space, space.sample(rng), pick) for pick in (max, min))
        return (*ends, *(space.sample(rng) for _ in range(NUM_RANDOM)))

    return draw


def largest_of_each_kind(space: Space) -> list[Architecture]:
    """Return the networks whose slices all others of the space are; with a bias, where some have one."""
    bias = any(space.values("prediction_bias"))
    kinds = [
        _extreme(space, skeleton.replace(head=head, input_size=size, prediction_bias=bias), max, keep_size=True)
        for skeleton in space.skeletons
        for head in space.values("head")
        for size in space.values("input_size")
    ]
    return list(dict.fromkeys(kinds))


def _extreme(space: Space, like: Architecture, pick: Callable[..., int], *, keep_size: bool = False) -> Architecture:
    """Return the largest or smallest network of the same blocks, neck and head."""
    ordered = [axis for axis in space.active_free_axes(like) if axis in ORDERED_AXES]
    return like.replace(
        **{axis: pick(space.values(axis)) for axis in ordered if not (keep_size and axis == "input_size")}
    )
