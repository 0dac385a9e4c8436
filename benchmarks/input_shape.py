"""What an input of the images' shape gives beside a square one of the same longer side: latency, time of training, AP.

    python -m benchmarks.input_shape --data DATA [--seeds 3] [--epochs 20]

Each core runs one training with one thread, a square and the other shape in turn; latency on this CPU is measured
afterwards, likewise in turn. Ratios are of the other shape to the square, each the median over the turns or seeds; the
difference of AP is the mean over seeds, with its standard error.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.training import one_process_a_core, train_alone
from spaces import Architecture
from spaces.aspect import SQUARE
from spaces.networks import count_cost
from spaces.scale_set import ScaleSet
from trials.data import open_dataset
from trials.data.common_aspect import common_aspect
from trials.latency.cpu import CpuDevice
from trials.onnx.export import export_for_timing
from trials.training.recipes import modern_recipe

_TURNS = 5
_BASE = Architecture(
    backbone="mobilenetv4_conv_small_050",
    truncation=12,
    scale_set=ScaleSet.parse("8+16+32@8>8+16+32"),
    rfcr_width=32,
    rfcr_channels=64,
    rfcr_kernel=3,
    head="decoupled",
    head_width=48,
    input_size=160,
)
NETWORKS = {
    "MobileNetV4-Conv-Small ×0.5, decoupled, 160 px": _BASE,
    "MobileNetV2 ×0.5, decoupled, 224 px": _BASE.replace(backbone="mobilenetv2_050", truncation=16, input_size=224),
    "MobileNetV2 ×0.35, FPN + PAN, 320 px": _BASE.replace(
        backbone="mobilenetv2_035", truncation=16, head="fpn_pan", input_size=320
    ),
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What one training gave."""

    ap: float
    seconds: float
    """Of its steps."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--aspect", help="the other shape (default: that of the images)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    dataset = open_dataset(given.data)
    aspect = given.aspect or common_aspect(dataset.splits["train"])
    if aspect == SQUARE:
        raise SystemExit(f"the images of {given.data} suit a square: name another shape with --aspect")
    shapes = (SQUARE, aspect)
    keys = [(name, seed, shape) for seed in range(given.seeds) for name in NETWORKS for shape in shapes]
    with one_process_a_core() as pool:
        jobs = {key: pool.submit(train, *key, data=given.data, epochs=given.epochs) for key in keys}
        trained = {}
        for key, job in jobs.items():
            trained[key] = job.result()
            print(f"{key}: AP {trained[key].ap:.4f}, {trained[key].seconds:.0f} s", file=sys.stderr, flush=True)
    print(
        f"| network | {aspect} instead of {SQUARE}, px | multiply-adds | latency | training | AP | difference in AP |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, square in NETWORKS.items():
        pairs = [tuple(trained[name, seed, shape] for shape in shapes) for seed in range(given.seeds)]
        print(row(name, square, square.replace(aspect=aspect), pairs, num_classes=len(dataset.class_names)), flush=True)


def train(name: str, seed: int, aspect: str, *, data: str, epochs: int) -> Trained:
    """Train one network on one core."""
    settings = replace(modern_recipe(), epochs=epochs, score_every=epochs, seed=seed, precision="fp32")
    result = train_alone(NETWORKS[name].replace(aspect=aspect), open_dataset(data), settings, num_threads=1)
    return Trained(ap=result.ap, seconds=result.seconds_train)


def row(
    name: str,
    square: Architecture,
    other: Architecture,
    pairs: Sequence[Sequence[Trained]],
    *,
    num_classes: int,
) -> str:
    """Return a line of the table."""
    square_macs, other_macs = (count_cost(one, num_classes=num_classes).macs for one in (square, other))
    latency = statistics.median(theirs / ours for ours, theirs in _time_in_turn(square, other, num_classes=num_classes))
    training = statistics.median(theirs.seconds / ours.seconds for ours, theirs in pairs)
    differences = [theirs.ap - ours.ap for ours, theirs in pairs]
    aps = [statistics.mean(one.ap for one in column) for column in zip(*pairs, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return (
        f"| {name} | {other.input_hw[1]}×{other.input_hw[0]} | {other_macs / square_macs:.2f} | {latency:.2f} "
        f"| {training:.2f} | {aps[0]:.3f}, {aps[1]:.3f} | {statistics.mean(differences):+.3f} ± {error:.3f} |"
    )


def _time_in_turn(square: Architecture, other: Architecture, *, num_classes: int) -> list[tuple[float, float]]:
    device = CpuDevice()
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{place}.onnx" for place in range(2)]
        for path, architecture in zip(paths, (square, other), strict=True):
            export_for_timing(architecture, path, num_classes=num_classes)
        return [(device.measure(paths[0]).median_ms, device.measure(paths[1]).median_ms) for _ in range(_TURNS)]


if __name__ == "__main__":
    main()
