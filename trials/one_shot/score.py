"""Scores networks that are taken out of shared weights, without training them."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader

from spaces import Architecture
from spaces.networks import YoloReT
from spaces.networks.shared_weights import SharedWeights
from trials.data import Dataset, Sample
from trials.data.batches import Item, scoring_loader
from trials.data.images.letterbox import as_network_input
from trials.one_shot.losses import Losses
from trials.scoring import DetectionScorer, Scores, without_tf32
from trials.training.settings import TrainSettings
from trials.training.train import uses_gpu

_BATCH_SIZE = 16
_MAX_IMAGES = 128
"""Training images whose statistics batch norms get."""


class SharedScorer:
    """Scores networks on the validation split; images are decoded once for networks of one size in a row.

    Args:
        weights: Trained ones.
        dataset: Batch norms get the statistics of its training split.
        losses: Which say how the maps are decoded.
        settings: Which say whether networks run on a GPU, and how much memory the decoded images of a split get.
    """

    def __init__(self, weights: SharedWeights, dataset: Dataset, losses: Losses, settings: TrainSettings) -> None:
        self._weights, self._dataset, self._losses = weights, dataset, losses
        self._cache_mib = settings.cache_mib
        self._loaders: dict[tuple[str, tuple[int, int]], DataLoader[Item]] = {}
        self._device = torch.device("cuda" if uses_gpu(settings) else "cpu")

    def take_out(self, architecture: Architecture) -> YoloReT:
        """Return a network with copies of its shared values and the statistics of its own features, on the CPU."""
        network = self._weights.extract(architecture)
        self._measure_statistics(network, architecture.input_hw)
        return network.cpu()

    def score(self, architecture: Architecture) -> Scores:
        """Score a network as it is taken out."""
        network, input_hw = self._weights.extract(architecture), architecture.input_hw
        self._measure_statistics(network, input_hw)
        decoding = self._losses.decoding(network, input_hw=input_hw)
        scorer = DetectionScorer(self._dataset.splits["val"], decoding, strides=network.output_strides)
        with without_tf32(), torch.inference_mode():
            for batch in self._loader("val", input_hw):
                scorer.update(network(as_network_input(batch.images.to(self._device))), batch.sample_index)
        return scorer.compute()

    def _measure_statistics(self, network: YoloReT, input_hw: tuple[int, int]) -> None:
        """Give batch norms the mean statistics of training batches, which no other network of the space shares."""
        network.to(self._device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        with torch.no_grad():
            for batch in self._loader("train", input_hw):
                network(as_network_input(batch.images.to(self._device)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()

    def _loader(self, split: str, input_hw: tuple[int, int]) -> "DataLoader[Item]":
        if (split, input_hw) not in self._loaders:
            # The memory is for one size: a space has many.
            self._loaders = {key: loader for key, loader in self._loaders.items() if key[1] == input_hw}
            samples: Sequence[Sample] = self._dataset.splits[split]
            if split == "train":
                samples = _for_statistics(samples)
            self._loaders[split, input_hw] = scoring_loader(
                samples, input_hw, batch_size=_BATCH_SIZE, cache_mib=self._cache_mib
            )
        return self._loaders[split, input_hw]


def _for_statistics(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return evenly spread samples in whole batches: a last batch of one image would have no statistics of its own."""
    some = samples[:: -(-len(samples) // _MAX_IMAGES)]
    whole = some[: len(some) - len(some) % _BATCH_SIZE]
    return whole or (*some, *some)
