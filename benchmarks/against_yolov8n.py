"""Our recipe against Ultralytics' YOLOv8n: same images, from random weights, on the same cores one after the other.

    python -m venv other && other/bin/pip install ultralytics     # AGPL: an environment of its own
    python benchmarks/against_yolov8n.py --data DATA --python other/bin/python --seeds 3

Both detectors are scored by our scorer (COCO's AP, on each network's own detections of the validation images). Ours trains
for as many epochs as fit into YOLOv8n's training time, without validation. Each training runs in a process of its own.
YOLOv8n's trainer accumulates batches up to `--nbs` images, 64 as it comes: about 120 steps in 30 epochs of 205 images,
too few. So the defaults are batches of 8, not accumulated, and one epoch of warm-up. Quote its best setting: try `--batch
16 --nbs 64 --warmup-epochs 3` (as it comes) and `--batch 16 --nbs 16` too. A user would start from its COCO weights, which
this comparison leaves out for both.
With `--at-once --our-epochs N` both train at the same time, each with a core of its own.

Targets: AP50 0.85 and AP 0.50 in no more time; an epoch in 0.6 times YOLOv8n's or less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image

from spaces.networks import build_network
from spaces.presets import PRESETS
from trials.data import Dataset, open_dataset
from trials.detections import Detections, fit_anchors
from trials.progress import ignore_progress
from trials.scoring import score_detections
from trials.training.recipes import modern_recipe
from trials.training.train import train_network

Pair = tuple[dict[str, Any], dict[str, Any]]
"""The results of YOLOv8n and of our recipe."""


def main() -> None:
    """Train both for each seed; print a line each, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--python", required=True, help="of the environment that has ultralytics")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30, help="YOLOv8n's")
    parser.add_argument("--our-epochs", type=int, default=0, help="0: as many as fit into YOLOv8n's time")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8, help="YOLOv8n's")
    parser.add_argument("--nbs", type=int, default=8, help="YOLOv8n's: images of an optimiser step")
    parser.add_argument("--warmup-epochs", type=int, default=1, help="YOLOv8n's")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--at-once", action="store_true", help="side by side, a core each; needs --our-epochs")
    parser.add_argument("--ours", help=argparse.SUPPRESS)  # how this script starts our training in its own process
    given = parser.parse_args()
    if given.ours:
        train_ours(given)
        return
    dataset = open_dataset(given.data, on_broken="stop")
    if given.at_once and not given.our_epochs:
        parser.error("--at-once needs --our-epochs: YOLOv8n's time is not known before it ends")
    rows = list(side_by_side(dataset, given) if given.at_once else one_after_the_other(dataset, given))
    print()
    for name in ("ap50", "ap"):
        means = [statistics.mean(pair[side][name] for pair in rows) for side in (0, 1)]
        print(f"{name:5} mean of {len(rows)} seeds: yolov8n {means[0]:.4f}, ours {means[1]:.4f}")
    for name in ("train_s", "epoch_s"):
        ratio = statistics.mean(ours[name] / theirs[name] for theirs, ours in rows)
        print(f"{name:8} ours over yolov8n's: {ratio:.3f}")


def one_after_the_other(dataset: Dataset, given: argparse.Namespace) -> Iterator[Pair]:
    """Train YOLOv8n, then ours for as long, for each seed; each has all cores."""
    for seed in range(given.seeds):
        with TemporaryDirectory() as folder:
            theirs = run_theirs(dataset, given, seed=seed, folder=Path(folder))
            epochs = given.our_epochs or epochs_within(given, seconds=theirs["train_s"], folder=Path(folder))
            ours = run_ours(given, seed=seed, epochs=epochs, folder=Path(folder))
        show(seed, "yolov8n", theirs)
        show(seed, "yoloret-m0.75", ours)
        yield theirs, ours


def side_by_side(dataset: Dataset, given: argparse.Namespace) -> list[Pair]:
    """Train all seeds of both at the same time, each network on a core of its own."""
    given.threads, cores = 1, sorted(os.sched_getaffinity(0))

    def train(name: str, core: int) -> list[dict[str, Any]]:
        rows = []
        for seed in range(given.seeds):
            with TemporaryDirectory() as folder:
                if name == "yolov8n":
                    row = run_theirs(dataset, given, seed=seed, folder=Path(folder), core=core)
                else:
                    row = run_ours(given, seed=seed, epochs=given.our_epochs, folder=Path(folder), core=core)
            show(seed, name, row)
            rows.append(row)
        return rows

    with ThreadPoolExecutor(2) as pool:
        theirs, ours = pool.map(train, ("yolov8n", "yoloret-m0.75"), cores[:2])
    return list(zip(theirs, ours, strict=True))


def show(seed: int, name: str, row: Mapping[str, Any]) -> None:
    """Print a training's line."""
    print(f"seed {seed}  {name:14}{row['epochs']:4d} epochs  {row['train_s']:7.1f} s  ", end="")
    print(f"{row['epoch_s']:6.2f} s an epoch  AP50 {row['ap50']:.4f}  AP {row['ap']:.4f}", flush=True)


def run_theirs(
    dataset: Dataset, given: argparse.Namespace, *, seed: int, folder: Path, core: int | None = None
) -> dict[str, Any]:
    """Train YOLOv8n in its own environment."""
    data, out = write_yolo(dataset, folder / "data"), folder / "theirs.json"
    names = ("epochs", "size", "batch", "nbs", "warmup_epochs", "threads")
    options = {name.replace("_", "-"): getattr(given, name) for name in names} | {"seed": seed}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    script = Path(__file__).with_name("yolov8n_run.py")
    command = [given.python, str(script), str(data), str(out), *words]
    subprocess.run(pinned(command, core), check=True, stdout=subprocess.DEVNULL)
    told = json.loads(out.read_text())
    samples = dataset.splits["val"]
    found = [as_detections(told["found"][f"{number:05d}.png"]) for number in range(len(samples))]
    scores = score_detections(found, samples, class_names=dataset.class_names)
    return figures(scores.ap, scores.ap50, train_s=sum(told["epoch_s"]), epochs=len(told["epoch_s"]))


def run_ours(
    given: argparse.Namespace, *, seed: int, epochs: int, folder: Path, core: int | None = None
) -> dict[str, Any]:
    """Train ours in a process of its own."""
    wish, out = {"seed": seed, "epochs": epochs, "folder": str(folder)}, folder / "ours.json"
    command = [sys.executable, __file__, "--data", given.data, "--python", given.python, "--ours", json.dumps(wish)]
    command += ["--size", str(given.size), "--threads", str(given.threads)]
    subprocess.run(pinned(command, core), check=True)
    row: dict[str, Any] = json.loads(out.read_text())
    return row


def pinned(command: list[str], core: int | None) -> list[str]:
    """Return a command that stays on one core; None for any."""
    return command if core is None else ["taskset", "--cpu-list", str(core), *command]


def epochs_within(given: argparse.Namespace, *, seconds: float, folder: Path) -> int:
    """Return how many of our epochs fit into a time, from a training of two."""
    tried = run_ours(given, seed=0, epochs=2, folder=folder)
    return max(1, int(seconds / tried["epoch_s"] * 0.97))  # the machine is noisy


def train_ours(given: argparse.Namespace) -> None:
    """Train ours in this process, and write the figures."""
    wish = json.loads(given.ours)
    torch.manual_seed(wish["seed"])
    dataset = open_dataset(given.data, on_broken="stop")
    architecture = PRESETS["yoloret-m0.75"].replace(input_size=given.size, prediction_bias=True)
    network = build_network(architecture, num_classes=len(dataset.class_names))
    anchors = fit_anchors(dataset.splits["train"], input_size=given.size, output_strides=network.output_strides)
    settings = replace(
        modern_recipe(),
        epochs=wish["epochs"],
        score_every=wish["epochs"],
        seed=wish["seed"],
        num_threads=given.threads,
        **wish.get("settings", {}),
    )
    began = time.perf_counter()
    result = train_network(
        network,
        dataset=dataset,
        anchors=anchors,
        input_size=given.size,
        settings=settings,
        report=ignore_progress,
        work_dir=Path(wish["folder"]),
    )
    whole_s = time.perf_counter() - began - result.seconds_score  # start-up and all: what a user waits for
    row = figures(result.ap, result.ap50, train_s=whole_s, epochs=wish["epochs"])
    row["epoch_s"] = result.seconds_train / wish["epochs"]
    (Path(wish["folder"]) / "ours.json").write_text(json.dumps(row))


def figures(ap: float, ap50: float, *, train_s: float, epochs: int) -> dict[str, Any]:
    """Return a training's row."""
    return {"ap": ap, "ap50": ap50, "train_s": train_s, "epochs": epochs, "epoch_s": train_s / epochs}


def as_detections(one: Mapping[str, Any]) -> Detections:
    """Read YOLOv8n's detections in an image."""
    return Detections(
        boxes=torch.tensor(one["boxes"], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(one["scores"], dtype=torch.float32),
        labels=torch.tensor(one["labels"], dtype=torch.int64),
    )


def write_yolo(dataset: Dataset, folder: Path) -> Path:
    """Write a dataset in YOLO format, with lossless images named by their index."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number, sample in enumerate(dataset.splits[split]):
            Image.fromarray(sample.load()).save(folder / "images" / split / f"{number:05d}.png")
            height, width = sample.size_hw
            boxes = sample.boxes[~sample.ignored] / np.array([width, height, width, height], dtype=np.float32)
            lines = [
                f"{label} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}"
                for label, (x1, y1, x2, y2) in zip(sample.labels[~sample.ignored], boxes, strict=True)
            ]
            (folder / "labels" / split / f"{number:05d}.txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    names = json.dumps(list(dataset.class_names))
    path.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: {names}\n")
    return path


if __name__ == "__main__":
    main()
