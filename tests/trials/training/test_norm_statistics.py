import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tests.trials.training.tiny_network import ANCHORS, tiny_network
from trials.data.batches import ScoringBatches, collate
from trials.data.dataset import Sample
from trials.data.letterbox import as_network_input
from trials.data.shapes import ShapesSettings, make_shapes
from trials.progress import ignore_progress
from trials.scoring.network_scorer import score_network
from trials.training.checkpoint import read_checkpoint
from trials.training.norm_statistics import NormStatistics
from trials.training.settings import TrainSettings
from trials.training.train import train_network

DATASET = make_shapes(ShapesSettings(num_train=40, num_val=6, size=64, num_classes=2))
SAMPLES = DATASET.splits["train"]


def statistics(samples: tuple[Sample, ...] = SAMPLES, *, num_images: int) -> NormStatistics:
    return NormStatistics(samples, 64, num_images=num_images, num_workers=0, cache_mib=16)


def first_norm(network: nn.Module) -> nn.BatchNorm2d:
    return next(one for one in network.modules() if isinstance(one, nn.BatchNorm2d))


def images(samples: tuple[Sample, ...]) -> torch.Tensor:
    batches = ScoringBatches(samples, 64)
    return as_network_input(collate([batches[index] for index in range(len(samples))]).images)


def test_they_are_mean_and_variance_over_the_images() -> None:
    network = tiny_network(2).train()
    before = copy.deepcopy(network.state_dict())
    statistics(num_images=20).compute(network)  # one batch: every second image of forty
    conv = next(one for one in network.modules() if isinstance(one, nn.Conv2d))
    with torch.no_grad():
        features = conv(images(SAMPLES[::2]))
    norm = first_norm(network)
    torch.testing.assert_close(norm.running_mean, features.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, features.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_several_batches_count_alike() -> None:
    network = tiny_network(2).train()
    statistics(num_images=40).compute(network)  # 32 and 8
    conv = next(one for one in network.modules() if isinstance(one, nn.Conv2d))
    with torch.no_grad():
        features = conv(images(SAMPLES))
    parts = torch.stack([features[:32].mean(dim=(0, 2, 3)), features[32:].mean(dim=(0, 2, 3))])
    torch.testing.assert_close(first_norm(network).running_mean, parts.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_what_was_there_before_does_not_count() -> None:
    network, other = tiny_network(2).train(), tiny_network(2).train()
    first_norm(other).running_mean.fill_(100.0)
    for one in (network, other):
        statistics(num_images=8).compute(one)
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_frozen_norms_modes_and_momenta_stay() -> None:
    network = tiny_network(2).train()
    network.backbone.eval()
    kept = copy.deepcopy(network.backbone.state_dict())
    modes = [one.training for one in network.modules()]
    statistics(num_images=8).compute(network)
    torch.testing.assert_close(network.backbone.state_dict(), kept, rtol=0, atol=0)
    assert first_norm(network.coarser).running_mean.abs().max() > 0
    assert [one.training for one in network.modules()] == modes
    assert {one.momentum for one in network.modules() if isinstance(one, nn.BatchNorm2d)} == {0.1}


def test_a_broken_image_leaves_the_momenta_as_they_were() -> None:
    def fail() -> npt.NDArray[np.uint8]:
        raise OSError("no such image")

    network = tiny_network(2).train()
    with pytest.raises(OSError, match="no such image"):
        statistics((replace(SAMPLES[0], load=fail),), num_images=8).compute(network)
    assert first_norm(network).momentum == 0.1


@pytest.mark.parametrize("ema_decay", [0.0, 0.999])
def test_what_is_scored_is_what_is_kept(tmp_path: Path, ema_decay: float) -> None:
    settings = TrainSettings(
        epochs=2, batch_size=8, accelerator="cpu", learning_rate=2e-2, ema_decay=ema_decay, norm_images=16
    )
    network = tiny_network(2)
    result = train_network(
        network,
        dataset=DATASET,
        anchors=ANCHORS,
        input_size=64,
        settings=settings,
        report=ignore_progress,
        work_dir=tmp_path,
    )
    again = score_network(network, DATASET.splits["val"], decoding=read_checkpoint(result.checkpoint).decoding)
    assert again.ap == pytest.approx(result.ap, abs=1e-6)
    kept = first_norm(network).running_mean.clone()
    statistics(num_images=16).compute(network.train())
    torch.testing.assert_close(first_norm(network).running_mean, kept, rtol=1e-4, atol=1e-5)
