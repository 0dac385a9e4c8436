"""Trains a network on a dataset and scores it."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from trials.data import Dataset
from trials.data.trainable import why_untrainable
from trials.detections import Anchors, Decoding
from trials.gpus import find_gpus
from trials.progress import Report
from trials.scoring import DetectionScorer
from trials.training.checkpoint import CHECKPOINT_FILE, write_checkpoint
from trials.training.data_module import DetectionData, choose_num_workers, count_steps
from trials.training.detection_module import DetectionModule, initialise_prediction_bias
from trials.training.epoch_reports import EpochRecord, EpochReports, TrainRecord
from trials.training.errors import TrainingError
from trials.training.inheritance import inherit_weights
from trials.training.last_checkpoint import LastCheckpoint, find_last
from trials.training.lightning_guard import named_errors, quiet_lightning
from trials.training.losses.choose import choose_coding, choose_loss
from trials.training.mixed_convolutions import mix_convolutions
from trials.training.optimiser import OptimiserFactory
from trials.training.recorded_passes import RecordedPasses
from trials.training.settings import NumberFormat, TrainSettings
from trials.training.weight_average import WeightAverage

_TRAINER_PRECISION: dict[NumberFormat, Literal["32-true", "bf16-mixed"]] = {"fp32": "32-true", "bf16": "bf16-mixed"}
"""Lightning's words for the number formats."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a training."""

    state: Literal["complete", "pruned"]
    """Pruned if a report stopped it before the last epoch."""
    decoding: Decoding
    """How the network's maps are decoded."""
    ap: float
    """AP@[.5:.95] on the validation split, 0 to 1, of the last scored epoch, which is the last epoch if complete."""
    ap50: float
    """AP at IoU 0.5, likewise."""
    per_class_ap: Mapping[str, float]
    """Class name to AP@[.5:.95], without classes that have no validation object."""
    epochs: int
    """Finished epochs."""
    precision: NumberFormat
    """The number format of its steps."""
    trained_on: str
    """The processor of its steps, and the processes that loaded its images."""
    inherited: float
    """Share of the network's values that were inherited, 0 to 1."""
    history: tuple[EpochRecord, ...]
    """Epoch from 1, mean loss, AP and AP50 (None where not scored)."""
    seconds_train: float
    """Time of the training steps."""
    seconds_score: float
    """Time of the scorings."""
    seconds_aside: float
    """Time of `between_steps`."""
    seconds_before: float
    """Time of steps, scorings and `between_steps` before an interruption, which the three others count."""


def train_network(
    network: nn.Module,
    *,
    dataset: Dataset,
    anchors: Anchors,
    input_hw: tuple[int, int],
    settings: TrainSettings,
    report: Report,
    work_dir: Path,
    resume: bool = False,
    parent: Mapping[str, Tensor] | None = None,
    pretrained: Sequence[nn.Module] = (),
    between_steps: Callable[[], None] = lambda: None,
) -> TrainResult:
    """Train a network in place, score it, and write its weights.

    On a CPU the same seed, settings and initial weights give the same result.

    Args:
        network: With `output_strides` and `has_anchors`, and `prediction_convs` where it has them; afterwards it holds the
            final weights, in evaluation mode.
        dataset: Splits `train` and `val` are used.
        anchors: Of `choose_anchors` at `input_hw`.
        input_hw: Height and width of the network's input, pixels.
        settings: How to train.
        report: Called with the progress; False at a score stops the training.
        work_dir: An existing folder for the final weights (`checkpoint.pt`, averaged if the settings say so; see
            `read_checkpoint`), and for `last.ckpt` if the settings are resumable.
        resume: Whether to resume from `last.ckpt` if it exists and is of this dataset.
        parent: Weights of a network that was trained on this data; those that fit are inherited, the others stay as given.
        pretrained: Modules of the network that start from ImageNet weights; they learn at the settings' `transfer_rate`, and
            are frozen in its `frozen_epochs`.
        between_steps: Called before each training step; the time it takes does not count as training.

    Raises:
        TrainingError: A split has no objects; PyTorch cannot use the GPU that it sees; `DivergedError` for a loss that is
            not finite; `OutOfMemoryError` where memory ran out.
        OutputError: The last step before a scoring made the weights NaN or infinite.
        KeyboardInterrupt: The training was interrupted.
    """
    _check_objects(dataset)
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    decoding = Decoding(
        anchors=anchors,
        coding=choose_coding(network, settings.loss),
        class_names=dataset.class_names,
        input_hw=input_hw,
    )
    initialise_prediction_bias(
        network,
        num_classes=len(dataset.class_names),
        objects_per_image=mean_objects(dataset),
        input_hw=input_hw,
        num_anchors=len(anchors[0]),
    )
    inherited = 0.0 if parent is None else inherit_weights(network, parent)
    is_gpu = uses_gpu(settings)
    precision = choose_precision(settings, is_gpu=is_gpu)
    network.to(memory_format=torch.channels_last).train()
    if not is_gpu:
        mix_convolutions(network)
    num_workers = choose_num_workers(settings, is_gpu=is_gpu)
    data = DetectionData(dataset, input_hw, settings=settings, num_workers=num_workers)
    reports, pauses = EpochReports(report), Pauses(between_steps)
    callbacks: list[Callback] = [WeightAverage(settings.ema_decay)] if settings.ema_decay else []
    callbacks += [pauses, reports]
    if is_gpu and not settings.frozen_epochs:  # modules that thaw change the backward pass
        batch_size = min(settings.batch_size, len(dataset.splits["train"]))
        callbacks.append(RecordedPasses(network, batch_size=batch_size, input_hw=input_hw, is_bf16=precision == "bf16"))
    if settings.is_resumable:
        callbacks.append(LastCheckpoint(work_dir, data=dataset.fingerprint))
    detector = _make_detector(network, dataset, decoding=decoding, settings=settings, pretrained=pretrained)
    with quiet_lightning(), named_errors(settings.batch_size):
        trainer = make_trainer(
            settings,
            callbacks,
            is_gpu=is_gpu,
            precision=precision,
            work_dir=work_dir,
            check_val_every_n_epoch=settings.score_every,
            gradient_clip_val=settings.clip_norm or None,
        )
        checkpoint = find_last(work_dir, data=dataset.fingerprint) if resume else None
        trainer.fit(detector, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    network.eval()
    write_checkpoint(work_dir / CHECKPOINT_FILE, network, decoding)
    trained_on = describe_machine(is_gpu=is_gpu, num_workers=num_workers)
    return _to_result(
        reports.record,
        decoding=decoding,
        precision=precision,
        trained_on=trained_on,
        inherited=inherited,
        seconds_aside=pauses.seconds,
        seconds_before=reports.seconds_before,
    )


def _make_detector(
    network: nn.Module,
    dataset: Dataset,
    *,
    decoding: Decoding,
    settings: TrainSettings,
    pretrained: Sequence[nn.Module],
) -> DetectionModule:
    strides: tuple[int, ...] = network.output_strides  # type: ignore[assignment]
    steps_per_epoch = count_steps(len(dataset.splits["train"]), settings)
    return DetectionModule(
        network,
        choose_loss(decoding, strides, anchored=settings.loss, aligned=settings.aligned_loss),
        scorer=DetectionScorer(dataset.splits["val"], decoding, strides=strides),
        make_optimiser=OptimiserFactory(settings=settings, steps_per_epoch=steps_per_epoch, pretrained=pretrained),
        pretrained=pretrained,
        frozen_epochs=settings.frozen_epochs,
    )


def make_trainer(
    settings: TrainSettings,
    callbacks: list[Callback],
    *,
    is_gpu: bool,
    precision: NumberFormat,
    work_dir: Path,
    **options: Any,
) -> Trainer:
    """Return the trainer of a training.

    Args:
        settings: Its number of epochs is used.
        callbacks: Of the training.
        is_gpu: As `uses_gpu` says: Lightning's ``auto`` would ask the driver alone (`trials.gpus`).
        precision: Number format of the steps.
        work_dir: The training's folder.
        options: Further ones of Lightning's, which trainings differ in.
    """
    return Trainer(
        accelerator="cuda" if is_gpu else "cpu",
        devices=1,
        precision=_TRAINER_PRECISION[precision],
        max_epochs=settings.epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=[LightningEnvironment()],  # in a job of SLURM too, a training is one process that its study resumes
        default_root_dir=work_dir,  # in a job, Lightning resumes from a hpc_ckpt_N.ckpt that lies there
        **options,
    )


def describe_machine(*, is_gpu: bool, num_workers: int) -> str:
    """Return ``GPU 1 (NVIDIA H200), 8 data workers``; CUDA_VISIBLE_DEVICES names the GPU that a process uses first."""
    if is_gpu:
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        processor = f"GPU {first} ({torch.cuda.get_device_name()})"
    else:
        processor = f"CPU, {torch.get_num_threads()} threads"
    return f"{processor}, {num_workers} data workers"


def _to_result(
    record: TrainRecord,
    *,
    decoding: Decoding,
    precision: NumberFormat,
    trained_on: str,
    inherited: float,
    seconds_aside: float,
    seconds_before: float,
) -> TrainResult:
    assert record.scores is not None  # the last epoch is scored, and only a scored one stops the training
    return TrainResult(
        state="pruned" if record.is_pruned else "complete",
        decoding=decoding,
        ap=record.scores.ap,
        ap50=record.scores.ap50,
        per_class_ap=record.scores.per_class_ap,
        epochs=len(record.history),
        precision=precision,
        trained_on=trained_on,
        inherited=inherited,
        history=tuple(record.history),
        seconds_train=record.seconds_train - seconds_aside,
        seconds_score=record.seconds_score,
        seconds_aside=seconds_aside,
        seconds_before=seconds_before,
    )


class Pauses(Callback):
    """Calls a function at the start and before each step, and measures its time between the steps."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self.seconds = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pause before a GPU records; no step has begun, from whose time this one would be taken."""
        self._pause()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Pause before the step."""
        before = time.perf_counter()
        self._pause()
        self.seconds += time.perf_counter() - before

    def state_dict(self) -> dict[str, float]:
        """Return the time so far, which a resumed training counts on."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take up the time of the interrupted training."""
        self.seconds = state_dict["seconds"]


def _check_objects(dataset: Dataset) -> None:
    if reason := why_untrainable(dataset):
        raise TrainingError(reason, hint="single images without objects are allowed, a split without any is not")


def mean_objects(dataset: Dataset) -> float:
    """Return the objects of a training image, on average."""
    train = dataset.splits["train"]
    return sum(int((~sample.ignored).sum()) for sample in train) / len(train)


def uses_gpu(settings: TrainSettings) -> bool:
    """Return whether a training with these settings runs on a GPU.

    Raises:
        TrainingError: it sees GPUs, and PyTorch can use none of them: a GPU may be lost in the middle of a search.
    """
    if settings.accelerator == "cpu":
        return False
    gpus = find_gpus()
    if gpus.fault and not gpus.usable:
        raise TrainingError(
            f"PyTorch cannot use the GPU: {gpus.fault}", hint="CUDA_VISIBLE_DEVICES= hides it, and trains on the CPU"
        )
    return bool(gpus.usable)


def choose_precision(settings: TrainSettings, *, is_gpu: bool) -> NumberFormat:
    """Return the number format of training steps; see `trials.training.settings.Precision`."""
    if settings.precision != "auto":
        return settings.precision
    is_fast = (
        torch.cuda.is_bf16_supported(including_emulation=False) if is_gpu else torch.cpu._is_avx512_bf16_supported()
    )
    return "bf16" if is_fast else "fp32"
