"""The training that comes before a one-shot study's first trial: shared weights are trained, then some networks scored."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from spaces import Architecture
from trials.data import Dataset
from trials.latency.measurement_lock import MeasurementLock
from trials.one_shot.losses import Losses
from trials.one_shot.score import SharedScorer
from trials.one_shot.train import train_shared
from trials.one_shot.weights_file import read_shared, write_shared
from trials.progress import REPORT_EVERY_S, Progress, Report
from trials.training.settings import TrainSettings
from trials.trial_result import DamagedFileError, OneShotTask, TrialRequest, TrialResult, read_json, write_json

SHARED_FILE = "shared.pt"
"""The shared weights, in the folder of the training."""
SCORES_FILE = "scores.json"
"""The scored networks, there too."""


def train_and_score(
    request: TrialRequest, task: OneShotTask, dataset: Dataset, report: Report, lock: MeasurementLock
) -> TrialResult:
    """Train shared weights, from where an interrupted training stopped, and write them and the scores of some networks.

    Args:
        request: With folder and settings.
        task: What is trained, and how much is scored.
        dataset: Splits `train` and `val` are used.
        report: Called with the progress.
        lock: Held shared; it lets others measure between steps and between scorings.

    Returns:
        A complete result, without AP and latency: they are not those of one network.
    """
    losses = Losses(dataset, request.train)
    trained = train_shared(
        task.space,
        dataset=dataset,
        losses=losses,
        settings=request.train,
        report=report,
        work_dir=request.work_dir,
        between_steps=lock.yield_to_measurement,
    )
    write_shared(request.work_dir / SHARED_FILE, trained.weights)
    began_scoring = time.perf_counter()
    scorer = SharedScorer(trained.weights, dataset, losses, request.train)
    drawn = task.space.sample_distinct(task.num_scored, random.Random(f"{request.train.seed}/scored"))
    chosen = sorted(drawn, key=lambda one: one.input_hw)  # whose images are decoded once
    scored, reported_at = [], 0.0
    for number, architecture in enumerate(chosen):
        lock.yield_to_measurement()
        scored.append([architecture.to_dict(), scorer.score(architecture).ap])
        if time.monotonic() - reported_at > REPORT_EVERY_S:
            reported_at = time.monotonic()
            report(Progress(phase="score", step=number + 1, num_steps=len(chosen)))
    write_json(request.work_dir / SCORES_FILE, {"scores": scored})
    return TrialResult(
        state="complete",
        epochs=len(trained.history),
        precision=trained.precision,
        trained_on=trained.trained_on,
        history=trained.history,
        seconds={
            "train": trained.seconds_train,
            "score": time.perf_counter() - began_scoring,
            "aside": trained.seconds_aside,
        },
    )


def read_scores(folder: Path) -> Sequence[tuple[Architecture, float]]:
    """Return the networks that were scored, and their AP, 0 to 1.

    Raises:
        DamagedFileError: the file is damaged.
    """
    path = folder / SCORES_FILE
    hint = f"delete {folder}: the shared weights are then trained again"
    try:
        return [
            (Architecture.from_dict(architecture), float(ap))
            for architecture, ap in read_json(path, hint=hint)["scores"]
        ]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}", hint=hint) from error


def starting_weights(
    path: Path, architecture: Architecture, dataset: Dataset, settings: TrainSettings
) -> dict[str, Tensor]:
    """Return the state of a network that is taken out of the shared weights in a file.

    Args:
        path: The file.
        architecture: The network.
        dataset: Batch norms get the statistics of its training split.
        settings: Of its training.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    scorer = SharedScorer(read_shared(path), dataset, Losses(dataset, settings), settings)
    return scorer.take_out(architecture).state_dict()
