"""How the CPU's reference network is best timed beside a candidate: in turns of a twentieth of a second, or of 6 ms.

    python -m benchmarks.latency_in_turn --sweeps 6

Both ways stop by the same rule and time the same networks one after the other, several times. *Spread* is the standard
deviation of a network's latency over the sweeps, divided by the reference's as a search divides it; the mean over the
networks, and in brackets as timed. *Beside nano's* is the reference's time beside networks of `nano` in times that beside
networks of `tiny`: 1 unless large networks slow it, and so count as too fast. *Refused* counts measurements that were not
steady after all rounds.
"""

import argparse
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from spaces.named_spaces import nano, tiny
from trials.latency.cpu import CpuDevice, load_in_onnxruntime
from trials.latency.device import UnstableError
from trials.latency.reference_network import write_reference
from trials.latency.steadiness import Turn, time_in_turn
from trials.onnx.export import export_for_timing
from trials.scratch import temporary_folder

_ROUND_S = 0.05
_Figures = tuple[float, float]
"""Medians of the network and of the reference, in milliseconds."""


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=6)
    parser.add_argument("--networks", type=int, nargs=2, default=(8, 4), help="of tiny and of nano")
    given = parser.parse_args()
    if given.sweeps < 2 or min(given.networks) < 1:
        parser.error("--sweeps is at least 2, for a standard deviation, and --networks at least 1 of each space")
    with temporary_folder() as folder:
        paths = write_networks(Path(folder), given.networks)
        write_reference(Path(folder) / "reference.onnx")
        ways: dict[str, Callable[[Path], _Figures | None]] = {
            "turns of 50 ms": lambda path: time_in_long_turns(path, Path(folder) / "reference.onnx"),
            "turns of 6 ms": time_as_searched,
        }
        figures = defaultdict[str, dict[Path, list[_Figures]]](lambda: defaultdict(list))
        seconds, refused = defaultdict[str, list[float]](list), dict.fromkeys(ways, 0)
        for _ in range(given.sweeps):
            for path in paths:
                for name, measure in ways.items():
                    began = time.perf_counter()
                    found = measure(path)
                    seconds[name].append(time.perf_counter() - began)
                    if found is None:
                        refused[name] += 1
                    else:
                        figures[name][path].append(found)
    print(f"{len(paths)} networks, {given.sweeps} sweeps")
    print("way              spread (as timed)   beside nano's   seconds each   longest   refused")
    for name in ways:
        relative, as_timed = spread(figures[name].values())
        mean, longest = statistics.mean(seconds[name]), max(seconds[name])
        small, large = (
            [one[1] for path, found in figures[name].items() if path.name.startswith(space) for one in found]
            for space in ("tiny", "nano")
        )
        beside = statistics.median(large) / statistics.median(small)
        print(
            f"{name:16} {relative:6.1%} ({as_timed:.1%}) {beside:15.3f} {mean:14.2f} {longest:9.1f} {refused[name]:9}"
        )


def write_networks(folder: Path, counts: Sequence[int]) -> list[Path]:
    """Write random networks of `tiny` and of `nano`."""
    rng, paths = random.Random(3), []
    for space, count in zip((tiny(), nano()), counts, strict=True):
        for number in range(count):
            paths.append(folder / f"{space.name}-{number}.onnx")
            export_for_timing(space.sample(rng), paths[-1], num_classes=3, opset=13)
    return paths


def time_in_long_turns(path: Path, reference_path: Path) -> _Figures | None:
    """Time both for a twentieth of a second each, in turn; None where that is not steady."""
    candidate, reference = load_in_onnxruntime(path, 1), load_in_onnxruntime(reference_path, 1)
    for run in (candidate, reference):
        _run_for(run)

    def time_round() -> list[Turn]:
        samples_ms = tuple(_run_for(candidate))
        return [Turn(samples_ms=samples_ms, reference_ms=statistics.median(_run_for(reference)))]

    rounds = time_in_turn(time_round)
    return None if rounds.verdict.fault else (statistics.median(rounds.samples_ms), rounds.reference_ms)


def time_as_searched(path: Path) -> _Figures | None:
    """Time it as a search does; None where that is not steady."""
    try:
        latency = CpuDevice().measure(path)
    except UnstableError:
        return None
    assert latency.reference_ms is not None
    return latency.median_ms, latency.reference_ms


def spread(networks: Collection[list[_Figures]]) -> tuple[float, float]:
    """Return the mean over the networks of the standard deviation of log latency, relative to the reference and as timed."""
    logs = [np.log(figures) for figures in networks if len(figures) > 1]
    relative = [float((one[:, 0] - one[:, 1]).std(ddof=1)) for one in logs]
    return statistics.mean(relative), statistics.mean(float(one[:, 0].std(ddof=1)) for one in logs)


def _run_for(run: Callable[[], object]) -> list[float]:
    """Run for a round's time, at least three passes; return each in milliseconds."""
    samples_ms: list[float] = []
    until = time.perf_counter() + _ROUND_S
    while len(samples_ms) < 3 or time.perf_counter() < until:
        before = time.perf_counter()
        run()
        samples_ms.append((time.perf_counter() - before) * 1e3)
    return samples_ms


if __name__ == "__main__":
    main()
