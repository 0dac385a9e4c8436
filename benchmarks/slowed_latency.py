"""How far other work slows networks and the reference network alike, on this CPU.

    python benchmarks/slowed_latency.py --seconds 600

Times eight networks of `tiny` and one of `nano` again and again while other virtual machines, or programs, come and go. For
each it prints how its latency varies as timed, and divided by the reference's time; *slope* is by how much its logarithm
moves with the reference's: 1 for alike. Without other work nothing moves, and it says nothing.
"""

import argparse
import random
import statistics
import sys
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from spaces import Architecture
from spaces.named_spaces import nano, tiny
from trials.latency.cpu import CpuDevice
from trials.latency.device import UnstableError
from trials.onnx.export import export_for_timing


def main() -> None:
    """Time, then print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    until = time.monotonic() + parser.parse_args().seconds
    device, timed = CpuDevice(), defaultdict[int, list[tuple[float, float]]](list)
    networks = draw()
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.onnx" for number in range(len(networks))]
        for architecture, path in zip(networks, paths, strict=True):
            export_for_timing(architecture, path, num_classes=3, opset=device.opset)
        while time.monotonic() < until:
            for number, path in enumerate(paths):
                try:
                    latency = device.measure(path)
                except UnstableError as error:
                    print(error.message, flush=True)
                    continue
                assert latency.reference_ms is not None
                timed[number].append((latency.median_ms, latency.reference_ms))
    for number, architecture in enumerate(networks):
        ms, reference_ms = np.array(timed[number]).T
        slope = statistics.linear_regression(np.log(reference_ms), np.log(ms)).slope
        print(
            f"{architecture.backbone:26} {architecture.input_size:4} px {np.median(ms):7.3f} ms, {len(ms)} times: varies by "
            f"{variation(ms):.1%}, by {variation(ms / reference_ms):.1%} relative to the reference "
            f"({reference_ms.min():.3f} to {reference_ms.max():.3f} ms); slope {slope:.2f}"
        )


def variation(values: np.ndarray) -> float:
    """Return the coefficient of variation."""
    return float(values.std() / values.mean())


def draw() -> list[Architecture]:
    """Return networks of several sizes and kinds."""
    rng = random.Random(1)
    drawn = [tiny().sample(rng) for _ in range(400)]
    kinds = product((64, 96, 128, 160), ("mobilenetv2_075", "mobilenetv3_small_050"))
    networks = [next(one for one in drawn if (one.input_size, one.backbone) == kind) for kind in kinds]
    larger = (nano().sample(rng) for _ in range(400))
    return [*networks, next(one for one in larger if one.input_size >= 320)]


if __name__ == "__main__":
    main()
