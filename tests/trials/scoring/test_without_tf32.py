"""Float32 as it is, not as TF32."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from trials.scoring import without_tf32


@pytest.fixture
def convolutions() -> Iterator[Any]:
    """PyTorch's switch, which is set back after the test."""
    switch = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = switch.fp32_precision
    yield switch
    switch.fp32_precision = before


@pytest.mark.parametrize("before", ["tf32", "ieee"])
def test_float32_is_kept_within_the_block_alone(convolutions: Any, before: str) -> None:
    """A program that has said ``ieee`` cannot ask PyTorch's earlier switch any more."""

    def fail() -> None:
        assert convolutions.fp32_precision == "ieee"
        raise KeyError("a fault in the block")

    convolutions.fp32_precision = before
    with pytest.raises(KeyError, match="a fault in the block"), without_tf32():
        fail()
    assert convolutions.fp32_precision == before


def test_the_earlier_switch_stays_of_use() -> None:
    before = torch.backends.cudnn.allow_tf32
    with without_tf32():
        pass
    assert torch.backends.cudnn.allow_tf32 is before
