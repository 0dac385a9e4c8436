"""Costs on paper, against those of whole networks."""

import random

import pytest
import torch

from spaces import Architecture
from spaces.architecture import HeadName
from spaces.named_spaces import SPACES
from spaces.networks import HEADS, build_network, count_cost, count_macs, count_params


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("num_classes", [1, 20])
def test_the_cost_is_that_of_the_built_network(space: str, num_classes: int) -> None:
    rng, drawn = random.Random(5), SPACES[space]()
    for _ in range(12):
        check(drawn.sample(rng), num_classes=num_classes)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("neck", "scale_set", "shortcut", "outputs"),
    [
        ("none", "none", "none", "8+16+32"),
        ("none", "none", "none", "16+32"),
        ("bifpn", "none", "none", "8+16+32"),
        ("bifpn", "none", "none", "16+32"),
        ("bifpn", "none", "none", "32"),
        ("rfcr", "8+16+32@8>8+16+32", "maxpool", "8+16+32"),
        ("rfcr", "8+16+32@16>8+32", "conv", "8+16+32"),
        ("rfcr", "8+16+32@16>8+32", "avgpool", "8+16+32"),
        ("rfcr", "16+32@32>16+32", "none", "16+32"),
        ("rfcr", "16+32@32>16+32", "conv", "16+32"),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_every_neck_and_head_is_counted(
    head: str, neck: str, scale_set: str, shortcut: str, outputs: str, bias: bool
) -> None:
    sizes = {"rfcr_width": 24, "rfcr_channels": 40, "rfcr_kernel": 5}
    architecture = Architecture.from_dict(
        {
            "backbone": "mobilenetv3_small_050",
            "truncation": 11,
            "input_size": 96,
            "head": head,
            "head_width": 20,
            "outputs": outputs,
            "neck": neck,
            "scale_set": scale_set,
            "shortcut": shortcut,
            "prediction_bias": bias,
            **(sizes if scale_set != "none" else dict.fromkeys(sizes, 0)),
        }
    )
    check(architecture, num_classes=3)


@pytest.mark.parametrize("aspect", ["4:3", "9:16"])
@pytest.mark.parametrize("backbone", ["mobilenetv3_small_050", "efficientnet_b3"])  # with squeeze-excite
def test_an_input_that_is_no_square_is_counted(backbone: str, aspect: str) -> None:
    truncation = {"mobilenetv3_small_050": 11, "efficientnet_b3": 20}[backbone]
    check(Architecture(backbone=backbone, truncation=truncation, input_size=160, aspect=aspect), num_classes=3)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("width", [1, 3])
def test_the_narrowest_heads_run(head: HeadName, width: int) -> None:
    architecture = Architecture(
        backbone="mobilenetv3_small_050", truncation=11, head=head, head_width=width, input_size=64
    )
    check(architecture, num_classes=3)


def check(architecture: Architecture, *, num_classes: int) -> None:
    with torch.device("meta"):
        network = build_network(architecture, num_classes=num_classes)
    cost = count_cost(architecture, num_classes=num_classes)
    assert cost.params == count_params(network)
    assert cost.macs == count_macs(network, input_hw=architecture.input_hw)
