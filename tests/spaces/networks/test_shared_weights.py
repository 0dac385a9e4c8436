"""A network on shared weights computes what the network that is taken out of them computes."""

import random
from dataclasses import replace

import pytest
import torch

from spaces import Architecture
from spaces.named_spaces import nano, tiny
from spaces.networks.shared_weights import SharedWeights, share
from spaces.space import BackboneChoice, Space
from trials.one_shot.sandwich import largest_of_each_kind


def one_backbone(space: Space, backbone: str = "mobilenetv2_035", truncation: tuple[int, ...] = (14, 16)) -> Space:
    return replace(space, backbones={backbone: BackboneChoice(truncation=truncation)})


EVERYTHING = replace(
    one_backbone(tiny()),
    axes={
        "neck": ("rfcr", "none", "bifpn"),
        "scale_set": ("none", "16+32@16>8+16+32", "8+16@8>8+16+32", "8+16+32@16>8+16+32"),
        "shortcut": ("none", "maxpool", "conv"),
        "rfcr_width": (8, 24),
        "rfcr_channels": (16, 24),
        "rfcr_kernel": (3, 5),
        "head": ("plain", "fpn", "fpn_pan", "decoupled"),
        "head_width": (16, 32),
        "prediction_bias": (True,),
        "input_size": (64, 96),
    },
)
"""Each head, neck and shortcut, two values of each width."""


@pytest.fixture(scope="module")
def weights() -> SharedWeights:
    torch.manual_seed(0)
    shared = share(largest_of_each_kind(EVERYTHING), num_classes=3)
    with torch.no_grad():  # as after a training: no two values are alike
        for value in shared.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return shared


def every_kind(space: Space) -> list[Architecture]:
    """Return a random network of each skeleton with each head."""
    rng = random.Random(0)
    found = []
    for skeleton in space.skeletons:
        for head in space.values("head"):
            free = {axis: rng.choice(space.values(axis)) for axis in space.active_free_axes(skeleton)}
            found.append(skeleton.replace(**{**free, "head": head}))
    return found


def test_each_kind_of_network_computes_what_it_computes_when_it_is_taken_out(weights: SharedWeights) -> None:
    kinds = every_kind(EVERYTHING)
    assert {one.neck for one in kinds} == {"rfcr", "none", "bifpn"}
    for architecture in kinds:
        images = torch.randn(2, 3, architecture.input_size, architecture.input_size)
        alone = weights.extract(architecture).train()
        with torch.no_grad():
            for shared_map, own_map in zip(weights.network(architecture)(images), alone(images), strict=True):
                assert torch.allclose(shared_map, own_map, atol=1e-5), architecture
        assert {name: value.shape for name, value in alone.named_parameters()}


def test_a_network_that_is_taken_out_has_values_of_its_own(weights: SharedWeights) -> None:
    architecture = every_kind(EVERYTHING)[0]
    before = {name: value.clone() for name, value in weights.state_dict().items()}
    with torch.no_grad():
        for value in weights.extract(architecture).parameters():
            value.fill_(7.0)
    assert all(torch.equal(value, before[name]) for name, value in weights.state_dict().items())


def test_the_gradient_of_a_network_reaches_its_slice_of_the_shared_values_alone(weights: SharedWeights) -> None:
    small = Architecture.from_dict({**every_kind(EVERYTHING)[-1].to_dict(), "head": "decoupled", "head_width": 16})
    weights.zero_grad()
    alone = weights.extract(small).train()
    images = torch.randn(2, 3, small.input_size, small.input_size)
    for network in (weights.network(small), alone):
        sum(each.square().mean() for each in network(images)).backward()  # type: ignore[union-attr]
    of_alone = sum(float(value.grad.abs().sum()) for value in alone.parameters() if value.grad is not None)
    of_shared = sum(float(value.grad.abs().sum()) for value in weights.parameters() if value.grad is not None)
    assert of_shared == pytest.approx(of_alone, rel=1e-3)
    untouched = [name for name, value in weights.values.items() if value.grad is None or not value.grad.any()]
    assert any("fpn_pan" in name for name in untouched)
    weights.zero_grad()


def test_what_is_as_large_in_all_networks_is_shared_by_all(weights: SharedWeights) -> None:
    one, other = every_kind(EVERYTHING)[:2]
    first, second = (dict(weights.extract(architecture).named_parameters()) for architecture in (one, other))
    assert torch.equal(first["backbone.stem.0.weight"], second["backbone.stem.0.weight"])


def test_networks_of_several_backbones_share_nothing() -> None:
    with pytest.raises(ValueError, match="within one backbone; there are mobilenetv2_035, mobilenetv2_050"):
        share(
            [space.skeletons[0] for space in (one_backbone(nano()), one_backbone(nano(), "mobilenetv2_050"))],
            num_classes=1,
        )


def test_a_network_that_is_larger_than_the_one_it_shares_with_is_refused() -> None:
    kinds = largest_of_each_kind(EVERYTHING)
    small = [one.replace(head_width=16) for one in kinds]
    with pytest.raises(ValueError, match="is larger than what an earlier network shares"):
        share([*small, *kinds], num_classes=1)
