"""The shape of a network's input."""

from typing import Any

import pytest

from spaces import Architecture, ArchitectureError
from spaces.aspect import parse_aspect, shape_of_input
from spaces.named_spaces import is_named, open_space
from spaces.presets import PRESETS, presets_in


@pytest.mark.parametrize(
    ("longer", "aspect", "stride", "hw"),
    [
        (320, "1:1", 32, (320, 320)),
        (320, "4:3", 32, (256, 320)),  # 240 px hold the image, and are no multiple of 32
        (320, "4:3", 16, (240, 320)),
        (320, "16:9", 32, (192, 320)),
        (320, "9:16", 32, (320, 192)),
        (320, "5:4", 32, (256, 320)),  # exactly
        (64, "99:1", 32, (32, 64)),
    ],
)
def test_the_shorter_side_is_the_first_multiple_of_the_stride_that_holds_the_image(
    longer: int, aspect: str, stride: int, hw: tuple[int, int]
) -> None:
    assert shape_of_input(longer, aspect, stride=stride) == hw


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("16x9", "write it as 16:9"),
        (" 16/9", "write it as 16:9"),
        ("1920×1080", "write it as 16:9"),
        ("1.78", "for example 4:3"),
        ("0:1", "for example 4:3"),
        ("4:03", "for example 4:3"),
        ("640:480", "write it as 4:3"),
        ("٤:٣", "for example 4:3"),
        ("4:3\n", "write it as 4:3"),
        ("8:6", "write it as 4:3"),
        ("2:2", "write it as 1:1"),
    ],
)
def test_another_form_is_refused_with_the_right_one(text: str, hint: str) -> None:
    with pytest.raises(ArchitectureError) as refused:
        parse_aspect(text)
    assert hint in refused.value.hint
    with pytest.raises(ArchitectureError):
        PRESETS["yoloret-m0.75"].replace(aspect=text)


@pytest.mark.parametrize("value", [1.78, (16, 9), 969, None])
def test_what_is_no_text_is_refused_too(value: Any) -> None:
    with pytest.raises(ArchitectureError, match="is no width:height"):
        parse_aspect(value)


def test_an_architecture_has_its_input_and_a_key_of_its_own() -> None:
    square = PRESETS["yoloret-m0.75"]
    wide = square.replace(aspect="16:9")
    assert (square.input_hw, wide.input_hw) == ((320, 320), (192, 320))
    assert square.key != wide.key
    assert " 320px " in square.short
    assert " 320×192px " in wide.short
    assert Architecture.from_dict({key: value for key, value in square.to_dict().items() if key != "aspect"}) == square


def test_a_space_takes_another_aspect_and_keeps_all_else() -> None:
    tiny = open_space("tiny")
    wide = tiny.with_aspects(("16:9",))
    assert wide.size == tiny.size
    assert {one.aspect for one in wide.skeletons} == {"16:9"}
    assert tiny[17].replace(aspect="16:9") == wide[17]
    assert tiny[17] not in wide
    assert "aspect 1:1 is none of 16:9" in str(wide.why_outside(tiny[17]))
    assert is_named(wide)
    assert tiny.with_aspects(("1:1",)) is tiny  # as every study before had it


def test_a_space_of_two_aspects_is_searched_like_one_of_two_heads() -> None:
    both = open_space("tiny").with_aspects(("1:1", "4:3"))
    assert both.size == 2 * open_space("tiny").size
    assert "aspect" in both.open_axes
    turned = [one for one in both.neighbours(both[0]) if one.aspect != both[0].aspect]
    assert turned == [both[0].replace(aspect="4:3")]
    assert both.nearest({"aspect": "4:3"}).aspect == "4:3"
    wide_first = open_space("tiny").with_aspects(("16:9", "1:1"))
    assert {one.input_hw for one in wide_first.largest(num_classes=3)} == {(160, 160)}


def test_a_preset_is_inside_with_the_aspect_of_the_space() -> None:
    inside = presets_in(open_space("paper").with_aspects(("4:3",)))
    assert inside["yoloret-m0.75"] == PRESETS["yoloret-m0.75"].replace(aspect="4:3")
