import pytest
import torch

from spaces import ArchitectureError
from spaces.networks import build_network, count_cost
from spaces.networks.bifpn import BiFpn
from spaces.paper_experiments import ablation, necks, transfer_curve, truncated_length, truncation_against_width
from spaces.presets import PRESETS


def test_the_ablation_ends_at_the_preset() -> None:
    steps = ablation("mobilenetv2_075", input_size=320)
    assert list(steps) == ["head", "+ RFCR", "+ truncation", "+ shortcut"]
    preset = PRESETS["yoloret-m0.75"]
    assert steps["+ shortcut"].replace(prediction_bias=preset.prediction_bias) == preset
    lengths = [one.truncation for one in steps.values()]
    assert lengths == [18, 18, 16, 16]
    assert steps["head"].neck == "none"


@pytest.mark.parametrize(("backbone", "kept"), [("mobilenetv2_140", 16), ("efficientnet_b3", 24)])
def test_the_paper_s_lengths(backbone: str, kept: int) -> None:
    assert truncated_length(backbone) == kept


@pytest.mark.parametrize("kind", [ablation, necks])
@pytest.mark.parametrize("backbone", ["mobilenetv2_035", "mobilenetv3_small_050", "efficientnet_lite0"])
def test_every_variant_is_another_network_that_runs(kind: type, backbone: str) -> None:
    variants = kind(backbone, input_size=64)
    assert len({one.key for one in variants.values()}) == len(variants)
    for architecture in variants.values():
        with torch.device("meta"):
            maps = build_network(architecture, num_classes=2)(torch.empty(1, 3, 64, 64))
        assert [tuple(one.shape) for one in maps] == [(1, 21, 8, 8), (1, 21, 4, 4), (1, 21, 2, 2)]


def test_two_backbones_at_three_lengths_each() -> None:
    variants = truncation_against_width("efficientnet_lite0", "efficientnet_lite2", input_size=64)
    assert {one.shortcut for one in variants.values()} == {"maxpool"}  # with all that the paper adds
    lite0, lite2 = "efficientnet_lite0", "efficientnet_lite2"
    assert list(variants) == [f"{lite0}[:{k} of 17]" for k in (12, 15, 17)] + [
        f"{lite2}[:{k} of 22]" for k in (16, 20, 22)
    ]
    assert all(one.transfer == one.truncation for one in variants.values())
    # What the comparison is about: the wide one cut short costs no more than the narrow one that is whole.
    whole, cut = variants[f"{lite0}[:17 of 17]"], variants[f"{lite2}[:16 of 22]"]
    assert count_cost(cut, num_classes=3).macs <= count_cost(whole, num_classes=3).macs
    with pytest.raises(ArchitectureError, match="backbone 'abacus' is unknown"):
        truncation_against_width(lite0, "abacus", input_size=64)


def test_the_curve_truncates_nothing() -> None:
    curve = transfer_curve("mobilenetv2_075", input_size=64)
    assert {one.truncation for one in curve.values()} == {18}
    assert [one.transfer for one in curve.values()] == [0, 3, 6, 9, 12, 15, 18]
    assert list(transfer_curve("mobilenetv2_075", input_size=64, boundaries=(18, 4))) == ["4 of 18", "18 of 18"]
    with pytest.raises(ArchitectureError, match="transfer 19 is not within the 18 blocks kept"):
        transfer_curve("mobilenetv2_075", input_size=64, boundaries=(19,))


def test_bifpn_joins_every_scale_with_every_other() -> None:
    torch.manual_seed(0)
    neck = BiFpn({8: 4, 16: 6, 32: 10}, width=12).eval()
    features = {stride: torch.randn(1, c, 64 // stride, 64 // stride, requires_grad=True) for stride, c in
                ((8, 4), (16, 6), (32, 10))}  # fmt: skip
    joined = neck(features)
    assert {stride: tuple(one.shape) for stride, one in joined.items()} == {
        8: (1, 12, 8, 8),
        16: (1, 12, 4, 4),
        32: (1, 12, 2, 2),
    }
    for one in joined.values():
        for given in features.values():
            (gradient,) = torch.autograd.grad(one.sum(), given, retain_graph=True)
            assert gradient.abs().sum() > 0
