import pytest

from tests.search.records import record
from yoloret_nas.export.model_card import describe_start, short_number


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (21.4, "20"), (3.1, "3"), (0.26, "0.3"), (0.00042, "0.0004"), (4e-6, "0.000004")]
)
def test_a_difference_has_one_digit_and_no_exponent(value: float, text: str) -> None:
    assert short_number(value) == text


def test_the_card_says_where_weights_came_from() -> None:
    assert describe_start(record(0, 0.3, 5.0)) == "The weights began at random."
    inherited = describe_start(record(0, 0.3, 5.0, inherited=0.459))
    assert inherited == (
        "46% of the values began with the weights of another trial of the study. The others began at random."
    )
