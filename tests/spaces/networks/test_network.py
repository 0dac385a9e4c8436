"""The networks against the authors' figures, and every axis against its promise."""

import itertools
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from spaces import Architecture, ArchitectureError, ScaleSet
from spaces.named_spaces import open_space
from spaces.networks import BACKBONES, YoloReT, block_shapes, build_network, count_macs, count_params
from spaces.networks.backbones import build_blocks, build_classifier, split_blocks
from spaces.networks.decoupled_head import DecoupledHead
from spaces.presets import PRESETS

REFERENCE = Path(__file__).parents[4] / "shared" / "paper" / "yoloret_m075_voc_neck_head.npz"
"""Neck and head of M0.75 as the authors' code (prakharg24/yoloret) computes them with random weights, for two images."""
RFCR_REFERENCE = Path(__file__).parent / "rfcr_reference.npz"
"""An excerpt of it: the weights and one image of the RFCR module, and what it hands back at stride 16."""
SMALL = Architecture(backbone="mobilenetv3_small_050", truncation=10, input_size=64, head_width=16, rfcr_width=8)


@pytest.mark.parametrize(
    ("name", "values", "backbone_values", "gmacs"),
    [
        ("yoloret-m0.75", 1_887_687, 797_344, 0.633),
        ("yoloret-m1.4", 3_798_567, 2_625_920, 1.299),
        ("yoloret-effb3", 8_064_149, 6_887_022, 3.246),
    ],
)
def test_presets_count_as_the_authors_code_does(name: str, values: int, backbone_values: int, gmacs: float) -> None:
    with torch.device("meta"):
        network = build_network(PRESETS[name], num_classes=20)
    assert _num_values(network) == values
    assert _num_values(network.backbone) == backbone_values
    assert count_macs(network, input_hw=PRESETS[name].input_hw) / 1e9 == pytest.approx(gmacs, abs=6e-4)


def test_rfcr_computes_what_the_authors_code_does() -> None:
    reference = {name: torch.from_numpy(array) for name, array in np.load(RFCR_REFERENCE).items()}
    network = build_network(PRESETS["yoloret-m0.75"], num_classes=20).eval()
    assert network.neck is not None
    names = {ours: theirs for ours, theirs in _their_names().items() if theirs.startswith("rfcr.")}
    _load(network, {ours: reference[theirs] for ours, theirs in names.items()})
    with torch.no_grad():
        handed = network.neck({stride: reference[f"input.s{stride}"] for stride in (4, 8, 16, 32)})
    torch.testing.assert_close(handed[16], reference["rfcr.s16"], atol=1e-4, rtol=0)


def test_neck_and_head_compute_what_they_did_when_they_agreed_with_the_authors_code() -> None:
    """The figures are this network's own of 2026-11-27, when the next test passed; the weights follow from their names."""
    network = build_network(PRESETS["yoloret-m0.75"], num_classes=20).eval()
    assert network.neck is not None
    shapes = {ours: value.shape for ours, value in network.state_dict().items()}
    _load(network, {ours: _seeded(theirs, shapes[ours]) for ours, theirs in _their_names().items()})
    channels = {4: 24, 8: 24, 16: 72, 32: 120}
    features = {
        stride: _seeded(f"input.s{stride}", (1, count, 96 // stride, 96 // stride))
        for stride, count in channels.items()
    }
    with torch.no_grad():
        outputs = network.head(network.neck(features))
    found = [output[0, ::15, 0, -1].tolist() for output in outputs]
    expected = [
        [-1.75847, 1.47262, -0.0072, 1.05292, 2.73454],
        [-0.10713, 0.47715, 0.30084, 2.05418, 0.30623],
        [1.50546, -1.13754, 0.50848, 0.61125, -0.31269],
    ]  # strides 8, 16 and 32; every 15th channel of one cell
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.skipif(
    not REFERENCE.is_file(), reason="the numeric reference of the authors' code lies beside the project"
)
def test_neck_and_head_compute_what_the_authors_code_does() -> None:
    reference = {name: torch.from_numpy(array) for name, array in np.load(REFERENCE).items()}
    network = build_network(PRESETS["yoloret-m0.75"], num_classes=20).eval()
    names = _their_names()
    assert set(names.values()) == {name for name in reference if not name.startswith(("input.", "rfcr.s", "output."))}
    _load(network, {ours: reference[theirs] for ours, theirs in names.items()})
    features = {stride: reference[f"input.s{stride}"] for stride in (4, 8, 16, 32)}
    with torch.no_grad():
        assert network.neck is not None
        handed = network.neck(features)
        outputs = network.head(handed)
    for stride in (8, 16, 32):
        torch.testing.assert_close(handed[stride], reference[f"rfcr.s{stride}"], atol=1e-4, rtol=0)
    for stride, output in zip((8, 16, 32), outputs, strict=True):
        torch.testing.assert_close(output, reference[f"output.s{stride}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_declared_blocks_are_what_the_backbone_gives(name: str) -> None:
    stem, blocks = build_blocks(name)
    shapes = block_shapes(name)
    features = stem.eval()(torch.zeros(1, 3, 96, 96))
    for block, shape in zip(blocks, shapes, strict=True):
        features = block.eval()(features)
        assert features.shape == (1, shape.channels, 96 // shape.stride, 96 // shape.stride)
    assert [shape.stride for shape in shapes] == sorted(shape.stride for shape in shapes)


@pytest.mark.parametrize("name", BACKBONES)
def test_stem_and_blocks_compute_the_features_of_timm(name: str) -> None:
    torch.manual_seed(0)
    model = build_classifier(name).train()  # by the statistics of a batch, random weights let no value vanish
    stem, blocks = split_blocks(model)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = stem(images)
        for block in blocks:
            features = block(features)
        assert torch.equal(features, model.forward_features(images))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [64, 128])
def test_every_backbone_trains_a_step_at_two_sizes(name: str, size: int) -> None:
    truncation = len(block_shapes(name))
    network = build_network(SMALL.replace(backbone=name, truncation=truncation, shortcut="maxpool"), num_classes=2)
    outputs = network(torch.randn(2, 3, size, size))
    assert [tuple(output.shape) for output in outputs] == [(2, 21, size // s, size // s) for s in (8, 16, 32)]
    sum(output.square().sum() for output in outputs).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("space_name", ["tiny", "lite", "nano", "paper"])
def test_any_architecture_of_a_space_builds_and_runs(space_name: str) -> None:
    space, rng = open_space(space_name), random.Random(0)
    with torch.device("meta"):
        for architecture in (space.sample(rng) for _ in range(15)):
            size = architecture.input_size
            outputs = build_network(architecture, num_classes=3)(torch.zeros(1, 3, size, size))
            assert [output.shape[-1] for output in outputs] == [size // s for s in architecture.outputs]


CHANGES = {
    "backbone": {"backbone": "mobilenetv3_small_100"},
    "truncation": {"truncation": 9},
    "outputs": {"outputs": (16, 32), "scale_set": ScaleSet.parse("8+16+32@16>16+32")},
    "collect": {"scale_set": ScaleSet.parse("16+32@16>8+16+32")},
    "fuse": {"scale_set": ScaleSet.parse("8+16+32@8>8+16+32")},
    "hand back": {"scale_set": ScaleSet.parse("8+16+32@16>8+16")},
    "no neck": {"neck": "none", "scale_set": None, "rfcr_width": 0, "rfcr_channels": 0, "rfcr_kernel": 0},
    "BiFPN": {"neck": "bifpn", "scale_set": None, "rfcr_width": 0, "rfcr_channels": 0, "rfcr_kernel": 0},
    "max-pooled shortcut": {"shortcut": "maxpool"},
    "averaged shortcut": {"shortcut": "avgpool"},
    "convolved shortcut": {"shortcut": "conv"},
    "rfcr_width": {"rfcr_width": 16},
    "rfcr_channels": {"rfcr_channels": 48},
    "rfcr_kernel": {"rfcr_kernel": 3},
    "fpn": {"head": "fpn"},
    "plain": {"head": "plain"},
    "head_width": {"head_width": 32},
    "prediction_bias": {"prediction_bias": False},
    "input_size": {"input_size": 96},
}


def test_every_axis_changes_the_network() -> None:
    """Users of another tuner found all their trials identical: ours must differ in what they compute, pair by pair."""
    architectures = {"base": SMALL, **{name: SMALL.replace(**change) for name, change in CHANGES.items()}}
    fingerprints = {name: _fingerprint(architecture) for name, architecture in architectures.items()}
    for one, other in itertools.combinations(fingerprints, 2):
        assert fingerprints[one] != fingerprints[other], f"{one} and {other} compute the same"


DECOUPLED = Architecture(
    backbone="mobilenetv3_small_050", truncation=11, head="decoupled", head_width=16, input_size=64
)


def test_every_map_of_the_decoupled_head_sees_every_stride() -> None:
    """Paths lead down to finer strides and up again."""
    head = DecoupledHead({8: 4, 16: 5, 32: 6}, width=8, num_classes=3, prediction_bias=True)
    features = {
        stride: torch.randn(2, channels, 64 // stride, 64 // stride, requires_grad=True)
        for stride, channels in ((8, 4), (16, 5), (32, 6))
    }
    for index in range(3):
        grads = torch.autograd.grad(head(features)[index].square().sum(), list(features.values()))
        assert [bool((grad.abs() > 0).any()) for grad in grads] == [True, True, True]


def test_boxes_and_classes_of_the_decoupled_head_have_branches_of_their_own() -> None:
    network = build_network(DECOUPLED, num_classes=3)
    head = network.head
    assert isinstance(head, DecoupledHead)
    maps = network(torch.randn(2, 3, 64, 64))
    box, classes = (
        torch.stack([one[:, part].square().sum() for one in maps]).sum() for part in (slice(0, -3), slice(-3, None))
    )
    for total, own, other in (
        (box, head.box_branch, head.class_branch),
        (classes, head.class_branch, head.box_branch),
    ):
        network.zero_grad()
        total.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in own.parameters())
        assert all(value.grad is None or value.grad.abs().sum() == 0 for value in other.parameters())


def test_macs_agree_with_an_independent_counter() -> None:
    space, rng = open_space("tiny"), random.Random(1)
    for architecture in [*(space.sample(rng) for _ in range(5)), PRESETS["yoloret-m0.75"]]:
        with torch.device("meta"):
            network = build_network(architecture, num_classes=4).eval()
            images = torch.zeros(1, 3, architecture.input_size, architecture.input_size)
        with FlopCounterMode(display=False) as counter:
            network(images)
        ours = count_macs(network, input_hw=architecture.input_hw)
        assert ours == pytest.approx(counter.get_total_flops() / 2, rel=0.01)


def test_macs_and_params_of_one_convolution() -> None:
    convolution = torch.nn.Conv2d(4, 8, 3, padding=1, groups=2)
    stack = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1, stride=2, bias=False), convolution)
    assert count_macs(stack, input_hw=(10, 10)) == 5 * 5 * 4 * 3 + 5 * 5 * 8 * 2 * 9
    assert count_params(stack) == 12 + 8 * 2 * 9 + 8


def test_a_detector_without_classes_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="0 classes"):
        build_network(SMALL, num_classes=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truncation": 13}, "has 12 blocks"),
        ({"truncation": 8}, "no features at stride 32"),
        ({"backbone": "resnet50"}, "unknown"),
        (
            {"outputs": (8, 16), "scale_set": ScaleSet.parse("8+16@8>8+16")},
            "keeps blocks of stride 32 that nothing reads",
        ),
    ],
)
def test_illegal_architectures_are_refused_with_the_reason(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        build_network(SMALL.replace(**change), num_classes=1)


def _num_values(module: torch.nn.Module) -> int:
    return sum(value.numel() for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked"))


def _fingerprint(architecture: Architecture) -> tuple[object, ...]:
    """What the network computes on one image from seeded weights, with its size."""
    torch.manual_seed(0)
    network = build_network(architecture, num_classes=1).train()
    images = torch.randn(2, 3, architecture.input_size, architecture.input_size)
    outputs = network(images)
    sums = tuple(round(float(output.detach().double().abs().sum()), 6) for output in outputs)
    return count_params(network), count_macs(network, input_hw=architecture.input_hw), sums


def _load(network: YoloReT, weights: dict[str, torch.Tensor]) -> None:
    state = network.state_dict()
    for name, value in weights.items():
        assert state[name].shape == value.shape, name
        state[name].copy_(value)


def _seeded(name: str, shape: Sequence[int]) -> torch.Tensor:
    """Return values that depend only on a name and a shape; NumPy's `RandomState` never changes its stream."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if name.endswith("running_var"):
        values = 0.5 + np.abs(values)
    elif len(shape) == 4 and not name.startswith("input."):
        values /= np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def _their_names() -> dict[str, str]:
    """Return our name of each weight of neck and head with its name in the reference."""
    names: dict[str, str] = {}

    def take(ours: str, theirs: str) -> None:
        names[ours] = theirs

    def take_norm(ours: str, theirs: str) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            take(f"{ours}.{part}", f"{theirs}.{part}")

    for stride in (4, 8, 16, 32):
        take(f"neck.collect.s{stride}.weight", f"rfcr.collect.s{stride}.weight")
    take("neck.fuse_weights", "rfcr.fuse.weights_s32_s16_s8_s4")
    for ours, theirs in (("0", "mix_depthwise"), ("3", "mix_pointwise")):
        take(f"neck.mix.{ours}.weight", f"rfcr.{theirs}.weight")
        take_norm(f"neck.mix.{int(ours) + 1}", f"rfcr.{theirs}_bn")
    for way, stride in itertools.product(("top_down", "bottom_up"), (8, 16, 32)):
        own, their = f"head.{way}.s{stride}", f"{way}.s{stride}"
        for part in ("expand", "depthwise", "project"):
            take(f"{own}.{part}.0.weight", f"{their}.{part}.weight")
            take_norm(f"{own}.{part}.1", f"{their}.{part}_bn")
        for ours, theirs in (("1", "se_reduce"), ("3", "se_expand")):
            take(f"{own}.gate.{ours}.weight", f"{their}.{theirs}.weight")
            take(f"{own}.gate.{ours}.bias", f"{their}.{theirs}.bias")
    paths = {"down": ("s32_to_s16", "s16_to_s8"), "up": ("s8_to_s16", "s16_to_s32")}
    for (ours, steps), theirs in zip(paths.items(), ("top_down", "bottom_up"), strict=True):
        for name in steps:
            take(f"head.{ours}.{name}.0.weight", f"{theirs}.{name}.weight")
            take_norm(f"head.{ours}.{name}.1", f"{theirs}.{name}_bn")
    for stride in (8, 16, 32):
        take(f"head.predict.s{stride}.weight", f"predict.s{stride}.weight")
    return names
