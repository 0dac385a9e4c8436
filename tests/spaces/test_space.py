"""Spaces: counting, sampling, enumerating, finding the nearest, and saying why not."""

import dataclasses
import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces import Architecture, ScaleSet
from spaces.named_spaces import SPACES, is_named, open_space
from spaces.networks import count_cost
from spaces.space import AXES, RFCR_AXES, BackboneChoice, Space, SpaceError
from tests.spaces.strategies import spaces_and_architectures

SMALL = Space(
    name="small",
    description="For tests.",
    backbones={
        "mobilenetv3_small_050": BackboneChoice(truncation=(8, 9, 11), transfer=(0, 5, 99)),
        "mobilenetv2_035": BackboneChoice(truncation=(16,)),
    },
    axes={
        "scale_set": ("none", "8+16+32@16>8+16+32"),
        "shortcut": ("none", "maxpool"),
        "rfcr_width": (8, 16),
        "rfcr_channels": (16,),
        "head": ("plain", "fpn"),
        "input_size": (64, 96),
    },
)

WITH_NECKS = dataclasses.replace(SMALL, axes={"neck": ("none", "rfcr", "bifpn"), **SMALL.axes})


def test_size_is_what_enumeration_gives_and_all_are_distinct_members() -> None:
    everything = list(SMALL)
    # Cut at 8 there is no stride 32. Left: 2 truncations × 3 transfers + 1; without RFCR 4 free choices, with it 2 × 8.
    assert SMALL.size == len(everything) == (2 * 3 + 1) * (4 + 2 * 8)
    assert len({architecture.key for architecture in everything}) == len(everything)
    assert all(architecture in SMALL for architecture in everything)


def test_a_neck_axis_adds_the_pairs_that_agree() -> None:
    everything = list(WITH_NECKS)
    assert WITH_NECKS.size == len(everything) == (2 * 3 + 1) * (4 + 4 + 2 * 8)
    assert len({architecture.key for architecture in everything}) == len(everything)
    assert {(one.neck, one.scale_set is None) for one in everything} == {
        ("none", True),
        ("bifpn", True),
        ("rfcr", False),
    }
    assert [one for one in everything if one.neck != "bifpn"] == list(SMALL)
    for architecture in everything:
        assert architecture in WITH_NECKS
        assert WITH_NECKS.nearest(architecture.to_dict()) == architecture
    assert WITH_NECKS.exclusions == {
        "a shortcut needs a scale set to join": 8,
        "mobilenetv3_small_050 cut at block 8 has no features at stride 32": 4,
    }


def test_without_a_neck_axis_the_neck_is_no_choice_and_bifpn_is_outside() -> None:
    assert SMALL.values("neck") == ("none", "rfcr")
    assert "neck" not in SMALL.open_axes
    assert "neck" in WITH_NECKS.open_axes
    bifpn = next(one for one in WITH_NECKS if one.neck == "bifpn")
    assert SMALL.why_outside(bifpn) == "neck bifpn is none of none, rfcr"


def test_sampling_is_even() -> None:
    rng = random.Random(0)
    counts = Counter(SMALL.sample(rng).key for _ in range(5_600))
    assert len(counts) == SMALL.size
    assert 12 < min(counts.values()) <= max(counts.values()) < 80  # 40 expected, deviation 6


def test_a_sample_without_repeats_is_the_whole_of_a_small_space() -> None:
    keys = [one.key for one in SMALL.sample_distinct(20, random.Random(0))]
    assert len(set(keys)) == len(keys) == 20
    assert keys != [one.key for one in SMALL.sample_distinct(20, random.Random(1))]
    for count in (SMALL.size, 10_000):
        assert SMALL.sample_distinct(count, random.Random(0)) == list(SMALL)


def test_exclusions_say_why() -> None:
    assert SMALL.exclusions["a shortcut needs a scale set to join"] == 4
    assert SMALL.exclusions["mobilenetv3_small_050 cut at block 8 has no features at stride 32"] == 3


@given(spaces_and_architectures())
@settings(max_examples=60)
def test_an_architecture_is_its_own_nearest_and_its_neighbours_are_members(pair: tuple[Space, Architecture]) -> None:
    space, architecture = pair
    assert architecture in space
    assert space.nearest(architecture.to_dict()) == architecture
    neighbours = list(space.neighbours(architecture))
    assert neighbours
    for neighbour in neighbours[:10]:
        assert neighbour in space
        assert neighbour != architecture


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_any_point_of_the_box_has_a_legal_nearest(seed: int) -> None:
    rng = random.Random(seed)
    point = {axis: rng.choice(SMALL.values(axis)) for axis in AXES}
    point["truncation"] = rng.randint(-5, 40)
    point["rfcr_width"] = rng.randint(8, 16)
    nearest = SMALL.nearest(point)
    assert nearest in SMALL
    assert nearest.backbone == point["backbone"]


@pytest.mark.parametrize("space", [SMALL, WITH_NECKS], ids=["no neck axis", "necks"])
def test_neighbours_reach_the_whole_space(space: Space) -> None:
    seen = {next(iter(space)).key: next(iter(space))}
    waiting = list(seen.values())
    while waiting:
        for neighbour in space.neighbours(waiting.pop()):
            if neighbour.key not in seen:
                seen[neighbour.key] = neighbour
                waiting.append(neighbour)
    assert len(seen) == space.size


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backbone": "efficientnet_b0"}, "backbone efficientnet_b0 is none of"),
        ({"truncation": 10}, "truncation 10 of mobilenetv3_small_050 is none of"),
        ({"transfer": 3}, "transfer 3 is none of"),
        ({"rfcr_width": 12}, "rfcr_width 12 is none of"),
        ({"input_size": 128}, "input_size 128 is none of"),
        ({"shortcut": "conv"}, "shortcut conv is none of"),
        ({"scale_set": ScaleSet.parse("8@8>8")}, "scale_set 8@8>8 is none of"),
    ],
)
def test_membership_is_explained(change: dict[str, object], reason: str) -> None:
    member = SMALL.nearest({"backbone": "mobilenetv3_small_050", "truncation": 11, "scale_set": "8+16+32@16>8+16+32"})
    assert member in SMALL
    explanation = SMALL.why_outside(member.replace(**change))
    assert explanation is not None
    assert explanation.startswith(reason)


def test_transfer_can_be_taken_out() -> None:
    scratch = open_space("nano").without_transfer({"mobilenetv2_035"})
    transfers = {(skeleton.backbone == "mobilenetv2_035", skeleton.transfer > 0) for skeleton in scratch.skeletons}
    assert transfers == {(True, False), (False, False), (False, True)}
    assert scratch.size < open_space("nano").size


@pytest.mark.parametrize("space", [SMALL, WITH_NECKS], ids=["no neck axis", "necks"])
@pytest.mark.parametrize("shortcuts", [("none", "maxpool"), ("none", "maxpool", "conv")])
def test_largest_holds_the_costliest_network(space: Space, shortcuts: tuple[str, ...]) -> None:
    space = dataclasses.replace(space, axes={**space.axes, "shortcut": shortcuts})

    def macs(architecture: Architecture) -> int:
        return count_cost(architecture, num_classes=2).macs

    assert max(map(macs, space.largest(num_classes=2))) == max(map(macs, space))


@pytest.mark.parametrize("name", ["nano", "lite", "tiny"])
@pytest.mark.parametrize("num_classes", [1, 20, 80])  # which head is costliest depends on it
def test_largest_is_the_costliest_choice_of_every_coupled_axis_and_head(name: str, num_classes: int) -> None:
    space = open_space(name)
    first = space.largest(num_classes=num_classes)[0]
    sizes = {axis: getattr(first, axis) for axis in (*RFCR_AXES, "head_width", "input_size")}
    others = [
        skeleton.replace(head=head, **sizes)
        for head in space.values("head")
        for skeleton in space.skeletons
        if skeleton.backbone == first.backbone and skeleton.scale_set and skeleton.transfer == 0
    ]
    assert count_cost(first, num_classes=num_classes).macs == max(
        count_cost(one, num_classes=num_classes).macs for one in others
    )


def test_a_step_of_truncation_keeps_all_blocks_pretrained() -> None:
    space = open_space("paper")
    whole = next(one for one in space.skeletons if one.transfer == one.truncation == 16)
    around = [one for one in space.neighbours(whole) if one.backbone == whole.backbone and one.truncation != 16]
    assert {(one.truncation, one.transfer) for one in around} == {(count, count) for count in (14, 15, 17, 18)}


def test_a_step_of_truncation_keeps_any_boundary_that_gives_the_transfer() -> None:
    choice = BackboneChoice(truncation=(14, 15), transfer=(0, 14, 99))
    space = Space(name="s", description="s", backbones={"mobilenetv2_035": choice}, axes={"scale_set": ("none",)})
    whole = next(one for one in space.skeletons if one.truncation == one.transfer == 14)  # by boundary 14 or 99
    assert {one.transfer for one in space.neighbours(whole) if one.truncation == 15} == {14, 15}


@pytest.mark.parametrize("name", ["paper", "nano", "lite"])
def test_every_skeleton_has_neighbours_of_another_truncation(name: str) -> None:
    space = open_space(name)
    for skeleton in random.Random(0).sample(space.skeletons, 60):
        kept = {one.truncation for one in space.neighbours(skeleton) if one.backbone == skeleton.backbone}
        assert len(kept) > 1, skeleton


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {"colour": ("red",)}}, "unknown axis 'colour'"),
        ({"axes": {"head": ()}}, "axis 'head' has no value"),
        ({"backbones": {}}, "has no backbone"),
        ({"backbones": {"mobilenetv2_035": BackboneChoice(truncation=(5,))}}, "holds no legal architecture"),
        ({"axes": {"neck": ("rfcr", "bifpn")}}, "neck bifpn fits no scale_set of the space"),
        ({"axes": {"neck": ("rfcr",), "scale_set": ("none", "8@8>8")}}, "scale_set none fits no neck of the space"),
        ({"axes": {"neck": ("panet",), "scale_set": ("none",)}}, "neck 'panet' is unknown"),
    ],
)
def test_senseless_spaces_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("name", SPACES)
def test_named_spaces_are_what_they_are_called(name: str) -> None:
    space = open_space(name)
    assert space.name == name
    assert space.size > 1000


@pytest.mark.parametrize("name", ["huge", "huge" * 1000, "\0"])
def test_an_unknown_space_names_the_known(name: str) -> None:
    with pytest.raises(SpaceError, match="is neither a known name nor a file") as error:
        open_space(name)
    assert "paper, nano, lite, tiny" in error.value.hint


@pytest.mark.parametrize("name", ["tiny", "lite", "paper"])
def test_places_are_those_of_the_enumeration(name: str) -> None:
    space = open_space(name)
    for index, architecture in enumerate(itertools.islice(space, 400)):
        assert space[index] == architecture
    assert space[space.size - 1] in space
    for outside in (-1, space.size):
        with pytest.raises(IndexError, match=f"architecture {outside} of space {name!r}"):
            space[outside]


def test_largest_passes_over_truncations_that_are_illegal() -> None:
    """Blocks of stride 32 are illegal where nothing reads them."""
    space = Space(
        name="near",
        description="Boxes at strides 8 and 16.",
        backbones={"mobilenetv2_050": BackboneChoice(truncation=(11, 17))},
        axes={"outputs": ("8+16",), "scale_set": ("none",), "input_size": (64, 96)},
    )
    (largest,) = space.largest(num_classes=2)
    assert (largest.truncation, largest.input_size) == (11, 96)


def test_the_largest_network_may_be_at_another_cut() -> None:
    """Outputs at stride 4 cost more than a longer backbone, which they leave no place for."""
    space = Space(
        name="strides",
        description="",
        backbones={"mobilenetv2_050": BackboneChoice(truncation=(13, 17))},
        axes={"outputs": ("4+8+16", "8+16+32"), "scale_set": ("none",), "head": ("decoupled",), "input_size": (320,)},
    )
    assert {(one.outputs[0], one.truncation) for one in space.skeletons} == {(4, 13), (8, 17)}
    (largest,) = space.largest(num_classes=3)
    assert largest == max(space, key=lambda one: count_cost(one, num_classes=3).macs)
    assert largest.outputs[0] == 4


COARSE_16 = {"outputs": ("8+16",), "scale_set": ("none", "8+16@16>8+16"), "shortcut": ("none",)}


def test_sizes_are_multiples_of_the_coarsest_stride_in_use() -> None:
    backbones = {"mobilenetv2_035": BackboneChoice(truncation=(13,))}
    space = Space(name="s", description="", backbones=backbones, axes={**COARSE_16, "input_size": (144, 160)})
    assert {one.input_size for one in space} == {144, 160}
    for sizes in ((144, 160), (160, 144)):
        with pytest.raises(SpaceError, match="input_size 144 is not a multiple of 32, the coarsest stride") as caught:
            dataclasses.replace(SMALL, axes={**SMALL.axes, "input_size": sizes})
        assert caught.value.hint == "the nearest is 128"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"backbones": {**SMALL.backbones, "efficientnet_lite0": BackboneChoice(truncation=(10, 11))}},
            "no legal architecture has backbone efficientnet_lite0: efficientnet_lite0 cut at block 10 has no features at "
            "stride 32",
        ),
        (
            {"axes": {"scale_set": ("none", "8+16+32@16>8+16+32"), "shortcut": ("maxpool",)}},
            "no legal architecture has scale_set none: a shortcut needs a scale set to join",
        ),
        (
            {"axes": {"scale_set": ("none",), "outputs": ("8+16+32",), "shortcut": ("none", "conv")}},
            "no legal architecture has shortcut conv: a shortcut needs a scale set to join",
        ),
        (
            {"axes": {"scale_set": ("none",), "rfcr_width": (48,), "rfcr_kernel": (3, 5)}},
            "rfcr_kernel has several values, but no architecture has a scale set and so RFCR",
        ),
    ],
)
def test_a_choice_that_no_network_has_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(SpaceError, match=told):
        dataclasses.replace(SMALL, **change)


def test_the_nearest_is_found_without_a_walk_through_the_space_for_each_skeleton(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = open_space("nano")
    space.nearest({"truncation": 14, "transfer": 0})
    walks = 0
    skeletons = Space.skeletons

    def counted(self: Space) -> tuple[Architecture, ...]:
        nonlocal walks
        walks += 1
        return skeletons.__get__(self)

    monkeypatch.setattr(Space, "skeletons", property(counted))
    space.nearest({"truncation": 14, "transfer": 0})
    assert walks == 1


def test_a_space_of_the_user_s_is_not_taken_for_the_one_whose_name_it_kept() -> None:
    tiny = open_space("tiny")
    assert is_named(tiny)
    nano = open_space("nano")
    assert is_named(nano.without_transfer(nano.backbones))
    assert is_named(nano.without_transfer(["mobilenetv2_035"]))
    assert not is_named(dataclasses.replace(tiny, axes={**tiny.axes, "head": ("plain",)}))
    assert not is_named(SMALL)
