"""How the maps of a space's networks are decoded, and their losses: both depend on head, output strides and input size."""

import torch
from torch import nn

from trials.data import Dataset
from trials.detections import Decoding, choose_anchors
from trials.training.losses.choose import AnyLoss, choose_coding, choose_loss
from trials.training.settings import TrainSettings

_Kind = tuple[bool, tuple[int, ...], tuple[int, int]]


class Losses:
    """Decodings and losses of networks, each made once.

    Args:
        dataset: Anchors are fitted to its training split.
        settings: The settings of both kinds of loss.
    """

    def __init__(self, dataset: Dataset, settings: TrainSettings) -> None:
        self._dataset, self._settings = dataset, settings
        self._decodings: dict[_Kind, Decoding] = {}
        self._losses: dict[_Kind, AnyLoss] = {}

    def decoding(self, network: nn.Module, *, input_hw: tuple[int, int]) -> Decoding:
        """Return how a network's maps are decoded."""
        kind = _kind(network, input_hw)
        if kind not in self._decodings:
            self._decodings[kind] = Decoding(
                anchors=choose_anchors(network, self._dataset.splits["train"], input_hw=input_hw),
                coding=choose_coding(network, self._settings.loss),
                class_names=self._dataset.class_names,
                input_hw=input_hw,
            )
        return self._decodings[kind]

    def loss(self, network: nn.Module, *, input_hw: tuple[int, int], device: torch.device) -> AnyLoss:
        """Return the loss of a network's maps on a device."""
        kind = _kind(network, input_hw)
        if kind not in self._losses:
            decoding = self.decoding(network, input_hw=input_hw)
            settings = self._settings
            self._losses[kind] = choose_loss(decoding, kind[1], anchored=settings.loss, aligned=settings.aligned_loss)
        return self._losses[kind].to(device)


def _kind(network: nn.Module, input_hw: tuple[int, int]) -> _Kind:
    return bool(network.has_anchors), tuple(network.output_strides), input_hw  # type: ignore[arg-type]
