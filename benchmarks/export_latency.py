"""Times the files of an export in turn on this CPU, one thread, so that other work on the machine slows all of them alike.

python -m benchmarks.export_latency exports/NAME-7

The file for TensorRT's plugin is left out: only TensorRT runs it.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from trials.latency.cpu import load_in_onnxruntime, load_in_openvino
from trials.onnx.run import PLUGIN_FILE
from trials.trial_result import ONNX_FILE

_BURST = 6
"""Passes of a file before the next file has its turn."""


def main() -> None:
    """Print each file's tenth percentile, and its ratio to that of ``model.onnx``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an export")
    parser.add_argument("--rounds", type=int, default=300, help="turns of each file (%(default)s)")
    given = parser.parse_args()
    if not (given.folder / ONNX_FILE).is_file():
        parser.error(f"{given.folder} is no export: there is no {ONNX_FILE}")
    files = [path for path in given.folder.glob("*.onnx") if path.name != PLUGIN_FILE]
    passes = {
        path.name: (load_in_openvino if path.suffix == ".xml" else load_in_onnxruntime)(path, 1)
        for path in sorted([*files, *given.folder.glob("*.xml")])
    }
    samples_ms: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(given.rounds):
        for name, run in passes.items():
            for _ in range(_BURST):
                began = time.perf_counter()
                run()
                samples_ms[name].append((time.perf_counter() - began) * 1e3)
    quick = {name: float(np.percentile(one, 10)) for name, one in samples_ms.items()}
    for name, milliseconds in quick.items():
        print(f"{name}: {milliseconds:.3f} ms, {milliseconds / quick[ONNX_FILE]:.2f} of {ONNX_FILE}")


if __name__ == "__main__":
    main()
