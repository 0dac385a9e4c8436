"""What a one-shot search costs and finds, against searches with whole trainings.

    python -m benchmarks.one_shot --data DATA [--epochs 12] [--seeds 1] [--dir FOLDER]

In a space of one backbone, each seed runs three searches as a user would: random trials, all trained to their end; the
default without a prior, which shared weights are; and `--one-shot`. Then the front of each, and what is within noise of it,
is trained alone for the same epochs from random weights (`--refit`), and only these trainings count for what was found.
Times are those of whole commands, look-ups of latencies and start-up included; that of the refit, a command of its own, is
given beside the search's. All trainings of a refit count, and the searches have different numbers of them. Of a front there
are two figures, as in `search_wall_clock.py`: its hypervolume, and its mean AP within a limit, over limits that are
as likely between 0.1 and 0.2 ms as between 1 and 2 ms.

With --dir the searches are kept and continued; the time of each start adds up.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.front_figures import area, mean_ap
from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.study.read_study import read_study, study_names
from search.study.refit import read_refit

_SPACE = Path(__file__).with_name("one_backbone.yaml")
_SEARCHES = {
    "random": ("--sampler", "random", "--no-prune"),
    "default": ("--prior", "none"),
    "one-shot": ("--one-shot",),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found."""

    search_s: float
    """Wall-clock time of its command."""
    refit_s: float
    """That of the refit's."""
    trials: int
    points: tuple[tuple[float, float], ...]
    """AP and latency of the refit's networks."""
    slowest_ms: float
    """Latency of the study's reference."""
    tau: float
    """Of the refit's AP against that of the trials."""


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=12, help="of a training alone")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=50, help="trials of the searches with whole trainings")
    parser.add_argument("--one-shot-budget", type=int, default=20, help="trials of the one-shot search")
    parser.add_argument("--space", type=Path, default=_SPACE)
    parser.add_argument(
        "--searches", nargs="+", choices=_SEARCHES, default=list(_SEARCHES), help="which; random is the baseline"
    )
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--extra", nargs="*", default=[], help="further arguments of every search")
    given = parser.parse_args()
    if "random" not in given.searches:
        parser.error("--searches needs random: what the others found and took is given in its figures")
    with TemporaryDirectory() as temporary:
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            compare(given, given.dir or Path(temporary), seed)


def compare(given: argparse.Namespace, root: Path, seed: int) -> None:
    """Run the searches of a seed, and print a line for each."""
    found = {name: run(given, root, name, seed) for name in given.searches}
    base = found["random"]
    reference = Reference(ap=0.0, latency_ms=base.slowest_ms)
    if not area(base.points, reference):
        raise SystemExit(f"no network of random, seed {seed}, has an AP above 0 to compare with: give more --epochs")
    fastest_ms = min(ms for one in found.values() for _, ms in one.points)
    for name, one in found.items():
        volume = area(one.points, reference) / area(base.points, reference)
        mean = mean_ap(one.points, reference, fastest_ms) / mean_ap(base.points, reference, fastest_ms)
        took, both = one.search_s / base.search_s, (one.search_s + one.refit_s) / base.search_s
        print(
            f"seed {seed}  {name:9}{one.trials:4} trials, {one.search_s:6.0f} s ({took:4.0%}); refit of {len(one.points)}, "
            f"{one.refit_s:5.0f} s; both {both:4.0%}; hypervolume {volume:.1%}, mean AP {mean:.1%} of random's; "
            f"tau of trials and refit {one.tau:.2f}",
            flush=True,
        )


def run(given: argparse.Namespace, root: Path, name: str, seed: int) -> Found:
    """Run one search and its refit, or what is missing of them."""
    study, budget = f"{name}-{seed}", given.one_shot_budget if name == "one-shot" else given.budget
    command = [sys.executable, "-m", "yoloret_nas", "search", "--study", study, "--dir", str(root)]
    command += ["--space", str(given.space), "--data", given.data, "--budget", str(budget), "--seed", str(seed)]
    command += ["--epochs", str(given.epochs), *_SEARCHES[name], *given.extra]
    root.mkdir(parents=True, exist_ok=True)
    clock = root / f"{study}-search.json"
    if study in study_names(root) and not clock.is_file():
        raise SystemExit(f"{root} keeps the search {study} without its time, {clock.name}: give another --dir")
    search_s = run_timed([*command, "--refit", "0"], clock)
    refit_s = run_timed([*command, "--refit", str(given.epochs)], root / f"{study}-refit-{given.epochs}.json")
    read = read_study(root, study)
    refit = read_refit(read)
    assert refit is not None
    return Found(
        search_s=search_s,
        refit_s=refit_s,
        trials=len(read.summary.records),
        points=points(refit.summary.records),
        slowest_ms=read.summary.reference.latency_ms,
        tau=math.nan if refit.tau is None else refit.tau,
    )


def run_timed(command: Sequence[str], clock: Path) -> float:
    """Run a command that has not come to its end yet; return the seconds of all its starts, which a file keeps."""
    kept = json.loads(clock.read_text()) if clock.is_file() else {"seconds": 0.0}
    if kept.get("done") != command:
        began = time.monotonic()
        done = None
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            done = command
        finally:  # an interrupted one is continued by the next call
            kept = {"seconds": kept["seconds"] + time.monotonic() - began, "done": done}
            clock.write_text(json.dumps(kept))
    return float(kept["seconds"])


def points(records: Sequence[TrialRecord]) -> tuple[tuple[float, float], ...]:
    """Return AP and latency of the complete ones."""
    return tuple(record.point for record in records if record.point is not None)


if __name__ == "__main__":
    main()
