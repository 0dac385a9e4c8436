"""Recorded passes under a stand-in for CUDA graphs, which runs the passes as the real recording does; and on a GPU."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trials.training.lightning_guard import quiet_lightning
from trials.training.recorded_passes import RecordedPasses, record_passes


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()


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


class _Training(LightningModule):
    """Trains on random images; `begun` notes when a loader is made."""

    def __init__(self, network: nn.Module, begun: list[str]) -> None:
        super().__init__()
        self.network, self._begun = network, begun

    def train_dataloader(self) -> DataLoader[Tensor]:
        self._begun.append("loader")
        images: Any = torch.zeros(4, 3, 8, 8)
        return DataLoader(images, batch_size=2)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        assert "forward" in vars(self.network)
        loss: Tensor = self.network(batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("is_bf16", [False, True])
def test_the_passes_are_recorded_once_before_a_loader_pins_memory_and_given_back(
    monkeypatch: pytest.MonkeyPatch, recordings: list[bool], is_bf16: bool, tmp_path: Path
) -> None:
    network, begun, record = _network(), list[str](), torch.cuda.make_graphed_callables

    def noted(network: Any, samples: tuple[Tensor, ...], **options: Any) -> None:
        begun.append(f"{tuple(samples[0].shape)} {samples[0].dtype} {network.training}")
        record(network, samples, **options)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", noted)
    with quiet_lightning():
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=2,
            callbacks=[RecordedPasses(network, batch_size=2, input_hw=(8, 8), is_bf16=is_bf16)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(_Training(network, begun))
    assert recordings == [is_bf16]
    assert begun == ["(2, 3, 8, 8) torch.float32 True", "loader"]
    assert "forward" not in vars(network)


def test_recording_leaves_the_norms_statistics_alone(recordings: list[bool]) -> None:
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    record_passes(network, torch.randn(2, 3, 8, 8), is_bf16=False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_nothing_is_left_to_be_freed_during_a_recording(
    monkeypatch: pytest.MonkeyPatch, recordings: list[bool]
) -> None:
    """An earlier training's graphs hold each other; freed by chance at that moment, they would make it fail."""
    left, record = nn.ReLU(), torch.cuda.make_graphed_callables
    left.itself = [left]
    held = weakref.ref(left)

    def noted(network: Any, samples: tuple[Tensor, ...], **options: Any) -> None:
        assert held() is None
        record(network, samples, **options)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", noted)
    gc.disable()
    try:
        del left
        record_passes(_network(), torch.randn(2, 3, 8, 8), is_bf16=False)
    finally:
        gc.enable()
    assert recordings == [False]


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
