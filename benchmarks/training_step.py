"""Time of a training step, the effect of each optimisation on it, and the overhead of Lightning over a bare loop.

    python -m benchmarks.training_step [--network yoloret-m0.75] [--backbone NAME] [--size 320] [--batch 8] [--threads 2]

Each variant runs in a process of its own, on generated images; the table shows milliseconds an image and the ratio to the
first line. Target: Lightning adds less than 3 % to a bare loop of the same steps.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.training import train_alone
from spaces import Architecture
from spaces.networks import build_network
from spaces.networks.backbones import BACKBONES
from spaces.paper_experiments import truncated_length
from spaces.presets import PRESETS
from trials.data import open_dataset
from trials.data.images.letterbox import as_network_input
from trials.detections import Decoding, choose_anchors
from trials.scoring import DetectionScorer
from trials.training.data_module import DetectionData
from trials.training.detection_module import DetectionModule, split_targets
from trials.training.kept_memory import keep_freed_memory
from trials.training.losses.anchored_loss import DetectionLoss, modern_loss
from trials.training.mixed_convolutions import mix_convolutions
from trials.training.optimiser import OptimiserFactory
from trials.training.recipes import modern_recipe

VARIANTS = {
    "float32": ("fp32",),
    "float32, freed memory kept": ("fp32", "keep"),
    "bfloat16, freed memory kept": ("bf16", "keep"),
    "… and convolutions mixed": ("bf16", "keep", "mix"),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="yoloret-m0.75", choices=list(PRESETS))
    parser.add_argument("--backbone", choices=list(BACKBONES), help="instead of the network's, cut as in the paper")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--variant", help=argparse.SUPPRESS)  # used by this script for its own subprocesses
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.variant:
        print(VARIANT_TIMES[given.variant](given))
        return
    times = {name: _in_own_process(name) for name in VARIANT_TIMES}
    first = next(iter(times.values()))
    for name in VARIANTS:
        print(f"{name:45}{times[name]:8.1f} ms an image  {times[name] / first:5.2f}")
    print(f"{'Lightning over a bare loop of the same steps':45}{times['lightning'] / times['bare'] - 1:+8.1%}")


def _in_own_process(name: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_step", *sys.argv[1:], "--variant", name],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def _time_step(given: argparse.Namespace, measures: tuple[str, ...]) -> float:
    if "keep" in measures:
        keep_freed_memory()
    step = _make_step(given, is_bf16="bf16" in measures, is_mixed="mix" in measures)
    for _ in range(3):
        step()
    seconds = []
    for _ in range(given.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000 / int(given.batch)


def _make_step(given: argparse.Namespace, *, is_bf16: bool, is_mixed: bool) -> Callable[[], None]:
    detector, data = _make_detector(given)
    batch = next(iter(data.train_dataloader()))
    if is_mixed:
        mix_convolutions(detector.network)
    configured = detector.configure_optimizers()
    optimiser = configured["optimizer"]

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16) if is_bf16 else nullcontext():
            maps = detector.network(as_network_input(batch.images))
        loss: Tensor = detector.loss([one.float() for one in maps], *split_targets(batch)).total
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    return step


def _make_detector(given: argparse.Namespace) -> tuple[DetectionModule, DetectionData]:
    torch.manual_seed(0)
    dataset = open_dataset(f"shapes:train={4 * given.batch},val=4,size={given.size}")
    network = build_network(_architecture(given), num_classes=4)
    network.to(memory_format=torch.channels_last)
    anchors = choose_anchors(network, dataset.splits["train"], input_hw=(given.size, given.size))
    settings = replace(modern_recipe(), batch_size=given.batch)
    loss = DetectionLoss(anchors, network.output_strides, modern_loss())
    factory = OptimiserFactory(settings=settings, steps_per_epoch=4)
    names = dataset.class_names
    decoding = Decoding(anchors=anchors, coding="bounded", class_names=names, input_hw=(given.size, given.size))
    scorer = DetectionScorer(dataset.splits["val"], decoding, strides=network.output_strides)
    detector = DetectionModule(network, loss, scorer=scorer, make_optimiser=factory)
    detector.train()
    return detector, DetectionData(dataset, (given.size, given.size), settings=settings, num_workers=0)


def _architecture(given: argparse.Namespace) -> Architecture:
    architecture = PRESETS[given.network].replace(input_size=given.size)
    if not given.backbone:
        return architecture
    length = truncated_length(given.backbone)
    return architecture.replace(backbone=given.backbone, truncation=length, transfer=length)


def _time_bare(given: argparse.Namespace) -> float:
    """Time whole steps, batches included, in a plain loop."""
    keep_freed_memory()
    detector, data = _make_detector(given)
    configured = detector.configure_optimizers()
    optimiser, loader, seconds = configured["optimizer"], data.train_dataloader(), 0.0
    for epoch in range(4):
        began = time.perf_counter()
        for batch in loader:
            loss = detector.training_step(batch, 0)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
            optimiser.step()
            optimiser.zero_grad()
        seconds += (time.perf_counter() - began) if epoch else 0.0
    return seconds * 1000 / (3 * 4 * int(given.batch))


def _time_lightning(given: argparse.Namespace) -> float:
    """Time the same steps in our training, without averaged weights and without the first epoch."""
    dataset = open_dataset(f"shapes:train={4 * given.batch},val=4,size={given.size}")
    seconds = []
    for epochs in (1, 4):
        settings = replace(
            modern_recipe(),
            epochs=epochs,
            score_every=epochs,
            batch_size=given.batch,
            ema_decay=0.0,
            precision="fp32",
        )
        seconds.append(train_alone(_architecture(given), dataset, settings).seconds_train)
    return (seconds[1] - seconds[0]) * 1000 / (3 * 4 * int(given.batch))


VARIANT_TIMES: dict[str, Callable[[argparse.Namespace], float]] = {
    **{
        name: (lambda given, measures=measures: _time_step(given, measures))  # type: ignore[misc]
        for name, measures in VARIANTS.items()
    },
    "bare": _time_bare,
    "lightning": _time_lightning,
}


if __name__ == "__main__":
    main()
