"""Weights that one network takes from another."""

import pytest
import torch
from torch import nn

from spaces import Architecture, ScaleSet
from spaces.networks import build_network
from spaces.networks.rfcr import Rfcr
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


def test_a_convolution_that_does_not_fit_keeps_its_bias_and_its_norm() -> None:
    conv, norm = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)
    other_conv, other_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    other_norm.register_buffer("running_mean", torch.full((4,), 7.0))
    last, other_last = nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1)
    network = nn.Sequential(conv, norm, last)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    share = inherit_weights(network, nn.Sequential(other_conv, other_norm, other_last).state_dict())
    assert share == 5 / (2 * 4 + 4 + 4 * 4 + 1 + 5)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"2.weight", "2.bias"}


@pytest.mark.parametrize(
    ("collected_by_parent", "is_taken"), [("8+16@8>8+16", True), ("16+32@16>16+32", False), ("16+32@32>32", False)]
)
def test_the_weights_of_a_sum_are_taken_where_the_same_scales_are_summed(
    collected_by_parent: str, is_taken: bool
) -> None:
    base = BASE.replace(truncation=11, scale_set=ScaleSet.parse("8+16@16>8+16"))
    torch.manual_seed(0)
    network = build_network(base, num_classes=3)
    trained = build_network(base.replace(scale_set=ScaleSet.parse(collected_by_parent)), num_classes=3)
    assert isinstance(trained.neck, Rfcr)
    assert isinstance(network.neck, Rfcr)
    nn.init.uniform_(trained.neck.fuse_weights, 2.0, 3.0)
    before = network.neck.fuse_weights.detach().clone()
    assert before.shape == trained.neck.fuse_weights.shape
    inherit_weights(network, trained.state_dict())
    assert torch.equal(network.neck.fuse_weights, trained.neck.fuse_weights if is_taken else before)
