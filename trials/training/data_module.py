"""The training split as batches, in an order that follows from seed and epoch alone."""

import os

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from trials.data.batches import Item, TrainingBatches, collate
from trials.data.dataset import Sample
from trials.training.settings import TrainSettings

_MAX_WORKERS = 8  # a device; one core prepares several hundred images a second


class TrainingData(LightningDataModule):
    """Makes the loader in the process that trains, which knows its place among the others.

    Args:
        samples: The training split.
        input_size: Side of the square images, pixels.
        settings: Batch size, augmentation, seed, workers and memory.
        num_workers: Processes that prepare images, 0 for none.
    """

    def __init__(
        self, samples: tuple[Sample, ...], input_size: int, *, settings: TrainSettings, num_workers: int
    ) -> None:
        super().__init__()
        self._samples = samples
        self._input_size = input_size
        self._settings = settings
        self._num_workers = num_workers

    def train_dataloader(self) -> DataLoader[Item]:
        """Give the loader of this process's share."""
        settings = self._settings
        batches = TrainingBatches(
            self._samples,
            self._input_size,
            augmentation=settings.augmentation,
            seed=settings.seed,
            cache_mib=settings.cache_mib // settings.devices,
        )
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batch_size = settings.batch_size // world_size
        return DataLoader(
            batches,
            batch_size=batch_size,
            sampler=_EpochSampler(batches, num_replicas=world_size, rank=rank, seed=settings.seed),
            collate_fn=collate,
            drop_last=len(batches) >= settings.batch_size,  # a last batch of one image has no batch statistics
            num_workers=self._num_workers,
            persistent_workers=self._num_workers > 0,
            pin_memory=torch.cuda.is_available() and self._num_workers > 0,
        )


class _EpochSampler(DistributedSampler[Item]):
    """Shuffles anew each epoch, and tells the dataset which epoch it is; Lightning calls `set_epoch`."""

    dataset: TrainingBatches

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.dataset.set_epoch(epoch)


def choose_num_workers(settings: TrainSettings, *, is_gpu: bool) -> int:
    """Give the processes that prepare images for one device: none on a CPU, which trains at the same time."""
    if settings.num_workers >= 0:
        return settings.num_workers
    cores = os.cpu_count() or 1
    return min(_MAX_WORKERS, max(1, cores // settings.devices - 1)) if is_gpu else 0


def count_steps(num_samples: int, settings: TrainSettings) -> int:
    """Give the optimiser steps of an epoch."""
    return max(1, num_samples // settings.batch_size)
