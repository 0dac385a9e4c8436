"""Recorded passes under a stand-in for CUDA graphs, which runs the passes as the real recording does; and on a GPU."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trials.data.batches import Batch
from trials.training.recorded_passes import RecordedPasses, record_passes


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()


def _batch(device: str = "cpu") -> Batch:
    none = torch.zeros(0, dtype=torch.int64, device=device)
    images = torch.randint(0, 255, (2, 3, 8, 8), dtype=torch.uint8, device=device)
    return Batch(images, torch.zeros(0, 4, device=device), none, none, none.bool(), torch.arange(2, device=device))


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Stand in for the recording; the list holds, for each, whether autocast was on."""
    found: list[bool] = []

    def record(network: Any, samples: tuple[Tensor, ...], *, allow_unused_input: bool) -> None:
        assert not torch.is_autocast_cache_enabled()
        network(*samples)  # changes the statistics, as the real one does
        found.append(torch.is_autocast_enabled("cpu"))
        network.forward = network.forward

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    return found


@pytest.mark.parametrize("is_bf16", [False, True])
def test_the_passes_are_recorded_once_and_given_back(recordings: list[bool], is_bf16: bool) -> None:
    network, nobody = _network(), SimpleNamespace()
    recorder: Any = RecordedPasses(network, is_bf16=is_bf16)
    for step in range(3):
        recorder.on_train_batch_start(nobody, nobody, _batch(), step)
    assert recordings == [is_bf16]
    assert "forward" in vars(network)
    recorder.on_train_end(nobody, nobody)
    assert "forward" not in vars(network)


def test_recording_leaves_the_norms_statistics_alone(recordings: list[bool]) -> None:
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    record_passes(network, torch.randn(2, 3, 8, 8), is_bf16=False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.gpu
def test_recorded_passes_train_as_single_launches_do() -> None:
    def train(prepare: Callable[[nn.Module, Tensor], None]) -> dict[str, Tensor]:
        network, images = _network().cuda(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).cuda()
        prepare(network, images)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(3):
            network(images).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
        return network.state_dict()

    recorded = train(lambda network, images: record_passes(network, images, is_bf16=False))
    for name, value in train(lambda network, images: None).items():
        torch.testing.assert_close(recorded[name], value, rtol=1e-4, atol=1e-5)
