"""Datasets and batches of images for training and scoring.

Legend: B batch, H W height and width of the network's input, M boxes of a whole batch, N boxes of one image.

Both datasets work with any number of ``DataLoader`` workers; use none on a CPU that also trains. Decoded images are cached
in memory up to a limit, once for all workers of a loader.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trials.data.augmentation import AugmentSettings, Labelled, augment, augment_mosaic, calm
from trials.data.dataset import Sample
from trials.data.images.image_cache import START_METHOD, ImageCache
from trials.data.images.letterbox import fit_letterbox, letterbox, letterbox_boxes
from trials.parent_death import end_with_parent

DEFAULT_CACHE_MIB = 1024
"""Memory for decoded images, over all workers of one loader."""

_MAX_KEPT_SCALE = 1.5  # cached images are at most this much larger than the network's input: more detail adds little


class Item(NamedTuple):
    """One image with its boxes."""

    image: Tensor
    """(3, H, W) uint8 RGB."""
    boxes: Tensor
    """(N, 4) float32 xyxy, pixels of the input."""
    labels: Tensor
    """(N,) int64."""
    ignored: Tensor
    """(N,) bool."""
    sample_index: int
    """Index of its sample in the dataset."""


class Batch(NamedTuple):
    """A batch of images with their boxes."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB, letterboxed; see `trials.data.images.letterbox.normalise`."""
    boxes: Tensor
    """(M, 4) float32 xyxy, pixels of the H×W image."""
    labels: Tensor
    """(M,) int64."""
    image_index: Tensor
    """(M,) int64: which image of the batch each box belongs to, ascending."""
    ignored: Tensor
    """(M,) bool: excluded from training and scoring."""
    sample_index: Tensor
    """(B,) int64: index of each image's sample in the dataset."""


def collate(items: Sequence[Item]) -> Batch:
    """Join items into a batch; a batch without any box is legal."""
    counts = torch.tensor([len(item.labels) for item in items])
    return Batch(
        images=torch.stack([item.image for item in items]),
        boxes=torch.cat([item.boxes for item in items]),
        labels=torch.cat([item.labels for item in items]),
        image_index=torch.repeat_interleave(torch.arange(len(items)), counts),
        ignored=torch.cat([item.ignored for item in items]),
        sample_index=torch.tensor([item.sample_index for item in items]),
    )


class TrainingBatches(Dataset[Item]):
    """Samples, augmented at random for training.

    An item depends on (seed, epoch, index) alone, not on the number of workers.

    Args:
        samples: The training split.
        input_hw: H, W, pixels.
        augmentation: How strongly images are augmented.
        calm_from: Epoch, from 0, from which they are augmented less (`trials.data.augmentation.calm`); None for never.
        seed: Non-negative.
        cache_mib: Memory for decoded images, over all workers together; 0 for no cache. Cached images are at most 1.5
            times as large as their place in the input.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        input_hw: tuple[int, int],
        *,
        augmentation: AugmentSettings,
        calm_from: int | None = None,
        seed: int = 0,
        cache_mib: int = DEFAULT_CACHE_MIB,
    ) -> None:
        self._samples = samples
        self._input_hw = input_hw
        self._augmentation = augmentation
        self._calm, self._calm_from = calm(augmentation), calm_from
        self._seed = seed
        self._most_scale = min(_MAX_KEPT_SCALE, max(1.0, augmentation.scale[1]))
        shapes = [(*self._kept_hw(sample.size_hw), 3) for sample in samples]
        self._cache = ImageCache(shapes, cache_mib)
        # in shared memory, so that persistent workers see the new epoch
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def set_epoch(self, epoch: int) -> None:
        """Select the random augmentation of an epoch; call it before each epoch."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Item:
        epoch = int(self._epoch)
        is_calm = self._calm_from is not None and epoch >= self._calm_from
        settings = self._calm if is_calm else self._augmentation
        rng = np.random.default_rng((self._seed, epoch, index))
        if rng.uniform() < settings.mosaic:
            chosen = rng.permutation(np.append(rng.integers(len(self._samples), size=3), index))
            parts = [self._load(int(one)) for one in chosen]
            return _to_item(augment_mosaic(parts, self._input_hw, settings=settings, rng=rng), index)
        return _to_item(augment(self._load(index), self._input_hw, settings=settings, rng=rng), index)

    def _load(self, index: int) -> Labelled:
        sample = self._samples[index]
        image = self._cache.get(index, lambda: self._shrink(sample.load()))
        ratio_y, ratio_x = (kept / whole for kept, whole in zip(image.shape[:2], sample.size_hw, strict=True))
        boxes = sample.boxes * np.array([ratio_x, ratio_y, ratio_x, ratio_y], np.float32)
        return Labelled(image, boxes, sample.labels, sample.ignored)

    def _shrink(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        size_hw = image.shape[0], image.shape[1]
        height, width = self._kept_hw(size_hw)
        if (height, width) == size_hw:
            return image
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    def _kept_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return height and width in the cache of an image of a size."""
        scale = min(1.0, fit_letterbox(size_hw, self._input_hw).scale * self._most_scale)
        return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


class ScoringBatches(Dataset[Item]):
    """Samples without augmentation, letterboxed from the full image.

    Args:
        samples: The split to score.
        input_hw: H, W, pixels.
        cache_mib: Memory for letterboxed images, over all workers together; 0 for no cache.
    """

    def __init__(
        self, samples: Sequence[Sample], input_hw: tuple[int, int], *, cache_mib: int = DEFAULT_CACHE_MIB
    ) -> None:
        self._samples = samples
        self._input_hw = input_hw
        self._cache = ImageCache([(*input_hw, 3)] * len(samples), cache_mib)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Item:
        sample = self._samples[index]
        image = self._cache.get(index, lambda: letterbox(sample.load(), self._input_hw)[0])
        boxes = letterbox_boxes(sample.boxes, fit_letterbox(sample.size_hw, self._input_hw))
        return _to_item(Labelled(image, boxes, sample.labels, sample.ignored), index)


def scoring_loader(
    samples: Sequence[Sample], input_hw: tuple[int, int], *, batch_size: int, cache_mib: int, num_workers: int = 0
) -> DataLoader[Item]:
    """Return the batches of a split for scoring, in the order of its samples.

    Args:
        samples: The split.
        input_hw: H, W, pixels.
        batch_size: Images of a batch.
        cache_mib: As for `ScoringBatches`.
        num_workers: Processes that prepare images, 0 for none.
    """
    return DataLoader(
        ScoringBatches(samples, input_hw, cache_mib=cache_mib),
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=START_METHOD if num_workers else None,
        worker_init_fn=end_with_parent,
    )


def _to_item(labelled: Labelled, sample_index: int) -> Item:
    return Item(
        image=torch.from_numpy(np.ascontiguousarray(labelled.image.transpose(2, 0, 1))),
        boxes=torch.from_numpy(labelled.boxes),
        labels=torch.from_numpy(labelled.labels),
        ignored=torch.from_numpy(labelled.ignored),
        sample_index=sample_index,
    )
