"""Do short trainings with inherited weights rank architectures as well as those from random weights?

    python benchmarks/inheritance.py [--count 14] [--epochs 6] [--data shapes:train=200,val=100]

Architectures of one backbone are drawn from the space tiny. Each is trained in full (three times the epochs), from random
weights with two seeds, and from the weights of the best-fitting earlier architecture, which was itself trained from random
weights: with as many epochs, and with half of them. The table shows Kendall's tau of each short ranking with the full one.
The two seeds show how well short trainings rank at all: inheritance is sound if its ranking is no worse.
"""

import argparse
import multiprocessing
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import torch
from scipy.stats import kendalltau

from spaces import Architecture
from spaces.named_spaces import open_space
from spaces.networks import build_network
from trials.data import open_dataset
from trials.detections import choose_anchors
from trials.progress import ignore_progress
from trials.training import CHECKPOINT_FILE, RECIPES, inherit_weights, read_checkpoint
from trials.training.train import train_network

_FULL = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training."""

    index: int
    architecture: Architecture
    epochs: int
    seed: int
    parent: Path | None = None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shapes:train=200,val=100")
    parser.add_argument("--recipe", default="quick", choices=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--count", type=int, default=14)
    parser.add_argument("--backbone", default="mobilenetv3_small_050")
    given = parser.parse_args()
    architectures = draw(given.backbone, given.count)
    with TemporaryDirectory() as name:
        root = Path(name)
        with ProcessPoolExecutor(
            len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("forkserver")
        ) as pool:

            def run(jobs: list[Job], kind: str) -> tuple[list[float], float, float]:
                rows = list(pool.map(train, jobs, [given] * len(jobs), [root / kind] * len(jobs)))
                ap, seconds, share = (list(column) for column in zip(*rows, strict=True))
                return ap, sum(seconds), sum(share) / len(share)

            everyone = list(enumerate(architectures))
            scratch = [Job(index=i, architecture=a, epochs=given.epochs, seed=0) for i, a in everyone]
            first, first_s, _ = run(scratch, "scratch")
            parents = {i: best_parent(i, architectures, root / "scratch") for i in range(1, len(architectures))}
            heirs = [replace(job, parent=parents[job.index]) for job in scratch[1:]]
            kinds = {
                "random weights": (first[1:], first_s * (len(first) - 1) / len(first), 0.0),
                "random weights, another seed": run([replace(job, seed=1) for job in scratch[1:]], "seed"),
                "random weights, half the epochs": run([half(job) for job in scratch[1:]], "half"),
                "inherited": run(heirs, "heir"),
                "inherited, half the epochs": run([half(job) for job in heirs], "halfheir"),
            }
            full, full_s, _ = run([replace(job, epochs=_FULL * given.epochs) for job in scratch[1:]], "full")
    print(f"{len(full)} architectures of {given.backbone}, {given.data}, {given.epochs} epochs")
    print("| | tau with full | mean AP | share inherited | time |\n|---|---|---|---|---|")
    for kind, (ap, seconds, share) in kinds.items():
        tau = float(kendalltau(ap, full).statistic)
        print(f"| {kind} | {tau:.2f} | {sum(ap) / len(ap):.4f} | {share:.0%} | {seconds / full_s:.2f} |")
    print(f"| in full, {_FULL} times the epochs | 1 | {sum(full) / len(full):.4f} | | 1 |")


def half(job: Job) -> Job:
    """Return the same training in half the epochs."""
    return replace(job, epochs=job.epochs // 2)


def draw(backbone: str, count: int) -> list[Architecture]:
    """Draw architectures of one backbone, each once."""
    space, rng, found = open_space("tiny"), random.Random(0), dict[str, Architecture]()
    while len(found) < count:
        drawn = space.sample(rng)
        if drawn.backbone == backbone:
            found[drawn.key] = drawn
    return list(found.values())


def best_parent(index: int, architectures: list[Architecture], root: Path) -> Path:
    """Return the checkpoint of the earlier architecture from which most values are inherited."""
    network = build_network(architectures[index], num_classes=4)
    paths = [root / str(other) / CHECKPOINT_FILE for other in range(index)]
    return max(paths, key=lambda path: inherit_weights(network, read_checkpoint(path).weights))


def train(job: Job, given: argparse.Namespace, root: Path) -> tuple[float, float, float]:
    """Return AP, seconds, and the share of inherited values."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(job.seed)
    dataset = open_dataset(given.data)
    network = build_network(job.architecture, num_classes=len(dataset.class_names))
    folder = root / str(job.index)
    folder.mkdir(parents=True)
    size = job.architecture.input_size
    settings = replace(RECIPES[given.recipe](), epochs=job.epochs, score_every=job.epochs, seed=job.seed, num_threads=1)
    result = train_network(
        network,
        dataset=dataset,
        anchors=choose_anchors(network, dataset.splits["train"], input_size=size),
        input_size=size,
        settings=settings,
        report=ignore_progress,
        work_dir=folder,
        parent=read_checkpoint(job.parent).weights if job.parent else None,
    )
    return result.ap, result.seconds_train, result.inherited


if __name__ == "__main__":
    main()
