"""Architectures and scale sets as values."""

import json

import pytest
from hypothesis import given, settings

from spaces import Architecture, ArchitectureError, ScaleSet
from spaces.named_spaces import open_space
from spaces.presets import PRESETS, preset, presets_in
from spaces.space import Space
from tests.spaces.strategies import architectures


@given(architectures())
@settings(max_examples=60, deadline=None)
def test_any_architecture_round_trips_through_json(architecture: Architecture) -> None:
    again = Architecture.from_dict(json.loads(json.dumps(architecture.to_dict())))
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.key == architecture.key


def test_keys_are_stable_and_differ() -> None:
    # Golden: a changed key would train again what every earlier study has trained.
    assert preset("yoloret-m0.75").key == "b9eec759d916"
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
        ("8+12@8>8", "rising list"),
        ("8+8@8>8", "rising list"),
    ],
)
def test_wrong_scale_sets_are_refused(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        ScaleSet.parse(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truncation": 0}, "truncation is 0"),
        ({"transfer": 17}, "not within the 16 blocks"),
        ({"transfer": -1}, "not within the 16 blocks"),
        ({"input_size": 300}, "nearest below is 288"),
        ({"shortcut": "median"}, "'median' is unknown"),
        ({"head": "nasfpn"}, "'nasfpn' is unknown"),
        ({"rfcr_kernel": 4}, "the kernel odd"),
        ({"rfcr_width": 0}, "above 0"),
        ({"scale_set": None}, "a shortcut needs a scale set"),
        ({"scale_set": None, "shortcut": "none"}, "no RFCR to size"),
        ({"outputs": (16, 32)}, "hands back to strides that are no output"),
        ({"outputs": (8, 64)}, "rising list"),
        ({"outputs": ()}, "nothing"),
        ({"scale_set": ScaleSet.parse("4+8@8>8")}, "finer than stride 4"),
    ],
)
def test_contradictions_are_refused_with_the_value(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        preset("yoloret-m0.75").replace(**change)
    assert message in error.value.message + error.value.hint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "mobilenetv2_050"}, "names no truncation"),
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


def test_taps_follow_outputs_collection_and_shortcut() -> None:
    architecture = preset("yoloret-m0.75")
    assert architecture.taps == (4, 8, 16, 32)
    assert architecture.replace(shortcut="none").taps == (8, 16, 32)
    assert architecture.replace(scale_set=ScaleSet.parse("16@16>16")).shortcut_stride == 8


def test_presets_are_found_in_spaces() -> None:
    assert presets_in(open_space("paper")) == dict(PRESETS)
    assert presets_in(open_space("nano")) == {"yoloret-m0.75": preset("yoloret-m0.75").replace(prediction_bias=True)}
    assert presets_in(open_space("tiny")) == {}


def test_an_unknown_preset_names_the_known() -> None:
    with pytest.raises(ArchitectureError, match="yoloret-m2") as error:
        preset("yoloret-m2")
    assert "yoloret-m0.75" in error.value.hint


def test_a_space_is_not_asked_about_other_things() -> None:
    space: Space = open_space("tiny")
    assert "mobilenetv2_050" not in space
