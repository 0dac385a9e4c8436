"""Detections collected batch by batch, then scored.

Legend: B batch, A anchors a cell, K classes, H W grid of one stride.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trials.data import Sample
from trials.data.batches import scoring_loader
from trials.data.images.letterbox import as_network_input, fit_letterbox
from trials.detections import Decoding, Detections, DetectionSettings, select_detections
from trials.detections.decoding import anchors_tensor, decode_maps
from trials.detections.nms import unletterbox_detections
from trials.scoring.average_precision import Scores, score_detections
from trials.scoring.without_tf32 import without_tf32


class DetectionScorer:
    """Collects the detections in a split batch by batch, then scores them, like a metric of torchmetrics.

    Args:
        samples: The split.
        decoding: How the network's maps are decoded.
        strides: Output strides in pixels, fine to coarse.
    """

    def __init__(self, samples: Sequence[Sample], decoding: Decoding, *, strides: Sequence[int]) -> None:
        self._samples = samples
        self._decoding = decoding
        self._strides = strides
        self._anchors = anchors_tensor(decoding.anchors)
        self._settings = DetectionSettings()
        self._found: dict[int, Detections] = {}

    @property
    def found(self) -> Mapping[int, Detections]:
        """The detections so far, in original pixels and on the CPU, by the sample's index in the split."""
        return self._found

    def reset(self) -> None:
        """Forget all detections."""
        self._found.clear()

    def update(self, raw_maps: Sequence[Tensor], sample_index: Tensor) -> None:
        """Add the detections of a batch, in original pixels and on the CPU.

        Args:
            raw_maps: One (B, A·V, H, W) of logits for each stride, fine to coarse; V as in `trials.detections.decoding`.
            sample_index: (B,) int64, each image's index in the split.
        """
        anchors = self._anchors.to(raw_maps[0].device)
        predictions = decode_maps(
            raw_maps,
            anchors,
            strides=self._strides,
            coding=self._decoding.coding,
            num_classes=len(self._decoding.class_names),
        )
        for index, one in zip(sample_index.tolist(), select_detections(predictions, self._settings), strict=True):
            size_hw = self._samples[index].size_hw
            on_cpu = Detections(boxes=one.boxes.cpu(), scores=one.scores.cpu(), labels=one.labels.cpu())
            place = fit_letterbox(size_hw, self._decoding.input_hw)
            self._found[index] = unletterbox_detections(on_cpu, place, size_hw=size_hw)

    def compute(self) -> Scores:
        """Score the samples that were added."""
        samples = [self._samples[index] for index in self._found]
        return score_detections(list(self._found.values()), samples, class_names=self._decoding.class_names)


def score_network(network: nn.Module, samples: Sequence[Sample], *, decoding: Decoding, batch_size: int = 16) -> Scores:
    """Score a network on a split, in float32 and on the device it is on.

    Args:
        network: With `output_strides`; left in evaluation mode.
        samples: The split.
        decoding: How its maps are decoded, as in its checkpoint.
        batch_size: Images at once.
    """
    return _run(network, samples, decoding=decoding, batch_size=batch_size).compute()


def detect(network: nn.Module, samples: Sequence[Sample], *, decoding: Decoding) -> list[Detections]:
    """Return the detections in each sample, in its pixels, that scoring would count; arguments as for `score_network`."""
    found = _run(network, samples, decoding=decoding, batch_size=len(samples)).found
    return [found[index] for index in range(len(samples))]


def _run(network: nn.Module, samples: Sequence[Sample], *, decoding: Decoding, batch_size: int) -> DetectionScorer:
    device = next(network.parameters()).device
    strides: tuple[int, ...] = network.output_strides  # type: ignore[assignment]
    scorer = DetectionScorer(samples, decoding, strides=strides)
    network.eval()
    with without_tf32(), torch.inference_mode():
        for batch in scoring_loader(samples, decoding.input_hw, batch_size=batch_size, cache_mib=0):
            scorer.update(network(as_network_input(batch.images.to(device))), batch.sample_index)
    return scorer
