"""Weights that one network takes from another."""

import torch
from torch import nn

from spaces import Architecture
from spaces.networks import build_network
from trials.training import inherit_weights

BASE = Architecture(backbone="mobilenetv3_small_050", truncation=9, head="fpn", head_width=32, input_size=64)


def test_an_equal_network_takes_everything() -> None:
    torch.manual_seed(0)
    one, other = (build_network(BASE, num_classes=3) for _ in range(2))
    assert inherit_weights(one, other.state_dict()) == 1.0
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_longer_backbone_takes_the_blocks_of_a_shorter_one_and_computes_the_same_with_them() -> None:
    torch.manual_seed(0)
    short, long = build_network(BASE, num_classes=3), build_network(BASE.replace(truncation=11), num_classes=3)
    before = {name: value.clone() for name, value in long.state_dict().items()}
    share = inherit_weights(long, short.state_dict())
    assert 0 < share < 1
    blocks = (short.backbone.blocks[:9], long.backbone.blocks[:9])
    for own, theirs in zip(*blocks, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(own.state_dict().values(), theirs.state_dict().values(), strict=True)
        )
    last = [name for name in before if name.startswith("backbone.blocks.10.")]
    assert last
    assert all(torch.equal(long.state_dict()[name], before[name]) for name in last)


def test_other_widths_are_not_taken_and_no_module_by_halves() -> None:
    """A convolution whose weight does not fit keeps its bias too."""

    conv, norm = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)
    other_conv, other_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    before = conv.bias.detach().clone() if conv.bias is not None else None
    other_norm.register_buffer("running_mean", torch.full((4,), 7.0))
    share = inherit_weights(nn.Sequential(conv, norm), nn.Sequential(other_conv, other_norm).state_dict())
    values_of_norm = 4 * 4 + 1
    assert share == values_of_norm / (values_of_norm + 2 * 4 + 4)
    assert before is not None
    assert conv.bias is not None
    assert torch.equal(conv.bias, before)
    assert norm.running_mean is not None
    assert torch.equal(norm.running_mean, torch.full((4,), 7.0))
