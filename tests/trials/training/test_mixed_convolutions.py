import copy
from typing import Any

import pytest
import torch
from torch import nn

from spaces import Architecture
from spaces.networks import build_network
from trials.training import mixed_convolutions
from trials.training.mixed_convolutions import MixedConv2d, mix_convolutions


def pair(kernel: int, stride: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(kernel)
    plain = nn.Conv2d(16, 16, kernel, stride, kernel // 2, groups=16, bias=False)
    mixed = copy.deepcopy(plain)
    mix_convolutions(mixed)
    return plain, mixed


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 1), (7, 1), (8, 2)])
def test_values_and_gradients_are_those_of_the_convolution_it_was(
    kernel: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_convolutions, "_FEW_MACS", 0.0)
    plain, mixed = pair(kernel, stride)
    assert isinstance(mixed, MixedConv2d)
    images = torch.randn(4, 16, 17, 17).contiguous(memory_format=torch.channels_last)
    given, other = images.clone().requires_grad_(), images.clone().requires_grad_()
    expected = plain(given)
    with torch.autocast("cpu", torch.bfloat16):
        found = mixed(other)
    assert found.dtype == torch.bfloat16
    direction = torch.randn_like(expected)
    expected.backward(direction)
    found.backward(direction.to(torch.bfloat16))
    assert given.grad is not None
    assert other.grad is not None
    assert plain.weight.grad is not None
    assert mixed.weight.grad is not None
    for wanted, one in (
        (expected, found.float()),
        (given.grad, other.grad),
        (plain.weight.grad, mixed.weight.grad),
    ):
        assert (one - wanted).norm() / wanted.norm() < 0.01  # bfloat16 has three digits


@pytest.mark.parametrize("conv", [nn.Conv2d(16, 8, 1), nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False)])
def test_few_multiply_adds_are_computed_in_float32(conv: nn.Conv2d) -> None:
    plain = copy.deepcopy(conv)
    mix_convolutions(conv)
    images = torch.randn(8, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    expected = plain(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(images)
        assert plain(images).dtype == torch.bfloat16
    assert torch.equal(found, expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    assert plain.weight.grad is not None
    assert conv.weight.grad is not None
    assert torch.equal(conv.weight.grad, plain.weight.grad)


@pytest.mark.parametrize("channels", [6, 15])
@pytest.mark.parametrize("is_bf16", [False, True])
def test_a_gradient_that_would_end_the_process_is_that_of_what_the_stride_leaves(channels: int, is_bf16: bool) -> None:
    conv = nn.Conv2d(channels, 48, 1, stride=2)
    images = torch.randn(8, channels, 79, 80)
    expected = conv(images)  # not channels last: without the fault
    expected.sum().backward()
    assert conv.weight.grad is not None
    wanted, conv.weight.grad = conv.weight.grad, None
    mix_convolutions(conv)
    seen: list[tuple[int, ...]] = []
    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        real = nn.functional.conv2d
        patch.setattr(
            nn.functional, "conv2d", lambda given, *rest: [seen.append(given.shape[2:]), real(given, *rest)][1]
        )
        found = conv(images.contiguous(memory_format=torch.channels_last))
    assert seen == [(40, 40)]  # before the gradient, which would end the tests
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
    found.sum().backward()
    torch.testing.assert_close(conv.weight.grad, wanted, rtol=0.02, atol=1.0)


def test_many_multiply_adds_are_computed_in_bfloat16() -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1)
    mix_convolutions(conv)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(8, 16, 12, 12)).dtype == torch.float32  # 2.7 million
        assert conv(torch.randn(8, 16, 14, 14)).dtype == torch.bfloat16  # 3.6 million


def test_a_gate_does_not_widen_the_map_that_it_multiplies() -> None:
    """As squeeze-excite: the gate's convolutions are small, the map is not."""
    conv = nn.Conv2d(16, 16, 1)
    mix_convolutions(conv)
    features = torch.randn(8, 16, 64, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        gate = conv(features.mean((2, 3), keepdim=True)).sigmoid()
    assert (features * gate).dtype == torch.bfloat16


def test_without_autocast_nothing_changes() -> None:
    plain, mixed = pair(3, 2)
    images = torch.randn(2, 16, 9, 9)
    assert torch.equal(plain(images), mixed(images))


def test_a_network_keeps_names_weights_and_results() -> None:
    network = build_network(Architecture(backbone="mobilenetv2_035", truncation=16), num_classes=3).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        mix_convolutions(network)
        found = network(images)
    mixed = [module for module in network.modules() if isinstance(module, MixedConv2d)]
    assert len(mixed) == sum(isinstance(module, nn.Conv2d) for module in network.modules()) > 50
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, groups=8),
        nn.Conv2d(8, 8, 5, groups=8, bias=False, dilation=2),
        nn.Conv2d(8, 8, 3, 2),
        nn.Conv2d(8, 8, 5, bias=False),
        nn.Conv2d(8, 16, 3, 2, groups=8, bias=False),
    ],
)
def test_only_slow_depthwise_convolutions_have_another_backward_pass(
    conv: nn.Conv2d, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_convolutions, "_FEW_MACS", 0.0)
    monkeypatch.setattr(mixed_convolutions._Mixed, "apply", pytest.fail)
    mix_convolutions(conv)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(2, 8, 9, 9)).dtype == torch.bfloat16


@pytest.mark.parametrize("padding", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}])
def test_convolutions_that_pad_otherwise_are_left_alone(padding: dict[str, Any]) -> None:
    conv = nn.Conv2d(8, 8, 3, **padding)
    mix_convolutions(conv)
    assert type(conv) is nn.Conv2d
