"""Trains the shared weights of a space on a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from spaces import Architecture
from spaces.networks import YoloReT
from spaces.networks.shared_weights import SharedWeights, share
from spaces.space import Space
from spaces.weights import load_pretrained
from trials.data import Dataset
from trials.one_shot.detector import OneShotDetector
from trials.one_shot.losses import Losses
from trials.one_shot.sandwich import largest_of_each_kind, sandwich
from trials.progress import Report
from trials.training.data_module import DetectionData, choose_num_workers, count_steps
from trials.training.detection_module import initialise_prediction_bias
from trials.training.epoch_reports import EpochRecord, EpochReports
from trials.training.last_checkpoint import LastCheckpoint, find_last
from trials.training.lightning_guard import named_errors, quiet_lightning
from trials.training.optimiser import OptimiserFactory
from trials.training.settings import NumberFormat, TrainSettings
from trials.training.train import (
    Pauses,
    choose_precision,
    describe_machine,
    make_trainer,
    mean_objects,
    uses_gpu,
)
from trials.training.weight_average import WeightAverage


@dataclass(frozen=True, kw_only=True)
class SharedTraining:
    """The result of training shared weights."""

    weights: SharedWeights
    """On the CPU, averaged if the settings say so."""
    history: tuple[EpochRecord, ...]
    """Epoch from 1 and mean loss."""
    precision: NumberFormat
    """The number format of its steps."""
    trained_on: str
    """The processor of its steps, and the processes that loaded its images."""
    seconds_train: float
    """Time of the training steps, those before an interruption too."""
    seconds_aside: float
    """Time of `between_steps`."""


def train_shared(
    space: Space,
    *,
    dataset: Dataset,
    losses: Losses,
    settings: TrainSettings,
    report: Report,
    work_dir: Path,
    between_steps: Callable[[], None] = lambda: None,
) -> SharedTraining:
    """Train the weights that the networks of a space share, from where an interrupted training stopped.

    Each batch is augmented at the largest input size, and shrunk for networks of smaller ones. On a CPU the same seed and
    settings give the same result.

    Args:
        space: One that `check_shareable` accepts.
        dataset: Split `train` is used.
        losses: Of the networks.
        settings: How to train; nothing is scored.
        report: Called with the progress.
        work_dir: An existing folder for `last.ckpt`.
        between_steps: Called before each training step.

    Raises:
        TrainingError: memory ran out, the loss was not finite, or `last.ckpt` cannot be used.
        WeightsError: ImageNet weights that the space begins with are unavailable.
    """
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    torch.manual_seed(settings.seed)
    weights, pretrained = _initialise(space, dataset)
    is_gpu = uses_gpu(settings)
    precision, num_workers = choose_precision(settings, is_gpu=is_gpu), choose_num_workers(settings, is_gpu=is_gpu)
    sizes = [int(value) for value in space.values("input_size")]
    input_hw = max(skeleton.replace(input_size=max(sizes)).input_hw for skeleton in space.skeletons)
    data = DetectionData(dataset, input_hw, settings=settings, num_workers=num_workers)
    steps = count_steps(len(dataset.splits["train"]), settings)
    weights.to(memory_format=torch.channels_last).train()
    detector = OneShotDetector(
        weights,
        draw=sandwich(space, seed=settings.seed),
        losses=losses,
        make_optimiser=OptimiserFactory(settings=settings, steps_per_epoch=steps, pretrained=pretrained),
        clip_norm=settings.clip_norm,
        mixes_convolutions=not is_gpu,
    )
    reports, pauses = EpochReports(report), Pauses(between_steps)
    callbacks: list[Callback] = [WeightAverage(settings.ema_decay)] if settings.ema_decay else []
    callbacks += [pauses, reports, LastCheckpoint(work_dir, data=dataset.fingerprint)]
    with quiet_lightning(), named_errors(settings.batch_size):
        trainer = make_trainer(
            settings, callbacks, is_gpu=is_gpu, precision=precision, work_dir=work_dir, limit_val_batches=0
        )
        trainer.fit(
            detector, datamodule=data, ckpt_path=find_last(work_dir, data=dataset.fingerprint), weights_only=True
        )
    return SharedTraining(
        weights=weights.cpu().eval(),
        history=tuple(reports.record.history),
        precision=precision,
        trained_on=describe_machine(is_gpu=is_gpu, num_workers=num_workers),
        seconds_train=reports.record.seconds_train - pauses.seconds,
        seconds_aside=pauses.seconds,
    )


def _initialise(space: Space, dataset: Dataset) -> tuple[SharedWeights, Sequence[nn.Module]]:
    """Return shared weights before their training, and their modules that start from ImageNet."""

    def prepare(network: YoloReT, architecture: Architecture) -> None:
        initialise_prediction_bias(
            network,
            num_classes=len(dataset.class_names),
            objects_per_image=mean_objects(dataset),
            input_hw=architecture.input_hw,
        )

    kinds = largest_of_each_kind(space)
    weights = share(kinds, num_classes=len(dataset.class_names), prepare=prepare)
    deepest = max(kinds, key=lambda one: one.truncation)
    return weights, load_pretrained(weights.network(deepest).network, deepest)
