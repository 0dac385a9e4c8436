"""Which loss and which box coding a network is trained with: its head decides."""

from torch import nn

from trials.detections import Decoding
from trials.detections.decoding import BoxCoding
from trials.training.losses.aligned_loss import AlignedLoss, AlignedLossSettings
from trials.training.losses.anchor_assignment import ASSIGNMENTS
from trials.training.losses.anchored_loss import DetectionLoss, LossSettings

AnyLoss = DetectionLoss | AlignedLoss


def choose_coding(network: nn.Module, settings: LossSettings) -> BoxCoding:
    """Return how a network's predictions encode boxes.

    Args:
        network: With `has_anchors`.
        settings: Its assignment decides the coding of predictions with anchors.
    """
    return ASSIGNMENTS[settings.assignment].coding if network.has_anchors else "distances"


def choose_loss(
    decoding: Decoding, strides: tuple[int, ...], *, anchored: LossSettings, aligned: AlignedLossSettings
) -> AnyLoss:
    """Return the loss of a network's predictions.

    Args:
        decoding: How they are decoded.
        strides: Output strides in pixels, fine to coarse.
        anchored: The loss of predictions with anchors.
        aligned: The loss of those without.
    """
    if decoding.coding == "distances":
        return AlignedLoss(strides, num_classes=len(decoding.class_names), settings=aligned)
    return DetectionLoss(decoding.anchors, strides, anchored)
