"""Architectures and scale sets as values."""

import dataclasses
import json
import math
import re
from typing import get_args

import pytest
from hypothesis import given, settings

from spaces import Architecture, ArchitectureError, ScaleSet
from spaces.architecture import HeadName, NeckName, Shortcut
from spaces.named_spaces import open_space
from spaces.networks import HEADS, NECKS, SHORTCUTS
from spaces.presets import PRESETS, presets_in
from spaces.scale_set import PAPER_SCALE_SET
from spaces.space import Space
from tests.spaces.strategies import architectures


@given(architectures())
@settings(max_examples=60)
def test_any_architecture_round_trips_through_json(architecture: Architecture) -> None:
    again = Architecture.from_dict(json.loads(json.dumps(architecture.to_dict())))
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.key == architecture.key


def test_keys_are_stable_and_differ() -> None:
    # Golden: a changed key would train again what every earlier study has trained.
    assert PRESETS["yoloret-m0.75"].key == "bbe350f643e0"
    assert len({architecture.key for architecture in PRESETS.values()}) == 3


@pytest.mark.parametrize("text", ["8+16+32@16>8+16+32", "16@16>32", "4+8@4>8"])
def test_scale_sets_round_trip(text: str) -> None:
    assert str(ScaleSet.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8,16@16>8", "form COLLECT@FUSE>HAND_BACK"),
        ("8+16@32>8", "outside the collected"),
        ("16+8@16>8", "rising list"),
        ("8+12@8>8", "12 is no stride"),
        ("8+8@8>8", "rising list"),
        ("08+16@16>8", "not plain numbers"),  # read as 8, it would not be the text that a space compares
        ("8+16@016>8", "form COLLECT@FUSE>HAND_BACK"),
        ("8+16@16>٨", "form COLLECT@FUSE>HAND_BACK"),
    ],
)
def test_wrong_scale_sets_are_refused(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        ScaleSet.parse(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truncation": 0}, "truncation is 0"),
        ({"transfer": 17}, "not within the 16 blocks kept"),
        ({"transfer": -1}, "not within the 16 blocks kept"),
        ({"input_size": 300}, "nearest is 288"),
        ({"shortcut": "median"}, "'median' is unknown"),
        ({"head": "nasfpn"}, "'nasfpn' is unknown"),
        ({"rfcr_kernel": 4}, "the kernel odd"),
        ({"rfcr_kernel": 65}, "the kernel odd and at most 63"),
        ({"rfcr_width": 0}, "from 1 to 4096"),
        ({"rfcr_channels": 10**400}, "from 1 to 4096"),
        ({"head_width": 10**9}, "head_width is 1000000000; it must be above 0, at most 4096"),
        ({"neck": "panet"}, "'panet' is unknown"),
        ({"head": "bifpn"}, "'bifpn' is unknown"),
        ({"scale_set": None}, "neck 'rfcr' needs a scale set"),
        ({"neck": "none"}, "neck 'none' takes no scale set, but there is 8+16+32@16>8+16+32"),
        ({"neck": "bifpn"}, "neck 'bifpn' takes no scale set, but there is 8+16+32@16>8+16+32"),
        ({"neck": "none", "scale_set": None}, "a shortcut needs a scale set"),
        ({"neck": "none", "scale_set": None, "shortcut": "none"}, "no scale set and so no RFCR"),
        ({"outputs": (16, 32)}, "hands back to strides that are no output"),
        ({"outputs": (8, 64)}, "64 is no stride"),
        ({"outputs": ()}, "nothing"),
        ({"scale_set": ScaleSet.parse("4+8@8>8")}, "finer than stride 4"),
    ],
)
def test_contradictions_are_refused_with_the_value(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        PRESETS["yoloret-m0.75"].replace(**change)
    assert message in error.value.message + error.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": 3}, "backbone must be text, not 3"),
        ({"truncation": "14"}, "truncation must be a whole number, not '14'"),
        ({"input_size": math.nan}, "input_size must be a whole number, not nan"),
        ({"input_size": 320.0}, "input_size must be a whole number, not 320.0"),  # would be equal, with another key
        ({"transfer": True}, "transfer must be a whole number, not True"),
        ({"prediction_bias": 1}, "prediction_bias must be true or false, not 1"),
        ({"scale_set": "8+16@8>8"}, r"scale_set must be a ScaleSet or None, not '8\+16@8>8'"),
        ({"outputs": "8+16+32"}, r"outputs must be a tuple of whole numbers, not '8\+16\+32'"),
        ({"outputs": [8, 16, 32]}, r"outputs must be a tuple of whole numbers, not \[8, 16, 32\]"),
        ({"outputs": (8, 16, 32.0)}, "outputs must be a tuple of whole numbers"),
        ({"neck": ["rfcr"]}, r"neck \['rfcr'\] is unknown"),
    ],
)
def test_other_types_are_refused_with_a_hint(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message) as caught:
        PRESETS["yoloret-m0.75"].replace(**change)
    assert caught.value.hint


@pytest.mark.parametrize("part", ["collect", "fuse", "hand_back"])
@pytest.mark.parametrize("value", ["16", 16.0, [16], None])
def test_other_types_in_a_scale_set_are_refused_with_a_hint(part: str, value: object) -> None:
    with pytest.raises(ArchitectureError, match=f"must be .*, not {re.escape(repr(value))}") as caught:
        dataclasses.replace(PAPER_SCALE_SET, **{part: value})
    assert caught.value.hint


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"outputs": 32}, 'with quotes around a single one: 8+16+32 or "32"'),
        ({"outputs": [8, 16, 32]}, "join the strides by +"),
        ({"scale_set": None}, "for example 8+16+32@16>8+16+32; none leaves RFCR out"),
    ],
)
def test_a_hint_shows_the_text_of_strides(values: dict[str, object], hint: str) -> None:
    with pytest.raises(ArchitectureError, match="must be text, not") as caught:
        Architecture.from_dict({"backbone": "mobilenetv2_050", "truncation": 16, **values})
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "mobilenetv2_050"}, "has no truncation"),
        ({"backbone": "mobilenetv2_050", "truncation": 16, "width": 3}, "unknown architecture field 'width'"),
        ({"backbone": "mobilenetv2_050", "truncation": "16"}, "truncation must be a whole number, not '16'"),
        ({"backbone": "mobilenetv2_050", "truncation": True}, "truncation must be a whole number, not True"),
        ({"backbone": 3, "truncation": 16}, "backbone must be text"),
        ({"backbone": "mobilenetv2_050", "truncation": 16, "prediction_bias": 1}, "must be true or false"),
        ({"backbone": "mobilenetv2_050", "truncation": 16, "outputs": "8,16"}, "numbers joined by"),
    ],
)
def test_wrong_flat_forms_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        Architecture.from_dict(values)


BARE = {"backbone": "mobilenetv2_050", "truncation": 16, "rfcr_width": 0, "rfcr_channels": 0, "rfcr_kernel": 0}


@pytest.mark.parametrize(
    ("values", "neck", "head", "choice"),
    [
        ({"backbone": "mobilenetv2_050", "truncation": 16}, "rfcr", "fpn_pan", "8+16+32@16>8+16+32"),
        ({**BARE, "scale_set": "none"}, "none", "fpn_pan", "none"),
        ({**BARE, "scale_set": "none", "neck": "bifpn", "head": "fpn"}, "bifpn", "fpn", "bifpn"),
    ],
)
def test_the_neck_follows_from_the_scale_set_where_it_is_left_out(
    values: dict[str, object], neck: str, head: str, choice: str
) -> None:
    architecture = Architecture.from_dict(values)
    assert (architecture.neck, architecture.head, architecture.neck_choice) == (neck, head, choice)
    assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_keys_tell_the_necks_apart() -> None:
    bare = Architecture.from_dict({**BARE, "scale_set": "none", "head": "plain"})
    assert bare.replace(neck="bifpn").key != bare.key


@pytest.mark.parametrize(("names", "table"), [(NeckName, NECKS), (Shortcut, SHORTCUTS), (HeadName, HEADS)])
def test_the_names_are_those_of_the_tables(names: object, table: dict[str, object]) -> None:
    assert get_args(names) == tuple(table)


def test_taps_follow_outputs_collection_and_shortcut() -> None:
    architecture = PRESETS["yoloret-m0.75"]
    assert architecture.taps == (4, 8, 16, 32)
    assert architecture.replace(shortcut="none").taps == (8, 16, 32)
    assert architecture.replace(scale_set=ScaleSet.parse("16@16>16")).shortcut_stride == 8


def test_presets_are_found_in_spaces() -> None:
    assert presets_in(open_space("paper")) == dict(PRESETS)
    assert presets_in(open_space("nano")) == {"yoloret-m0.75": PRESETS["yoloret-m0.75"].replace(prediction_bias=True)}
    assert presets_in(open_space("tiny")) == {}


def test_a_space_is_not_asked_about_other_things() -> None:
    space: Space = open_space("tiny")
    assert "mobilenetv2_050" not in space
