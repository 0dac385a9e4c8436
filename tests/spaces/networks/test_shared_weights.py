"""A network on shared weights computes what the network that is taken out of them computes."""

import random
from dataclasses import replace

import pytest
import torch

from spaces import Architecture
from spaces.named_spaces import nano, tiny
from spaces.networks.shared_weights import SharedWeights, share
from spaces.space import RFCR_AXES, BackboneChoice, Space
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
        "prediction_bias": (False, True),
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
        shared, alone = weights.network(architecture), weights.extract(architecture).train()
        with torch.no_grad():
            for shared_map, own_map in zip(shared(images), alone(images), strict=True):
                assert torch.allclose(shared_map, own_map, atol=1e-5), architecture
        ends = {name: value for name, value in alone.named_parameters() if not name.startswith("backbone.")}
        assert ends.keys() == shared._values.keys()
        assert all(torch.equal(value, shared._values[name]) for name, value in ends.items())


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
        torch.stack([each.square().mean() for each in network(images)]).sum().backward()
    of_alone = sum(float(value.grad.abs().sum()) for value in alone.parameters() if value.grad is not None)
    of_shared = sum(float(value.grad.abs().sum()) for value in weights.parameters() if value.grad is not None)
    assert of_shared == pytest.approx(of_alone, rel=1e-3)
    untouched = [name for name, value in weights.values.items() if value.grad is None or not value.grad.any()]
    assert any("fpn_pan" in name for name in untouched)
    weights.zero_grad()


def test_networks_of_several_backbones_share_nothing() -> None:
    with pytest.raises(ValueError, match="within one backbone; there are mobilenetv2_035, mobilenetv2_050"):
        share(
            [space.skeletons[0] for space in (one_backbone(nano()), one_backbone(nano(), "mobilenetv2_050"))],
            num_classes=1,
        )


def one_network(**changes: object) -> Architecture:
    """Return the largest network with RFCR and a shortcut, but for some axes."""
    like = next(one for one in EVERYTHING.skeletons if one.scale_set and len(one.scale_set.collect) == 3)
    sizes = {"rfcr_width": 24, "rfcr_channels": 24, "rfcr_kernel": 5, "head_width": 32, "input_size": 64}
    return Architecture.from_dict({**like.to_dict(), **sizes, "shortcut": "maxpool", **changes})


def values_of(weights: SharedWeights, **changes: object) -> dict[str, torch.Tensor]:
    return dict(weights.extract(one_network(**changes)).named_parameters())


def test_backbone_and_neck_are_shared_by_networks_of_other_heads(weights: SharedWeights) -> None:
    first, second = values_of(weights, head="plain"), values_of(weights, head="decoupled", input_size=96)
    names = {name for name in first if not name.startswith("head.")}
    assert names == {name for name in second if not name.startswith("head.")}
    assert {name.partition(".")[0] for name in names} == {"backbone", "neck"}
    assert all(torch.equal(first[name], second[name]) for name in names)


def test_a_smaller_kernel_is_the_middle_of_a_larger_one(weights: SharedWeights) -> None:
    large, small = values_of(weights), values_of(weights, rfcr_kernel=3)
    assert torch.equal(small["neck.mix.0.weight"], large["neck.mix.0.weight"][:, :, 1:-1, 1:-1])


def test_a_narrower_network_has_the_leading_channels(weights: SharedWeights) -> None:
    large, narrow = values_of(weights, head="fpn"), values_of(weights, head="fpn", head_width=16, rfcr_width=8)
    assert torch.equal(narrow["neck.collect.s16.weight"], large["neck.collect.s16.weight"][:8])
    assert torch.equal(narrow["neck.mix.3.weight"], large["neck.mix.3.weight"][:, :8])
    assert torch.equal(narrow["head.top_down.s8.project.0.weight"], large["head.top_down.s8.project.0.weight"][:, :16])


@pytest.mark.parametrize("way", ["top_down.s8", "bottom_up.s16"])
def test_what_a_decoupled_head_sends_and_what_it_has_are_sliced_apart(weights: SharedWeights, way: str) -> None:
    large, small = values_of(weights, head="decoupled"), values_of(weights, head="decoupled", head_width=16)
    both = [*range(16), *range(32, 48)]  # of each half, the leading channels
    assert torch.equal(small[f"head.{way}.0.0.weight"], large[f"head.{way}.0.0.weight"][both])
    assert torch.equal(small[f"head.{way}.1.0.weight"], large[f"head.{way}.1.0.weight"][:16, both])


def test_what_a_pyramid_sends_comes_before_raw_features_and_these_before_the_fusion(weights: SharedWeights) -> None:
    name, raw = "head.top_down.s8.expand.0.weight", 16
    large = values_of(weights, head="fpn_pan")[name]
    small = values_of(weights, head="fpn_pan", head_width=16, rfcr_channels=16)[name]
    assert (large.shape[1], small.shape[1]) == (32 + raw + 24, 16 + raw + 16)
    assert torch.equal(small, large[:16, [*range(16), *range(32, 32 + raw), *range(32 + raw, 32 + raw + 16)]])


def test_what_sees_other_things_is_not_shared(weights: SharedWeights) -> None:
    here, larger = values_of(weights), values_of(weights, input_size=96)
    elsewhere = values_of(weights, scale_set="8+16@8>8+16+32")
    assert not torch.equal(here["head.predict.s8.weight"], larger["head.predict.s8.weight"])
    assert torch.equal(here["neck.mix.0.weight"], larger["neck.mix.0.weight"])
    assert here["neck.mix.0.weight"].shape == elsewhere["neck.mix.0.weight"].shape
    assert not torch.equal(here["neck.mix.0.weight"], elsewhere["neck.mix.0.weight"])
    pooled, convolved = values_of(weights), values_of(weights, shortcut="conv")
    alike = {name for name, value in pooled.items() if value.shape == convolved[name].shape}
    assert pooled.keys() - alike == {"neck.collect.s4.weight"}
    other = {name for name in alike if not torch.equal(pooled[name], convolved[name])}
    assert other == {"neck.fuse_weights"}
    of_strides = slice(0, 3)  # the last one is the shortcut's
    assert torch.equal(pooled["neck.fuse_weights"][of_strides], convolved["neck.fuse_weights"][of_strides])


def without_rfcr(**axes: tuple[str, ...]) -> Space:
    """Return `EVERYTHING` without a scale set, and with some other axes."""
    kept = {name: values for name, values in EVERYTHING.axes.items() if name not in RFCR_AXES}
    return replace(EVERYTHING, axes={**kept, "scale_set": ("none",), "shortcut": ("none",), **axes})


@pytest.mark.parametrize("neck", ["none", "bifpn"])
@pytest.mark.parametrize("outputs", [("16+32", "8+16+32"), ("8+16+32", "16+32")])
def test_networks_of_other_outputs_share_what_is_alike_in_whatever_order_they_come(
    neck: str, outputs: tuple[str, ...]
) -> None:
    """At a stride that is not the finest one, heads are twice as wide."""
    space = without_rfcr(outputs=outputs, neck=(neck,), head=("fpn_pan",))
    shared = share(largest_of_each_kind(space), num_classes=3)
    for architecture in every_kind(space):
        images = torch.randn(2, 3, 64, 64)
        alone = shared.extract(architecture.replace(input_size=64)).train()
        with torch.no_grad():
            of_shared = shared.network(architecture.replace(input_size=64))(images)
            assert all(
                torch.allclose(one, other, atol=1e-5) for one, other in zip(of_shared, alone(images), strict=True)
            )
    if neck == "bifpn":
        kept = shared.values["neck_bottom_up_s16_weights/bifpn:handed"]
        assert kept.shape == (1,)


def test_a_step_of_two_and_one_of_four_have_kernels_of_their_own() -> None:
    space = without_rfcr(outputs=("8+16+32", "8+32"), neck=("none",), head=("decoupled",))
    shared = share(largest_of_each_kind(space), num_classes=3)
    kept = sorted(name.partition(":")[0] for name in shared.values if name.startswith("head_reduce_s32_0_weight"))
    assert kept == ["head_reduce_s32_0_weight/decoupled2", "head_reduce_s32_0_weight/decoupled4"]


def test_a_shared_value_grows_to_hold_all_its_slices() -> None:
    small, large = (one_network(head="fpn", head_width=width) for width in (16, 32))
    grown = share([small, large], num_classes=3)
    name = "head.top_down.s8.project.0.weight"
    values = [dict(grown.extract(one).named_parameters())[name] for one in (small, large)]
    assert torch.equal(values[0], values[1][:, :16])
    assert values[1].std() > 0.5 * values[0].std()
