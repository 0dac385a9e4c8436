"""Do short trainings with inherited weights rank architectures as well as those from random weights?

    python -m benchmarks.inheritance [--count 14] [--epochs 6] [--data shapes:train=200,val=100]

Architectures of one backbone are drawn from the space tiny. Each is trained in full (three times the epochs, a seed of its
own), from random weights with two seeds, and from the weights of the best-fitting earlier architecture, which was itself
trained from random weights: with as many epochs, and with half of them. The table shows Kendall's tau of each short ranking
with the full one, a line once its trainings are done. The two seeds show how well short trainings rank at all: inheritance
is sound if its ranking is no worse.
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from scipy.stats import kendalltau

from benchmarks.training import one_process_a_core, train_alone
from spaces import Architecture
from spaces.named_spaces import open_space
from spaces.networks import build_network
from trials.data import open_dataset
from trials.training import CHECKPOINT_FILE, RECIPES, inherit_weights, read_checkpoint

_FULL = 3
_FULL_SEED = 2
"""Of no short training: the full ranking shares no luck with one of them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training."""

    index: int
    architecture: Architecture
    epochs: int
    seed: int
    parent: Path | None = None


def main() -> None:
    """Print the table, each line once its trainings are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shapes:train=200,val=100")
    parser.add_argument("--recipe", default="quick", choices=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--count", type=int, default=14)
    parser.add_argument("--backbone", default="mobilenetv3_small_050")
    given = parser.parse_args()
    if given.epochs < 2 or given.count < 3:
        parser.error(
            "--epochs is at least 2, of which half is taken, and --count at least 3, of which one inherits nothing"
        )
    print(f"{given.count - 1} architectures of {given.backbone}, {given.data}, {given.epochs} epochs")
    print("| | tau with full | mean AP | share inherited | time |\n|---|---|---|---|---|")
    full, full_s = list[float](), 0.0
    with TemporaryDirectory() as name:
        for kind, (ap, seconds, share) in train_kinds(given, Path(name)):
            full, full_s = full or ap, full_s or seconds
            tau = float(kendalltau(ap, full).statistic)
            print(
                f"| {kind} | {tau:.2f} | {sum(ap) / len(ap):.4f} | {share:.0%} | {seconds / full_s:.2f} |", flush=True
            )


def train_kinds(given: argparse.Namespace, root: Path) -> Iterator[tuple[str, tuple[list[float], float, float]]]:
    """Yield the kinds of trainings, the full ones first: AP of each network, seconds, mean share of inherited values."""
    architectures = draw(given.backbone, given.count)
    everyone = [Job(index=i, architecture=one, epochs=given.epochs, seed=0) for i, one in enumerate(architectures)]
    scratch = everyone[1:]  # the first one has none to inherit from
    with one_process_a_core() as pool:

        def run(jobs: list[Job], kind: str) -> tuple[list[float], float, float]:
            rows = list(pool.map(train, jobs, [given] * len(jobs), [root / kind] * len(jobs)))
            ap, seconds, share = (list(column) for column in zip(*rows, strict=True))
            return ap, sum(seconds), sum(share) / len(share)

        full = [replace(job, epochs=_FULL * given.epochs, seed=_FULL_SEED) for job in scratch]
        yield f"in full, {_FULL} times the epochs", run(full, "full")
        ap, seconds, _ = run(everyone, "scratch")
        yield "random weights", (ap[1:], seconds * len(scratch) / len(everyone), 0.0)
        yield "random weights, another seed", run([replace(job, seed=1) for job in scratch], "seed")
        yield "random weights, half the epochs", run([half(job) for job in scratch], "half")
        num_classes = len(open_dataset(given.data).class_names)
        heirs = [
            replace(job, parent=best_parent(job.index, architectures, root / "scratch", num_classes=num_classes))
            for job in scratch
        ]
        yield "inherited", run(heirs, "heir")
        yield "inherited, half the epochs", run([half(job) for job in heirs], "halfheir")


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


def best_parent(index: int, architectures: list[Architecture], root: Path, *, num_classes: int) -> Path:
    """Return the checkpoint of the earlier architecture from which most values are inherited."""
    network = build_network(architectures[index], num_classes=num_classes)
    paths = [root / str(other) / CHECKPOINT_FILE for other in range(index)]
    return max(paths, key=lambda path: inherit_weights(network, read_checkpoint(path).weights))


def train(job: Job, given: argparse.Namespace, root: Path) -> tuple[float, float, float]:
    """Return AP, seconds, and the share of inherited values."""
    folder = root / str(job.index)
    folder.mkdir(parents=True)
    settings = replace(RECIPES[given.recipe](), epochs=job.epochs, score_every=job.epochs, seed=job.seed)
    result = train_alone(
        job.architecture,
        open_dataset(given.data),
        settings,
        work_dir=folder,
        parent=read_checkpoint(job.parent).weights if job.parent else None,
        num_threads=1,
    )
    return result.ap, result.seconds_train, result.inherited


if __name__ == "__main__":
    main()
