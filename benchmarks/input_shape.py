"""What an input of the images' shape gives beside a square one of the same longer side: latency, time of training, AP.

    python -m benchmarks.input_shape --data DATA [--seeds 3] [--epochs 20] [--other-epochs 24]

Each core runs one training with one thread, a square and the other shape in turn; latency on this CPU is measured
afterwards, likewise in turn. Ratios are of the other shape to the square, each the median over the turns or seeds;
differences of AP to the square are means over seeds, with their standard error: of networks trained with the other shape,
and of the square's weights in a network of the other shape, as if it were trained on squares and exported for the images.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.training import one_process_a_core, train_alone
from spaces import Architecture
from spaces.aspect import SQUARE
from spaces.networks import build_network, count_cost
from spaces.scale_set import ScaleSet
from trials.data import open_dataset
from trials.data.common_aspect import common_aspect
from trials.latency.cpu import CpuDevice
from trials.onnx.export import export_for_timing
from trials.scoring import score_network
from trials.training import CHECKPOINT_FILE, read_checkpoint
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
    other_ap: float = math.nan
    """Of a square's weights in a network of the other shape; NaN for the other shape."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--aspect", help="the other shape (default: that of the images)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--other-epochs", type=int, help="epochs with the other shape (default: as many)")
    given = parser.parse_args()
    dataset = open_dataset(given.data)
    aspect = given.aspect or common_aspect(dataset.splits["train"])
    if aspect == SQUARE:
        raise SystemExit(f"the images of {given.data} suit a square: name another shape with --aspect")
    shapes = (SQUARE, aspect)
    epochs = {SQUARE: given.epochs, aspect: given.other_epochs or given.epochs}
    keys = [(name, seed, shape) for seed in range(given.seeds) for name in NETWORKS for shape in shapes]
    with one_process_a_core() as pool:
        jobs = {
            (name, seed, shape): pool.submit(
                train,
                name,
                seed,
                shape,
                other=aspect if shape == SQUARE else None,
                data=given.data,
                epochs=epochs[shape],
            )
            for name, seed, shape in keys
        }
        trained = {}
        for key, job in jobs.items():
            trained[key] = job.result()
            print(f"{key}: AP {trained[key].ap:.4f}, {trained[key].seconds:.0f} s", file=sys.stderr, flush=True)
    print(
        f"| network | {aspect} instead of {SQUARE}, px | multiply-adds | latency | training | AP | difference in AP "
        "| the square's weights |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, square in NETWORKS.items():
        pairs = [tuple(trained[name, seed, shape] for shape in shapes) for seed in range(given.seeds)]
        print(row(name, square, square.replace(aspect=aspect), pairs, num_classes=len(dataset.class_names)), flush=True)


def train(name: str, seed: int, aspect: str, *, other: str | None, data: str, epochs: int) -> Trained:
    """Train one network on one core; score its weights with inputs of another aspect, too, if there is one."""
    settings = replace(modern_recipe(), epochs=epochs, score_every=epochs, seed=seed, precision="fp32")
    dataset = open_dataset(data)
    with TemporaryDirectory() as folder:
        work_dir = Path(folder)
        result = train_alone(NETWORKS[name].replace(aspect=aspect), dataset, settings, work_dir=work_dir, num_threads=1)
        checkpoint = read_checkpoint(work_dir / CHECKPOINT_FILE)
    trained = Trained(ap=result.ap, seconds=result.seconds_train)
    if other is None:
        return trained
    architecture = NETWORKS[name].replace(aspect=other)
    network = build_network(architecture, num_classes=len(dataset.class_names))
    network.load_state_dict(checkpoint.weights)
    decoding = replace(checkpoint.decoding, input_hw=architecture.input_hw)
    scores = score_network(network, dataset.splits["val"], decoding=decoding)
    return replace(trained, other_ap=scores.ap)


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
    aps = [statistics.mean(one.ap for one in column) for column in zip(*pairs, strict=True)]
    trained_so = _difference([theirs.ap - ours.ap for ours, theirs in pairs])
    same_weights = _difference([ours.other_ap - ours.ap for ours, _ in pairs])
    return (
        f"| {name} | {other.input_hw[1]}×{other.input_hw[0]} | {other_macs / square_macs:.2f} | {latency:.2f} "
        f"| {training:.2f} | {aps[0]:.3f}, {aps[1]:.3f} | {trained_so} | {same_weights} |"
    )


def _difference(differences: Sequence[float]) -> str:
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"{statistics.mean(differences):+.3f} ± {error:.3f}"


def _time_in_turn(square: Architecture, other: Architecture, *, num_classes: int) -> list[tuple[float, float]]:
    device = CpuDevice()
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{place}.onnx" for place in range(2)]
        for path, architecture in zip(paths, (square, other), strict=True):
            export_for_timing(architecture, path, num_classes=num_classes)
        return [(device.measure(paths[0]).median_ms, device.measure(paths[1]).median_ms) for _ in range(_TURNS)]


if __name__ == "__main__":
    main()
