"""A user's space: read, and refused by line."""

from pathlib import Path

import pytest

from spaces.named_spaces import open_space
from spaces.space import SpaceError
from spaces.space_file import to_yaml

GOOD = """\
name: mine
backbones:
  mobilenetv2_050:
    truncation: [14, 16]
    transfer: [0, 8]
scale_set: ["8+16+32@16>8+16+32", none]
shortcut: [none, maxpool]
input_size: 96
"""


def test_a_file_becomes_a_space(tmp_path: Path) -> None:
    space = open_space(str(_write(tmp_path, GOOD)))
    assert space.name == "mine"
    assert space.size == 2 * 2 * (2 + 1)
    assert space.values("input_size") == (96,)


def test_a_file_may_list_necks(tmp_path: Path) -> None:
    space = open_space(str(_write(tmp_path, GOOD + "neck: [none, rfcr, bifpn]\n")))
    assert space.size == 2 * 2 * (2 + 1 + 1)
    assert open_space(str(_write(tmp_path, to_yaml(space)))) == space


def test_an_aspect_is_text_in_quotes_and_without(tmp_path: Path) -> None:
    space = open_space(str(_write(tmp_path, GOOD + 'aspect: [16:9, "4:3"]\n')))  # YAML 1.1 would read 969
    assert space.values("aspect") == ("16:9", "4:3")
    assert open_space(str(_write(tmp_path, to_yaml(space)))) == space
    assert open_space(str(_write(tmp_path, GOOD + "aspect: 4:3\n"))).values("aspect") == ("4:3",)


@pytest.mark.parametrize("name", ["paper", "nano", "lite", "tiny"])
def test_what_is_printed_reads_back(tmp_path: Path, name: str) -> None:
    assert open_space(str(_write(tmp_path, to_yaml(open_space(name))))) == open_space(name)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("mobilenetv2_050:", "mobilenet:", r"mine.yaml:3: backbone 'mobilenet' is unknown"),
        ("[14, 16]", "[14, 19]", r"mine.yaml:4: truncation 19 of mobilenetv2_050 is not a whole number from 1 to 18"),
        ("[14, 16]", "[14, deep]", r"mine.yaml:4: truncation 'deep'"),
        ("transfer:", "transfers:", r"mine.yaml:5: unknown key 'transfers' under mobilenetv2_050"),
        ("    truncation: [14, 16]\n", "", r"mine.yaml:3: mobilenetv2_050 has no truncation"),
        ("8+16+32@16>8+16+32", "8+16@32>8", r"mine.yaml:6: scale set 8\+16@32>8"),
        ("maxpool", "median", r"mine.yaml:7: shortcut 'median' is unknown"),
        ("96", "[96, 98]", r"mine.yaml:8: input_size 98 is not a multiple"),
        ("96", "[96, 100]", r"space 'mine': input_size 100 is not a multiple of 32"),
        ("96", "[96, 96]", r"mine.yaml:8: input_size lists a value twice"),
        ("[14, 16]", "[14, 14]", r"mine.yaml:4: truncation of mobilenetv2_050 lists a value twice: \[14, 14\]"),
        ("96", "[]", r"mine.yaml:8: an axis needs at least one value"),
        ("96", "[[96]]", r"mine.yaml:8: an axis is a list of plain values"),
        ("input_size: 96", "neck: [rfcr, panet]", r"mine.yaml:8: neck 'panet' is unknown"),
        ("input_size: 96", "neck: rfcr", r"space 'mine': scale_set none fits no neck"),
        ("input_size: 96", "head: [plain, bifpn]", r"mine.yaml:8: head 'bifpn' is unknown"),
        ("input_size: 96", "aspect: [4:3, 16x9]", r"mine.yaml:8: aspect '16x9' is no width:height"),
        ("input_size: 96", "aspect: 8:6", r"mine.yaml:8: aspect 8:6 can be shortened"),
        ("input_size: 96", "aspect: [4:3, 4:3]", r"mine.yaml:8: aspect lists a value twice"),
        ("input_size", "imagesize", r"mine.yaml:8: unknown axis 'imagesize'"),
        ("input_size: 96", "shortcut: conv", r"mine.yaml:8: 'shortcut' appears twice"),
        ("backbones:\n", "backbones: x\nother:\n", r"mine.yaml:3: unknown axis 'other'"),
        ("[14, 16]", "[3]", r"holds no legal architecture"),
        ("96", "[96,\n  98]", r"mine.yaml:9: input_size 98 is not a multiple"),
        ("[14, 16]", "\n    - 14\n    - 19", r"mine.yaml:6: truncation 19 of mobilenetv2_050"),
        ("96", "[96, 64,\n  96]", r"mine.yaml:9: input_size lists a value twice"),
        ("[0, 8]", "[-1]", r"mine.yaml:5: transfer -1 of mobilenetv2_050 is not a whole number of at least 0"),
        ("[14, 16]", "[14, 016]", r"mine.yaml:4: '016' is no plain number"),
        ("96", "0140", r"mine.yaml:8: '0140' is no plain number"),  # YAML reads 96
        ("96", "[64, 1:36]", r"mine.yaml:8: input_size must be a whole number, not '1:36'"),  # likewise
        ("96", "0x" + "f" * 4000, r"mine.yaml:8: '0xf.* is no plain number"),
        ("96", "[!!int [96]]", r"mine.yaml:8: expected a scalar node"),
        ("8+16+32@16>8+16+32", "08+16@16>8+16+32", r"mine.yaml:6: strides '08\+16' are not plain numbers"),
        ("input_size: 96", "outputs: [8, 16, 32]", r"mine.yaml:8: outputs must be text, not 8"),
        ("name: mine", "name: [a", r"is not YAML"),
        ("name: mine", "name: [a]", r"mine.yaml:1: name must be text"),
        ("name: mine", "name: null", r"mine.yaml:1: name must be text"),
        ("name: mine", "name: ~", r"mine.yaml:1: name must be text"),
        ("name: mine", 'name: ""', r"mine.yaml:1: name is empty"),
        ("name: mine", "description:", r"mine.yaml:1: description is empty"),
        ("name: mine", r'name: "a\e[2J"', r"mine.yaml:1: name has characters that no terminal shows: a\\x1b\[2J"),
        ("name: mine", r'description: "\ud800"', r"mine.yaml:1: description has characters that no terminal shows"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in GOOD
    with pytest.raises(SpaceError, match=message):
        open_space(str(_write(tmp_path, GOOD.replace(before, after))))


def test_a_space_without_a_name_has_that_of_its_file_which_steers_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J.yaml"
    path.write_text(GOOD.replace("name: mine\n", ""), encoding="utf-8")
    space = open_space(str(path))
    assert (space.name, space.description) == ("a\\x1b[2J", "From a\\x1b[2J.yaml.")


def test_strides_that_yaml_reads_as_a_number_have_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="outputs must be text, not 32") as caught:
        open_space(str(_write(tmp_path, GOOD + "outputs: 32\n")))
    assert '"32"' in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"), [("", "mapping of axes"), ("- a\n", "mapping of axes"), ("head: fpn\n", "no backbone")]
)
def test_files_that_are_no_space(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        open_space(str(_write(tmp_path, text)))


def _write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path
