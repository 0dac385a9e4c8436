import pytest

from trials.data.formats.stated_values import read_flag, read_rotation


@pytest.mark.parametrize("value", [1, 1.0, True, "1", " 1 ", "true", "True"])
def test_yes(value: object) -> None:
    assert read_flag(value, "iscrowd")


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "", None, "false", "False", "-1", -1])
def test_no(value: object) -> None:
    assert not read_flag(value, "iscrowd")


@pytest.mark.parametrize("value", [2, "maybe", [1], {}])
def test_neither(value: object) -> None:
    with pytest.raises(ValueError, match=r"iscrowd is .*, not 0 or 1"):
        read_flag(value, "iscrowd")


def test_rotation_is_a_number_of_degrees() -> None:
    values = [{"rotation": 30.5}, {"rotation": "30.5"}, {"rotation": "left"}, {"rotation": None}, {}]
    assert [read_rotation(attributes) for attributes in values] == [30.5, 30.5, 0, 0, 0]
