"""The time our search takes to reach the final front of plain Optuna, by two measures.

    python -m benchmarks.search_wall_clock [--data shapes] [--budget 50] [--seeds 3]

Each seed runs plain Optuna, with every trial trained to its end, and then `yoloret-nas search` with its defaults. Each
search is a command of its own in a folder of its own, with nothing cached; space, data, recipe and epochs are the same. The
baseline `cheapest` trains the cheapest network with each head at each input size (`cheapest.yaml`) and no other. The output
is when ours reaches each baseline's final figure, as a share of the wall-clock time (start-up included) after which the
baseline itself had reached it, and when it reaches 98 % of it, as a share of the baseline's whole time. Of a front there
are two figures:

* its hypervolume, as a study reports it; all of a seed have one reference, AP 0 and the slowest network as one of its
  searches measured it. Half of it are limits in the slower half of the range;
* its mean AP within a limit: the best AP within it, averaged over limits that are as likely between 0.1 and 0.2 ms as
  between 1 and 2 ms, from the fastest network that any search of the seed trained to the reference. Our search seeks this.

Each folder has a scale of its own, the reference network's first time there. All latencies of a seed are brought to one.

With --dir the searches are kept, and a finished one is not run again; one that was asked for otherwise is refused. With
--no-prior-too each seed also runs ours without the prior that comes with the tool: `ours, no prior`. That prior is of
playing cards; on these, compare this one only.
"""

import argparse
import json
import math
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from benchmarks.front_figures import mean_ap
from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports import make_report
from search.study.database.storage import open_storage
from search.study.read_study import read_study
from trials.latency import Latency
from trials.latency.cache import has_scale

_STUDY = "timed"
_CHEAPEST = Path(__file__).with_name("cheapest.yaml")
_NEARLY = 0.98
"""Share of a baseline's final figure that is worth its time too."""
BASELINES: dict[str, tuple[str, ...]] = {
    **{name: ("--sampler", name, "--no-prune") for name in ("random", "tpe", "gp", "nsga2")},
    "cheapest": ("--sampler", "grid", "--no-prune", "--space", str(_CHEAPEST), "--budget", "16"),
}
"""What to ask of a search; of an option given twice the last counts."""


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
        found, values = list[tuple[float, float]](), list[float]()
        for record in self.summary.records:
            found += [] if record.point is None else [record.point]
            values.append(mean_ap(found, reference, fastest_ms))
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
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=["random", "tpe", "cheapest"])
    parser.add_argument("--no-prior-too", action="store_true", help="run ours without a prior, too")
    parser.add_argument("--dir", type=Path, help="folder that keeps the searches (default: none)")
    parser.add_argument("--baselines-only", action="store_true", help="run the baselines alone, for --dir")
    parser.add_argument("--extra", nargs="*", default=[], help="further arguments of every search")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        compare(given, given.dir or Path(temporary))


def compare(given: argparse.Namespace, root: Path) -> None:
    """Run the searches of all seeds."""
    ours: dict[str, tuple[str, ...]] = {"ours": ("--budget", str(given.our_budget or given.budget))}
    if given.no_prior_too:
        ours["ours, no prior"] = (*ours["ours"], "--prior", "none")
    ours = {} if given.baselines_only else ours
    ratios: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        asked = {name: BASELINES[name] for name in given.baselines} | ours
        runs = {
            name: run(given, root / f"{re.sub('[^a-z]+', '-', name)}-{seed}", seed, words)
            for name, words in asked.items()
        }
        runs = on_one_scale(runs)
        reference = max((one.summary.reference for one in runs.values()), key=lambda corner: corner.latency_ms)
        fastest_ms = min(record.point[1] for one in runs.values() for record in one.summary.records if record.point)
        figures = {
            name: {"hypervolume": one.hypervolumes(reference), "mean AP": one.mean_aps(reference, fastest_ms)}
            for name, one in runs.items()
        }
        for name, one in runs.items():
            show(f"seed {seed}  {name}", one, {measure: values[-1] for measure, values in figures[name].items()})
        for who, name in product(ours, given.baselines):
            for measure, values in figures[name].items():
                reached_s = runs[who].reaches(values[-1], figures[who][measure])
                nearly_s = runs[who].reaches(_NEARLY * values[-1], figures[who][measure])
                theirs_s = runs[name].reaches(values[-1], values)
                ratios.setdefault((who, name, measure), []).append(
                    (reached_s / theirs_s, nearly_s / runs[name].seconds)
                )
                when, nearly = (
                    f"after {at_s:.0f} s" if at_s < float("inf") else "never" for at_s in (reached_s, nearly_s)
                )
                print(
                    f"  {who} reaches {name}'s final {measure} {when}, {_NEARLY:.0%} of it {nearly}; {name} after "
                    f"{theirs_s:.0f} s of {runs[name].seconds:.0f} s",
                    flush=True,
                )
    for (who, name, measure), shares in ratios.items():
        whole = listed([reached for reached, _ in shares])
        print(f"{who} against {name}, {measure}: reached in {whole} of the time that {name} took for it")
        print(f"  {_NEARLY:.0%} of it in {listed([nearly for _, nearly in shares])} of {name}'s whole time")


def on_one_scale(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Bring the latencies of all searches, and their references, to the scale of the first one."""
    firsts_ms = [
        ms for one in runs.values() for record in one.summary.records if (ms := _scale_ms(record.result.latency))
    ]
    return {name: _to_scale(one, firsts_ms[0]) if firsts_ms else one for name, one in runs.items()}


def _to_scale(one: Run, common_ms: float) -> Run:
    """Bring a search to the scale of a reference network that takes `common_ms`."""
    records, ratios = list[TrialRecord](), list[float]()
    for record in one.summary.records:
        latency = record.result.latency
        if latency is not None and (scale_ms := _scale_ms(latency)):
            ratios.append(common_ms / scale_ms)
            latency = replace(latency, samples_ms=tuple(ms * ratios[-1] for ms in latency.samples_ms))
            record = replace(record, result=replace(record.result, latency=latency))
        records.append(record)
    reference = one.summary.reference
    if ratios:
        reference = replace(reference, latency_ms=reference.latency_ms * ratios[0])
    return replace(one, summary=replace(one.summary, records=tuple(records), reference=reference))


def _scale_ms(latency: Latency | None) -> float | None:
    """Return the time of the reference network that a latency is for; None where latencies are not divided by it."""
    if latency is None or latency.reference_ms is None:
        return None
    is_divided = latency.is_reference_in_turn and has_scale(latency.device)
    return latency.reference_ms / latency.slowdown if is_divided else None


def listed(shares: Sequence[float]) -> str:
    """Return the median of shares, and each."""
    median, *each = ("never" if math.isinf(share) else f"{share:.0%}" for share in (statistics.median(shares), *shares))
    return f"{median} (median of {', '.join(each)})"


def run(given: argparse.Namespace, folder: Path, seed: int, words: Sequence[str]) -> Run:
    """Run one search, or read a kept one.

    Raises:
        SystemExit: the kept one was asked for otherwise.
    """
    clock_file = folder / "clock.json"
    asked = ["--data", given.data, "--seed", str(seed), "--refit", "0"]
    asked += [] if "--budget" in words else ["--budget", str(given.budget)]
    asked += [*(["--epochs", str(given.epochs)] if given.epochs else []), *given.extra, *words]
    if not clock_file.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # an unfinished search
        command = [sys.executable, "-m", "yoloret_nas", "search", "--study", _STUDY, "--dir", str(folder), *asked]
        began, clock = datetime.now(), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times = {"began": began.isoformat(), "seconds": time.monotonic() - clock, "asked": asked}
        clock_file.write_text(json.dumps(times))
    times = json.loads(clock_file.read_text())
    if "asked" not in times:
        print(f"{folder} was kept before it was noted what was asked: not compared with this call", file=sys.stderr)
    elif times["asked"] != asked:
        raise SystemExit(
            f"{folder} keeps a search with {shlex.join(times['asked'])}, asked for is {shlex.join(asked)}: "
            "give the same options, or another --dir"
        )
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
