"""Scores a network on a split: forward, suppression, and back to original pixels."""

import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader

from trials.data.batches import Item, ScoringBatches, collate
from trials.data.dataset import Sample
from trials.data.letterbox import as_network_input, fit_letterbox
from trials.detections.boxes import anchors_tensor, decode_maps
from trials.detections.decoding import Decoding
from trials.detections.nms import Detections, DetectionSettings, select_detections, unletterbox_detections
from trials.progress import REPORT_EVERY_S, Progress, Report, ignore_progress
from trials.scoring.average_precision import Scores, score_detections


class NetworkScorer:
    """Scores networks on one split, keeping its letterboxed images from one scoring to the next.

    Args:
        samples: The split.
        decoding: How maps are read.
        batch_size: Images at once.
        num_workers: Processes that prepare images, 0 for none.
        cache_mib: Memory for letterboxed images, MiB.
        settings: Which detections are kept.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        decoding: Decoding,
        *,
        batch_size: int = 16,
        num_workers: int = 0,
        cache_mib: int = 0,
        settings: DetectionSettings | None = None,
    ) -> None:
        self._samples = samples
        self._decoding = decoding
        self._settings = settings or DetectionSettings()
        self._loader: DataLoader[Item] = DataLoader(
            ScoringBatches(samples, decoding.input_size, cache_mib=cache_mib),
            batch_size=batch_size,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
        )

    def score(self, network: nn.Module, report: Report = ignore_progress) -> Scores:
        """Score a network where it is, in float32; it is left in evaluation mode.

        Args:
            network: With `output_strides`.
            report: Told how many images are done; its answers are not heeded.
        """
        found = self.detect(network, report)
        return score_detections(found, self._samples, class_names=self._decoding.class_names)

    def detect(self, network: nn.Module, report: Report = ignore_progress) -> list[Detections]:
        """Give each sample's detections in original pixels, on the CPU."""
        device = next(network.parameters()).device
        anchors = anchors_tensor(self._decoding.anchors).to(device)
        strides: tuple[int, ...] = network.output_strides  # type: ignore[assignment]
        found: list[Detections] = []
        last_report = time.monotonic()
        network.eval()
        with torch.inference_mode():
            for batch in self._loader:
                maps = network(as_network_input(batch.images.to(device)))
                predictions = decode_maps(maps, anchors, strides=strides, coding=self._decoding.coding)
                for one in select_detections(predictions, self._settings):
                    found.append(self._to_original(one, self._samples[len(found)]))
                if time.monotonic() - last_report >= REPORT_EVERY_S:
                    last_report = time.monotonic()
                    report(Progress(phase="score", step=len(found), num_steps=len(self._samples)))
        return found

    def _to_original(self, one: Detections, sample: Sample) -> Detections:
        on_cpu = Detections(boxes=one.boxes.cpu(), scores=one.scores.cpu(), labels=one.labels.cpu())
        place = fit_letterbox(sample.size_hw, self._decoding.input_size)
        return unletterbox_detections(on_cpu, place, size_hw=sample.size_hw)


def score_network(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    decoding: Decoding,
    batch_size: int = 16,
    num_workers: int = 0,
    settings: DetectionSettings | None = None,
    report: Report = ignore_progress,
) -> Scores:
    """Score a network on a split, once, on the device it is on.

    Args:
        network: With `output_strides`; left in evaluation mode.
        samples: The split.
        decoding: How its maps are read, as in its checkpoint.
        batch_size: Images at once.
        num_workers: Processes that prepare images, 0 for none.
        settings: Which detections are kept; None for scoring's own.
        report: Told how many images are done.
    """
    scorer = NetworkScorer(samples, decoding, batch_size=batch_size, num_workers=num_workers, settings=settings)
    return scorer.score(network, report)
