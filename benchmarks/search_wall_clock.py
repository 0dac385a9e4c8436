"""The time our search takes to reach the final hypervolume of plain Optuna.

    python benchmarks/search_wall_clock.py [--data shapes] [--budget 50] [--seeds 3]

Each seed runs plain Optuna, with every trial trained to its end, and then `yoloret-nas search` with its defaults. Each
search is a command of its own in a folder of its own, with nothing cached; space, data, recipe and epochs are the same. The
output is the final hypervolume of each baseline, and when ours reaches it, as a share of the wall-clock time (start-up
included) after which the baseline itself had reached it. Hypervolumes of a seed have one reference: AP 0 and the slowest
network as its first search measured it.

With --dir the searches are kept, and a finished one is not run again.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna

from search.reports import make_report
from search.study.pareto import Reference
from search.study.read_study import read_study
from search.study.storage import open_storage
from search.study.summary import Summary

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

    def reaches(self, goal: float, reference: Reference) -> float:
        """Return the seconds after which the hypervolume is at least the goal, infinity if it never is."""
        values = self.hypervolumes(reference)
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
    ratios: dict[str, list[float]] = {name: [] for name in given.baselines}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        runs = {
            name: run(given, root / f"{name}-{seed}", seed, "--sampler", name, "--no-prune") for name in given.baselines
        }
        reference = next(iter(runs.values())).summary.reference
        for name, one in runs.items():
            show(f"seed {seed}  {name}", one, reference)
        if given.baselines_only:
            continue
        ours = run(given, root / f"ours-{seed}", seed, budget=given.our_budget)
        show(f"seed {seed}  ours", ours, reference)
        for name, one in runs.items():
            goal = one.hypervolumes(reference)[-1]
            reached_s, theirs_s = ours.reaches(goal, reference), one.reaches(goal, reference)
            ratios[name].append(reached_s / theirs_s)
            when = f"after {reached_s:.0f} s" if reached_s < float("inf") else "never"
            print(f"  ours reaches {name}'s final hypervolume {when}, {name} after {theirs_s:.0f} s", flush=True)
    for name, values in ratios.items():
        if values:
            listed = ", ".join(f"{value:.0%}" for value in values)
            median = statistics.median(values)
            print(
                f"{name}: reached in {median:.0%} of the time it took itself, median of {len(values)} seeds ({listed})"
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


def show(title: str, one: Run, reference: Reference) -> None:
    """Print the line of a search."""
    states = ", ".join(f"{count} {state}" for state, count in one.summary.states.items())
    whole = sum(one.spent.values())
    spent = ", ".join(f"{kind} {seconds / whole:.0%}" for kind, seconds in one.spent.items() if seconds > 0.005 * whole)
    print(f"{title:16}{one.seconds:7.0f} s  hypervolume {one.hypervolumes(reference)[-1]:.4f}  ({states}; {spent})")


if __name__ == "__main__":
    main()
