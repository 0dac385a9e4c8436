"""The time our search takes to reach the final front of plain Optuna, by two measures.

    python benchmarks/search_wall_clock.py [--data shapes] [--budget 50] [--seeds 3]

Each seed runs plain Optuna, with every trial trained to its end, and then `yoloret-nas search` with its defaults. Each
search is a command of its own in a folder of its own, with nothing cached; space, data, recipe and epochs are the same. The
output is each baseline's final figure, and when ours reaches it, as a share of the wall-clock time (start-up included) after
which the baseline itself had reached it. Of a front there are two figures:

* its hypervolume, as a study reports it; all of a seed have one reference, AP 0 and the slowest network as its first search
  measured it. Half of it are limits in the slower half of the range;
* its mean AP within a limit: the best AP within it, averaged over limits that are as likely between 0.1 and 0.2 ms as
  between 1 and 2 ms, from the fastest network that any search of the seed trained to the reference. Our search seeks this.

With --dir the searches are kept, and a finished one is not run again.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import optuna

from search.front.pareto import Reference, hypervolume
from search.front.summary import Summary
from search.reports import make_report
from search.study.database.storage import open_storage
from search.study.read_study import read_study

_STUDY = "timed"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One search."""

    seconds: float
    """Duration of the whole command."""
    at_s: tuple[float, ...]
    """End of each trial in seconds after the command's start, ascending."""
    summary: Summary
    """Trials in that order."""
    spent: dict[str, float]
    """Seconds of work by kind."""

    def hypervolumes(self, reference: Reference) -> tuple[float, ...]:
        """Return the hypervolume after each trial."""
        return replace(self.summary, reference=reference).hypervolume_by_trial

    def mean_aps(self, reference: Reference, fastest_ms: float) -> tuple[float, ...]:
        """Return the mean AP within a limit after each trial, over limits from the fastest network to the reference."""
        width = math.log(reference.latency_ms / fastest_ms)
        logarithmic = Reference(ap=0.0, latency_ms=width)
        points = [record.point for record in self.summary.records]
        values, ap, log_ms = list[float](), list[float](), list[float]()
        for point in points:
            if point is not None:
                ap.append(point[0])
                log_ms.append(math.log(point[1] / fastest_ms))
            values.append(hypervolume(np.array(ap), np.array(log_ms), reference=logarithmic) / width)
        return tuple(values)

    def reaches(self, goal: float, values: Sequence[float]) -> float:
        """Return the seconds after which a figure is at least the goal, infinity if it never is."""
        return next((at_s for at_s, value in zip(self.at_s, values, strict=True) if value >= goal), float("inf"))


def main() -> None:
    """Print a line for each search, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--budget", type=int, default=50)
    parser.add_argument("--our-budget", type=int, help="trials of our search (default: as many)")
    parser.add_argument("--epochs", type=int, help="epochs of each trial (default: the recipe's)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--baselines", nargs="+", default=["random", "tpe"])
    parser.add_argument("--dir", type=Path, help="folder that keeps the searches (default: none)")
    parser.add_argument("--baselines-only", action="store_true", help="run the baselines alone, for --dir")
    parser.add_argument("--extra", nargs="*", default=[], help="further arguments of every search")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        compare(given, given.dir or Path(temporary))


def compare(given: argparse.Namespace, root: Path) -> None:
    """Run the searches of all seeds."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        runs = {
            name: run(given, root / f"{name}-{seed}", seed, "--sampler", name, "--no-prune") for name in given.baselines
        }
        if not given.baselines_only:
            runs["ours"] = run(given, root / f"ours-{seed}", seed, budget=given.our_budget)
        reference = next(iter(runs.values())).summary.reference
        fastest_ms = min(record.point[1] for one in runs.values() for record in one.summary.records if record.point)
        figures = {
            name: {"hypervolume": one.hypervolumes(reference), "mean AP": one.mean_aps(reference, fastest_ms)}
            for name, one in runs.items()
        }
        for name, one in runs.items():
            show(f"seed {seed}  {name}", one, {measure: values[-1] for measure, values in figures[name].items()})
        for name in given.baselines if "ours" in runs else ():
            for measure, values in figures[name].items():
                reached_s = runs["ours"].reaches(values[-1], figures["ours"][measure])
                theirs_s = runs[name].reaches(values[-1], values)
                ratios.setdefault((name, measure), []).append(reached_s / theirs_s)
                when = f"after {reached_s:.0f} s" if reached_s < float("inf") else "never"
                print(f"  ours reaches {name}'s final {measure} {when}, {name} after {theirs_s:.0f} s", flush=True)
    for (name, measure), shares in ratios.items():
        listed = ", ".join(f"{share:.0%}" for share in shares)
        median = statistics.median(shares)
        print(
            f"{name}, {measure}: reached in {median:.0%} of the time it took itself, median of {len(shares)} seeds "
            f"({listed})"
        )


def run(given: argparse.Namespace, folder: Path, seed: int, *words: str, budget: int | None = None) -> Run:
    """Run one search, or read a kept one."""
    clock_file = folder / "clock.json"
    if not clock_file.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # an unfinished search
        command = [
            str(Path(sys.executable).with_name("yoloret-nas")),
            "search",
            "--study",
            _STUDY,
            "--dir",
            str(folder),
            *words,
        ]
        command += ["--data", given.data, "--budget", str(budget or given.budget), "--seed", str(seed), "--refit", "0"]
        command += [*(["--epochs", str(given.epochs)] if given.epochs else []), *given.extra]
        began, clock = datetime.now(), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        clock_file.write_text(json.dumps({"began": began.isoformat(), "seconds": time.monotonic() - clock}))
    times = json.loads(clock_file.read_text())
    began = datetime.fromisoformat(times["began"])
    study = read_study(folder, _STUDY)
    ends = {
        trial.number: (trial.datetime_complete - began).total_seconds()
        for trial in optuna.load_study(study_name=_STUDY, storage=open_storage(folder)).get_trials()
        if trial.datetime_complete is not None
    }
    records = sorted(study.summary.records, key=lambda record: ends[record.number])
    return Run(
        seconds=times["seconds"],
        at_s=tuple(ends[record.number] for record in records),
        summary=replace(study.summary, records=tuple(records)),
        spent=dict(make_report(study).seconds_by_kind),
    )


def show(title: str, one: Run, figures: Mapping[str, float]) -> None:
    """Print the line of a search."""
    states = ", ".join(f"{count} {state}" for state, count in one.summary.states.items())
    whole = sum(one.spent.values())
    spent = ", ".join(f"{kind} {seconds / whole:.0%}" for kind, seconds in one.spent.items() if seconds > 0.005 * whole)
    final = ", ".join(f"{measure} {value:.4f}" for measure, value in figures.items())
    print(f"{title:16}{one.seconds:7.0f} s  {final}  ({states}; {spent})", flush=True)


if __name__ == "__main__":
    main()
