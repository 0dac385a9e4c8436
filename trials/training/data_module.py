"""Lightning's data module; the order of training images depends on seed and epoch alone."""

import os
from collections.abc import Iterator

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from trials.data import Dataset
from trials.data.batches import Item, TrainingBatches, collate, scoring_loader
from trials.data.images.image_cache import START_METHOD
from trials.parent_death import end_with_parent
from trials.training.settings import TrainSettings

_MAX_WORKERS = 8  # one core prepares several hundred images a second


class DetectionData(LightningDataModule):
    """Builds the loaders of the training and the validation split.

    Args:
        dataset: Its splits `train` and `val` are used.
        input_hw: Height and width of the network's input, pixels.
        settings: Batch size, augmentation, seed, workers and memory.
        num_workers: Processes that prepare images, 0 for none.
    """

    def __init__(
        self, dataset: Dataset, input_hw: tuple[int, int], *, settings: TrainSettings, num_workers: int
    ) -> None:
        super().__init__()
        self._dataset = dataset
        self._input_hw = input_hw
        self._settings = settings
        self._num_workers = num_workers

    def train_dataloader(self) -> DataLoader[Item]:
        """Return the training batches, shuffled and augmented differently each epoch."""
        settings = self._settings
        batches = TrainingBatches(
            self._dataset.splits["train"],
            self._input_hw,
            augmentation=settings.augmentation,
            calm_from=max(0, settings.epochs - settings.calm_epochs),
            seed=settings.seed,
            cache_mib=settings.cache_mib,
        )
        sampler = _EpochSampler(batches, seed=settings.seed)
        if self.trainer is not None:  # Lightning sets the epoch too, but too late for workers of a resumed training
            sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        return DataLoader(
            batches,
            batch_size=settings.batch_size,
            sampler=sampler,
            collate_fn=collate,
            drop_last=len(batches) >= settings.batch_size,  # a last batch of one image would have no batch statistics
            num_workers=self._num_workers,
            persistent_workers=self._num_workers > 0,
            multiprocessing_context=START_METHOD if self._num_workers else None,
            worker_init_fn=end_with_parent,
            pin_memory=torch.cuda.is_available() and self._num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Item]:
        """Return the validation batches."""
        return scoring_loader(
            self._dataset.splits["val"],
            self._input_hw,
            batch_size=self._settings.batch_size,
            cache_mib=self._settings.cache_mib,
            num_workers=self._num_workers,
        )


class _EpochSampler(Sampler[int]):
    """Shuffles each epoch differently; Lightning calls `set_epoch`, which also sets the dataset's augmentation."""

    def __init__(self, batches: TrainingBatches, *, seed: int) -> None:
        self._batches = batches
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(torch.randperm(len(self._batches), generator=order).tolist())


def choose_num_workers(settings: TrainSettings, *, is_gpu: bool) -> int:
    """Return the number of processes that prepare images: none on a CPU, which trains at the same time."""
    if settings.num_workers >= 0:
        return settings.num_workers
    cores = settings.num_threads or len(os.sched_getaffinity(0))
    return min(_MAX_WORKERS, max(1, cores - 1)) if is_gpu else 0


def count_steps(num_samples: int, settings: TrainSettings) -> int:
    """Return the number of optimiser steps of an epoch."""
    return max(1, num_samples // settings.batch_size)
