"""How much of a quick training's score comes from its network, and how much from its seed?

    python -m benchmarks.quick_recipe [--count 8] [--seeds 2] [--only NAME ...]

Architectures of the space tiny are drawn and trained with each seed by the quick recipe, by variants that undo one of its
choices, and by the earlier recipe without any of them. A variant's *spread* is the standard deviation of the networks' mean
AP, its *noise* that of one network's AP over the seeds: the higher their ratio, the better a search can rank networks. The
spread is corrected for the noise it contains.
"""

import argparse
import random
import statistics
from dataclasses import replace

from benchmarks.training import one_process_a_core, train_alone
from spaces import Architecture
from spaces.named_spaces import open_space
from trials.data import open_dataset
from trials.training import TrainSettings
from trials.training.recipes import quick_recipe

_NOW = quick_recipe()
_FOUR_EPOCHS = replace(_NOW, epochs=4, score_every=1)

VARIANTS: dict[str, tuple[TrainSettings, str]] = {
    "the quick recipe": (_NOW, "shapes"),
    "100 validation images, not 200": (_NOW, "shapes:val=100"),
    "averaged weights are scored and kept": (replace(_NOW, ema_decay=0.999), "shapes"),
    "half the learning rate": (replace(_NOW, learning_rate=1e-2), "shapes"),
    "4 epochs of 400 images, not 6 of 320": (_FOUR_EPOCHS, "shapes:train=400"),
    "4 epochs, not 6": (replace(_NOW, epochs=4), "shapes"),
    "the earlier recipe": (
        replace(_FOUR_EPOCHS, learning_rate=1e-2, ema_decay=0.999),
        "shapes:train=400,val=100",
    ),
}
"""Name to settings and data."""


def main() -> None:
    """Print a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=8, help="architectures, at least 2")
    parser.add_argument("--seeds", type=int, default=2, help="at least 2")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    given = parser.parse_args()
    if given.count < 2 or given.seeds < 2:
        parser.error("--count and --seeds are at least 2: spread and noise are standard deviations")
    space, rng = open_space("tiny"), random.Random(0)
    architectures = [space.sample(rng) for _ in range(given.count)]
    jobs = [(architecture, seed) for architecture in architectures for seed in range(given.seeds)]
    print("| | mean AP | spread | noise | spread for the noise | a training |\n|---|---|---|---|---|---|")
    with one_process_a_core() as pool:
        for name in given.only:
            rows = list(pool.map(train, *zip(*jobs, strict=True), [name] * len(jobs)))
            by_network = [
                [ap for ap, _ in rows[first : first + given.seeds]] for first in range(0, len(rows), given.seeds)
            ]
            noise = statistics.fmean(statistics.variance(scores) for scores in by_network) ** 0.5
            means = [statistics.fmean(scores) for scores in by_network]
            spread = max(0.0, statistics.variance(means) - noise**2 / given.seeds) ** 0.5
            seconds = statistics.fmean(took for _, took in rows)
            print(
                f"| {name} | {statistics.fmean(means):.3f} | {spread:.3f} | {noise:.4f} | {spread / noise:.1f} "
                f"| {seconds:.1f} s |",
                flush=True,
            )


def train(architecture: Architecture, seed: int, variant: str) -> tuple[float, float]:
    """Return AP, and the seconds of training and scoring."""
    settings, data = VARIANTS[variant]
    result = train_alone(architecture, open_dataset(data), replace(settings, seed=seed), num_threads=1)
    return result.ap, result.seconds_train + result.seconds_score


if __name__ == "__main__":
    main()
