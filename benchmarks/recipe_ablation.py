"""Ablation of the modern recipe: one part changed at a time, with the same network, data, epochs and seeds.

    python -m benchmarks.recipe_ablation --data DATA [--size 160] [--epochs 15] [--seeds 2]
    python -m benchmarks.recipe_ablation --data DATA --head decoupled --width 64 [--only "YOLOv8's"]

Each core runs one training with one thread. The table shows mean AP50 and AP over the seeds, and by how much AP is above
that of the whole recipe; differences under about 0.02 are noise at two seeds. A training that fails is left out.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import replace

import numpy as np

from benchmarks.training import one_process_a_core, train_alone
from spaces import YoloRetError
from spaces.networks import HEADS
from spaces.presets import PRESETS
from trials.data import open_dataset
from trials.data.augmentation import AugmentSettings
from trials.detections import Anchors
from trials.training import TrainSettings
from trials.training.recipes import modern_recipe

Change = Callable[[TrainSettings], TrainSettings]

WHOLE = "the whole recipe"
STOCK_ANCHORS = "YOLOv3's stock anchors instead of fitted ones"
PAPER_HEAD = "the paper's head and its loss instead"
ANCHORED: dict[str, Change] = {
    "one best anchor instead of several, with neighbours": lambda s: replace(
        s, loss=replace(s.loss, assignment="single")
    ),
    "GIoU instead of CIoU": lambda s: replace(s, loss=replace(s.loss, box_loss="giou")),
    "objectness target 1 instead of IoU": lambda s: replace(s, loss=replace(s.loss, objectness_target="one")),
    "loss counted by positive instead of by image": lambda s: replace(s, loss=replace(s.loss, reduction="positives")),
    STOCK_ANCHORS: lambda s: s,
}
"""Changes of the loss of heads with anchors: name to the function that makes it."""
ALIGNED: dict[str, Change] = {
    PAPER_HEAD: lambda s: s,
    "exponents of the assignment 0.5 and 6, YOLOv8's, instead of 1 and 2": lambda s: replace(
        s, aligned_loss=replace(s.aligned_loss, score_exponent=0.5, iou_exponent=6.0)
    ),
    "exponents of the assignment 1 and 3 instead of 1 and 2": lambda s: replace(
        s, aligned_loss=replace(s.aligned_loss, iou_exponent=3.0)
    ),
    "class term at half the weight, YOLOv8's": lambda s: replace(
        s, aligned_loss=replace(s.aligned_loss, class_weight=0.5)
    ),
    "class term at twice the weight": lambda s: replace(s, aligned_loss=replace(s.aligned_loss, class_weight=2.0)),
    "at most 7 positives of an object instead of 10": lambda s: replace(
        s, aligned_loss=replace(s.aligned_loss, most_positives=7)
    ),
    "at most 15 positives of an object": lambda s: replace(s, aligned_loss=replace(s.aligned_loss, most_positives=15)),
    "no term of the distributions": lambda s: replace(s, aligned_loss=replace(s.aligned_loss, distance_weight=0.0)),
}
"""Changes of the loss of heads without."""
CHANGES: dict[str, Change] = {
    WHOLE: lambda s: s,
    "no average of the weights": lambda s: replace(s, ema_decay=0.0),
    "no warm-up": lambda s: replace(s, warmup_epochs=0.0),
    "no gradient clipping": lambda s: replace(s, clip_norm=0.0),
    "no weight decay": lambda s: replace(s, weight_decay=0.0),
    "half the learning rate": lambda s: replace(s, learning_rate=s.learning_rate / 2),
    "twice the learning rate": lambda s: replace(s, learning_rate=s.learning_rate * 2),
    "batches of 16 instead of 8": lambda s: replace(s, batch_size=16),
    "batches of 4 instead of 8": lambda s: replace(s, batch_size=4),
    "SGD instead of AdamW": lambda s: replace(s, optimiser="sgd", weight_decay=5e-4),
    "no calm epochs": lambda s: replace(s, calm_epochs=0),
    "calm in the second half alone": lambda s: replace(s, calm_epochs=s.epochs // 2),
    "no augmentation": lambda s: replace(s, augmentation=AugmentSettings()),
    "no change of scale": lambda s: replace(s, augmentation=replace(s.augmentation, scale=(1.0, 1.0))),
    "no change of colour": lambda s: replace(
        s, augmentation=replace(s.augmentation, saturation=0.0, brightness=0.0, contrast=0.0)
    ),
    "upside-down flips too": lambda s: replace(s, augmentation=replace(s.augmentation, flip_vertical=0.5)),
    "half of the images as mosaics": lambda s: replace(s, augmentation=replace(s.augmentation, mosaic=0.5)),
}
"""The other changes."""


def main() -> None:
    """Print the table, each line once its trainings are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--head", choices=HEADS, default="fpn_pan")
    parser.add_argument("--width", type=int, default=128, help="of the head")
    parser.add_argument("--only", nargs="+", default=[""], help="changes whose name holds one of these words")
    given = parser.parse_args()
    changes = {**CHANGES, **(ALIGNED if given.head == "decoupled" else ANCHORED)}
    changes = {
        name: change for name, change in changes.items() if name == WHOLE or any(one in name for one in given.only)
    }
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in changes}
    num_failed = 0
    with one_process_a_core() as pool:
        waiting = {pool.submit(train, name, given, seed=seed): name for seed in range(given.seeds) for name in changes}
        for done in as_completed(waiting):
            name = waiting[done]
            try:
                scores[name].append(done.result())
            except YoloRetError as error:
                num_failed += 1
                print(f"{name} failed: {error.message}", file=sys.stderr, flush=True)
                continue
            print(f"{name}: AP50 {scores[name][-1][1]:.4f}, AP {scores[name][-1][0]:.4f}", file=sys.stderr, flush=True)
    print("\n".join(table(scores)))
    sys.exit(1 if num_failed else 0)


def table(scores: Mapping[str, Sequence[tuple[float, float]]]) -> Iterator[str]:
    """Yield the table of the trainings' AP and AP50; a change without any has no line."""
    yield "| | AP50 | AP | difference in AP |\n|---|---|---|---|"
    means = {name: statistics.mean(ap for ap, _ in rows) for name, rows in scores.items() if rows}
    for name, ap in means.items():
        ap50 = statistics.mean(ap50 for _, ap50 in scores[name])
        difference = f"{ap - means[WHOLE]:+.3f}" if WHOLE in means else ""
        yield f"| {name} | {ap50:.3f} | {ap:.3f} | {difference} |"


def train(name: str, given: argparse.Namespace, *, seed: int) -> tuple[float, float]:
    """Return AP and AP50 of one training."""
    size, epochs = given.size, given.epochs
    dataset = open_dataset(given.data, on_broken="skip")
    architecture = PRESETS["yoloret-m0.75"].replace(input_size=size, prediction_bias=True)
    if name != PAPER_HEAD:
        architecture = architecture.replace(head=given.head, head_width=given.width)
    settings = {**CHANGES, **ANCHORED, **ALIGNED}[name](
        replace(modern_recipe(), epochs=epochs, score_every=epochs, seed=seed)
    )
    anchors = stock_anchors(size) if name == STOCK_ANCHORS else None
    result = train_alone(architecture, dataset, settings, anchors=anchors, num_threads=1)
    return result.ap, result.ap50


def stock_anchors(size: int) -> Anchors:
    """Return YOLOv3's anchors for COCO, scaled to the input."""
    pairs = np.array([(10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)])
    scaled = (pairs * size / 416).tolist()
    return tuple(tuple((float(w), float(h)) for w, h in scaled[3 * i : 3 * i + 3]) for i in range(3))


if __name__ == "__main__":
    main()
