"""How well a network's latency on this CPU repeats from one search to another, as timed and relative to the reference.

    python -m benchmarks.search_wall_clock --seeds 3 --dir WALL
    python -m benchmarks.repeated_latency WALL/*

Reads finished searches, each in a folder of its own, and compares all pairs of latencies of one network from two of them.
The pairs are grouped by how far the reference network had moved between the two. *Slope* is by how much the logarithm of a
latency moved with that of the reference: 1 for alike.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

from search.study.read_study import read_study, study_names

_STEPS = (0.0, 0.05, 0.1, 0.15, 0.3, math.inf)


def main() -> None:
    """Print a line for each group of pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="+", type=Path)
    pairs = list(find_pairs(parser.parse_args().root))
    print("reference moved by   pairs   latency differs by (median), as timed / relative to the reference   slope")
    for low, high in pairwise(_STEPS):
        if group := [pair for pair in pairs if low <= abs(pair[1]) < high]:
            as_timed = statistics.median(math.expm1(abs(network)) for network, _ in group)
            relative = statistics.median(math.expm1(abs(network - reference)) for network, reference in group)
            moved = f"{low:.0%} to {high:.0%}" if high < math.inf else f"over {low:.0%}"
            print(f"{moved:19} {len(group):7}   {as_timed:.1%} / {relative:.1%}   {slope(group):.2f}")


def find_pairs(roots: Sequence[Path]) -> list[tuple[float, float]]:
    """Return by how much the logarithms of a network's time and of the reference's differ, for each pair of searches."""
    timed = defaultdict[object, list[tuple[Path, float, float]]](list)
    for root in roots:
        for name in study_names(root):
            study = read_study(root, name)
            for record in study.summary.records:
                latency = record.result.latency
                if latency is not None and latency.reference_ms is not None and not record.result.is_latency_cached:
                    key = (record.architecture, study.dataset, latency.device.key)
                    timed[key].append((root, latency.median_ms * latency.slowdown, latency.reference_ms))
    return [
        (math.log(second[1] / first[1]), math.log(second[2] / first[2]))
        for same in timed.values()
        for first, second in combinations(same, 2)
        if first[0] != second[0]
    ]


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through the origin, by least squares."""
    return sum(x * y for y, x in pairs) / sum(x * x for _, x in pairs)


if __name__ == "__main__":
    main()
