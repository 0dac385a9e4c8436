from dataclasses import replace

import pytest

from spaces.named_spaces import tiny
from spaces.space import BackboneChoice, SpaceError
from trials.one_shot.sandwich import NUM_RANDOM, check_shareable, largest_of_each_kind, sandwich

SPACE = replace(tiny(), backbones={"mobilenetv2_050": BackboneChoice(truncation=(14, 16))})
WIDTHS = ("rfcr_width", "rfcr_channels", "rfcr_kernel", "head_width", "input_size")


def test_a_step_trains_a_largest_a_smallest_and_some_networks_between() -> None:
    draw = sandwich(SPACE, seed=0)
    for step in range(20):
        largest, smallest, *others = draw(step)
        assert len(others) == NUM_RANDOM
        assert all(one in SPACE for one in (largest, smallest, *others))
        for pick, one in ((max, largest), (min, smallest)):
            axes = [axis for axis in WIDTHS if axis in SPACE.active_free_axes(one)]
            assert [one.to_dict()[axis] for axis in axes] == [pick(SPACE.values(axis)) for axis in axes]


def test_the_networks_of_a_step_depend_on_seed_and_number_alone() -> None:
    draw, again, other = sandwich(SPACE, seed=0), sandwich(SPACE, seed=0), sandwich(SPACE, seed=1)
    draw(3)
    assert draw(5) == again(5)
    assert draw(5) != again(6)
    assert draw(5) != other(5)


def test_the_largest_of_each_kind_are_of_the_space_and_of_all_kinds() -> None:
    kinds = largest_of_each_kind(SPACE)
    assert len(kinds) == len(SPACE.skeletons) * len(SPACE.values("head")) * len(SPACE.values("input_size"))
    assert all(one in SPACE for one in kinds)
    assert {one.head_width for one in kinds} == {max(SPACE.values("head_width"))}


def test_spaces_whose_networks_cannot_share_are_refused() -> None:
    with pytest.raises(SpaceError, match="has aspect 1:1, 4:3, and shared weights learn from images of one"):
        check_shareable(SPACE.with_aspects(("1:1", "4:3")))
    with pytest.raises(SpaceError, match="space 'tiny' has 5 backbones, and weights are shared within one only"):
        check_shareable(tiny())
    two = replace(SPACE, backbones={"mobilenetv2_050": BackboneChoice(truncation=(14,), transfer=(0, 8))})
    with pytest.raises(SpaceError, match="has transfer 0, 8, and shared weights start in one way"):
        check_shareable(two)
    check_shareable(SPACE)
