import copy

import pytest
import torch
from torch import nn

from spaces import Architecture
from spaces.networks import build_network
from trials.training.mixed_depthwise import MixedDepthwiseConv2d, mix_depthwise


def pair(kernel: int, stride: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(kernel)
    plain = nn.Conv2d(16, 16, kernel, stride, kernel // 2, groups=16, bias=False)
    mixed = copy.deepcopy(plain)
    mix_depthwise(mixed)
    return plain, mixed


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 1), (7, 1), (8, 2)])
def test_values_and_gradients_are_those_of_the_convolution_it_was(kernel: int, stride: int) -> None:
    plain, mixed = pair(kernel, stride)
    assert isinstance(mixed, MixedDepthwiseConv2d)
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
        mix_depthwise(network)
        found = network(images)
    mixed = [module for module in network.modules() if isinstance(module, MixedDepthwiseConv2d)]
    assert [(one.kernel_size, one.stride) for one in mixed] == [((3, 3), (2, 2))] * 4 + [((5, 5), (1, 1))]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_other_convolutions_are_left_alone() -> None:
    for conv in (
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, groups=8),
        nn.Conv2d(8, 8, 5, groups=8, bias=False, dilation=2),
        nn.Conv2d(8, 8, 3, 2),
        nn.Conv2d(8, 8, 5, bias=False),
        nn.Conv2d(8, 16, 3, 2, groups=8, bias=False),
    ):
        mix_depthwise(conv)
        assert type(conv) is nn.Conv2d
