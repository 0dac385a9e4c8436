"""One training alone, as the benchmarks need it: from the seed of its settings, of which only the figures stay."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import torch
from torch import Tensor, nn

from spaces import Architecture
from spaces.networks import YoloReT, build_network
from trials.data import Dataset
from trials.detections import Anchors, choose_anchors
from trials.progress import Report, ignore_progress
from trials.training import TrainSettings
from trials.training.train import TrainResult, train_network


def one_process_a_core() -> ProcessPoolExecutor:
    """Return a pool for trainings of one thread each."""
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("forkserver"))


def train_alone(
    architecture: Architecture,
    dataset: Dataset,
    settings: TrainSettings,
    *,
    work_dir: Path | None = None,
    anchors: Anchors | None = None,
    parent: Mapping[str, Tensor] | None = None,
    load: Callable[[YoloReT], Sequence[nn.Module]] = lambda network: (),
    report: Report = ignore_progress,
    between_steps: Callable[[], None] = lambda: None,
    num_threads: int = 0,
) -> TrainResult:
    """Train a network from random weights.

    Args:
        architecture: The network.
        dataset: Splits ``train`` and ``val`` are used.
        settings: How to train; their seed is that of the weights, too.
        work_dir: Where its weights stay; None to delete them.
        anchors: None for those of the training boxes.
        parent: Weights that it inherits where they fit.
        load: Loads further weights into the network; returns the modules that they fill.
        report: Called with the progress.
        between_steps: Called before each step.
        num_threads: Of this process; 0 leaves them.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
        cv2.setNumThreads(num_threads)
        settings = replace(settings, num_threads=num_threads)
    torch.manual_seed(settings.seed)
    network = build_network(architecture, num_classes=len(dataset.class_names))
    input_hw = architecture.input_hw
    with nullcontext(work_dir) if work_dir else TemporaryDirectory() as folder:
        return train_network(
            network,
            dataset=dataset,
            anchors=anchors or choose_anchors(network, dataset.splits["train"], input_hw=input_hw),
            input_hw=input_hw,
            settings=settings,
            report=report,
            work_dir=Path(folder),
            parent=parent,
            pretrained=load(network),
            between_steps=between_steps,
        )
