"""The share of the true front that each strategy finds for its trainings, on 924 detectors measured by others.

    python -m benchmarks.yolobench --table voc_scratch_100epochs.csv [--seeds 20] [--jobs 1]

The table is YOLOBench's (Lazarevich et al., 2023; Apache-2.0): YOLO variants trained for 100 epochs on VOC, with latency
on real boards. All versions but 7 form a full grid: version (7) × depth (3) × width (4) × resolution (11). The score is
the hypervolume of the candidates that a strategy has trained, as a share of the whole table's. The reference point is
0.30 mAP@[.5:.95] and 200 ms; on devices other than the Jetson Nano it is the latency that as many candidates (69 %) meet.

The rules are the same for all strategies. A repeated candidate costs no training. A candidate over `--max-latency` costs a
look-up but no training. With `--noise` a strategy sees noisy AP, and is scored by the true AP. "Ours" is the product: a
search with its study and its sampler (`benchmarks.table_search`). Only the plain
strategy is told the reference point. Optuna's samplers minimise log latency, with which its GPSampler does better.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna

from benchmarks.table_search import Table, search_table
from search.front.pareto import FloatArray, IntArray, Reference, hypervolume, staircase
from search.strategy.hypervolume_improvement import expected_hypervolume_improvement, expected_improvement
from search.strategy.surrogate import Inputs, SurrogateSettings, fit_surrogate

AXES = ("version", "depth", "width", "resolution")
VERSIONS = ("3", "4", "5", "6s", "6m", "6l", "8")
SPENT = (10, 20, 30, 50)
NANO = "nano_gpu_latency"
_PAIRS = {"n": (0, 0), "s": (0, 1), "m": (1, 2), "l": (2, 3)}  # the usual depth and width, as positions on their axes
_DEPTHS = {"33": 0, "6": 1, "67": 1, "1": 2}
_WIDTHS = {"25": 0, "5": 1, "75": 2, "1": 3}
_PLAIN = SurrogateSettings(
    length_median=1.0, category_median=0.4, noise_median=3e-3, trend_variance=1.0, category_variance=0.25
)
"""Of the plain strategy's Gaussian process; tuned for it, so that the comparison is fair."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A table of finished trainings, and what a strategy sees of it."""

    codes: IntArray
    """(N, 4) position of each candidate on each axis; a full grid."""
    ap: FloatArray
    """(N,) mAP@[.5:.95]."""
    ap50: FloatArray
    """(N,) mAP at IoU 0.5."""
    latency_ms: FloatArray
    """(N,) measured."""
    reference: Reference
    """The corner that hypervolume is counted from; of the strategies, only the plain one knows it."""
    noise: float = 0.0
    """Standard deviation of the noise on the AP that a strategy sees."""
    max_latency_ms: float | None = None
    """Slower candidates are infeasible."""
    earlier_ap: FloatArray | None = None
    """(N,) AP on other data, of which ours has an earlier study; None for none."""

    def share(self, trained: Sequence[int]) -> float:
        """Return the hypervolume of the trained candidates in percent of the table's."""
        feasible = self.latency_ms <= (self.max_latency_ms or np.inf)
        whole = hypervolume(self.ap[feasible], self.latency_ms[feasible], reference=self.reference)
        chosen = list(trained)
        return 100 * hypervolume(self.ap[chosen], self.latency_ms[chosen], reference=self.reference) / whole

    def is_feasible(self, candidate: int) -> bool:
        """Return whether the candidate is within the limit, if there is one."""
        return bool(self.latency_ms[candidate] <= (self.max_latency_ms or np.inf))


@dataclass
class Run:
    """One strategy with one seed."""

    trained: list[int]
    """Candidates in the order of their training."""
    num_lookups: int = 0
    """Latencies measured, those of trained candidates included."""


def read_table(path: Path, device_column: str = NANO) -> Problem:
    """Read the grid, with the reference point of the module's docstring."""
    codes: list[tuple[int, ...]] = []
    ap, ap50, latency_ms = [], [], []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name, resolution = row["model_name"].split("_")
            match = re.fullmatch(r"yolo(?:(6[sml])-|(\d))(?:d(\d+)w(\d+)|([nsml]))", name)
            if match is None:
                raise ValueError(f"{path}: model_name {name} is not understood")
            six, version, depth, width, pair = match.groups()
            if version == "7":
                continue
            depth_width = _PAIRS[pair] if pair else (_DEPTHS[depth], _WIDTHS[width])
            codes.append((VERSIONS.index(six or version), *depth_width, (int(resolution) - 160) // 32))
            ap.append(float(row["mAP_0.5:0.95"]))
            ap50.append(float(row["mAP_0.5"]))
            latency_ms.append(1e3 * float(row[device_column]))
    latencies = np.array(latency_ms)
    limit_ms = 200.0 if device_column == NANO else float(np.quantile(latencies, 0.69))
    reference = Reference(ap=0.30, latency_ms=limit_ms)
    return Problem(
        codes=np.array(codes), ap=np.array(ap), ap50=np.array(ap50), latency_ms=latencies, reference=reference
    )


def earlier_ap(problem: Problem, kind: str) -> FloatArray | None:
    """Return the AP that an earlier study found for the candidates: (N,), or None for `kind` ``none``."""
    ap50 = problem.ap50
    found: dict[str, FloatArray | None] = {
        "none": None,
        "map50": ap50,
        "reversed": ap50.max() + ap50.min() - ap50,
        "shuffled": np.random.default_rng(0).permutation(ap50),
    }
    return found[kind]


def subset(problem: Problem, versions: Sequence[str]) -> Problem:
    """Return the grid of some versions only."""
    kept = np.isin(problem.codes[:, 0], [VERSIONS.index(version) for version in versions])
    return replace(
        problem,
        codes=problem.codes[kept],
        ap=problem.ap[kept],
        ap50=problem.ap50[kept],
        latency_ms=problem.latency_ms[kept],
    )


def run_ours(problem: Problem, seed: int, num_trainings: int, *, training_s: float) -> Run:
    """Train what a search proposes."""
    trained, num_lookups = search_table(
        Table(codes=problem.codes, ap=problem.ap, latency_ms=problem.latency_ms),
        training_s=training_s,
        num_trainings=num_trainings,
        max_latency_ms=problem.max_latency_ms,
        noise=problem.noise,
        seed=seed,
        earlier_ap=problem.earlier_ap,
    )
    return Run(trained=trained, num_lookups=num_lookups)


def run_plain(problem: Problem, seed: int, num_trainings: int) -> Run:
    """Train ten at random, then by expected hypervolume improvement of a Gaussian process; all latencies are known."""
    random = np.random.default_rng([seed, 2])
    ordered = problem.codes[:, 1:].astype(np.float64)
    inputs = Inputs(ordered=ordered / ordered.max(axis=0, initial=1), categories=problem.codes[:, :1])
    feasible = np.flatnonzero(problem.latency_ms <= (problem.max_latency_ms or np.inf))
    run, seen = Run(trained=[], num_lookups=len(problem.ap)), list[float]()
    first = random.permutation(feasible)[:10].tolist()
    while len(run.trained) < min(num_trainings, len(feasible)):
        if len(run.trained) < len(first):
            chosen = first[len(run.trained)]
        else:
            taken = np.array(run.trained)
            model = fit_surrogate(inputs.take(taken), np.array(seen), settings=_PLAIN, seed=seed)
            mean, std = model.predict(inputs.take(feasible))
            front = staircase(np.array(seen), problem.latency_ms[taken], reference=problem.reference)
            gains = expected_improvement(mean[:, None], std[:, None], front[0])
            gain = expected_hypervolume_improvement(gains, problem.latency_ms[feasible], front=front)
            chosen = int(feasible[np.argmax(np.where(np.isin(feasible, taken), -1.0, gain))])
        run.trained.append(chosen)
        seen.append(float(problem.ap[chosen] + problem.noise * random.standard_normal()))
    return run


def run_optuna(problem: Problem, seed: int, num_trainings: int, *, sampler: optuna.samplers.BaseSampler) -> Run:
    """Train what an Optuna sampler proposes."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    positions = {tuple(code): index for index, code in enumerate(problem.codes.tolist())}
    random, run, seen = np.random.default_rng([seed, 3]), Run(trained=[]), dict[int, float]()
    for _ in range(20 * num_trainings):  # a sampler may repeat candidates without end
        trial = study.ask()
        chosen = positions[tuple(_ask(trial, problem, axis) for axis in range(len(AXES)))]
        is_feasible = problem.is_feasible(chosen)
        if chosen not in seen:
            run.num_lookups += 1
            seen[chosen] = float(problem.ap[chosen] + problem.noise * random.standard_normal()) if is_feasible else 0.0
            run.trained += [chosen] if is_feasible else []
        if problem.max_latency_ms is not None:
            trial.set_constraint("latency", float(np.log(problem.latency_ms[chosen] / problem.max_latency_ms)))
        study.tell(trial, [seen[chosen], float(np.log(problem.latency_ms[chosen]))])
        if len(run.trained) == num_trainings:
            break
    return run


def _ask(trial: optuna.Trial, problem: Problem, axis: int) -> int:
    codes = np.unique(problem.codes[:, axis])
    if AXES[axis] == "version":
        return int(trial.suggest_categorical(AXES[axis], codes.tolist()))
    return trial.suggest_int(AXES[axis], int(codes.min()), int(codes.max()))


def _optuna(make: Callable[[int], optuna.samplers.BaseSampler]) -> Callable[[Problem, int, int], Run]:
    def run(problem: Problem, seed: int, num_trainings: int) -> Run:
        return run_optuna(problem, seed, num_trainings, sampler=make(seed))

    return run


STRATEGIES: dict[str, Callable[[Problem, int, int], Run]] = {
    "random": _optuna(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "nsga2": _optuna(lambda seed: optuna.samplers.NSGAIISampler(seed=seed)),
    "tpe": _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "tpe-multivariate": _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True)),
    "gp": _optuna(lambda seed: optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)),
    "plain": run_plain,
    "ours": partial(run_ours, training_s=3600.0),
    "ours-no-prior": lambda problem, seed, num: run_ours(
        replace(problem, earlier_ap=None), seed, num, training_s=3600.0
    ),
    "ours-quick": partial(run_ours, training_s=1.0),
}
TITLES = {
    "random": "random",
    "nsga2": "NSGA-II, default",
    "tpe": "TPE, default",
    "tpe-multivariate": "TPE, multivariate",
    "gp": "Optuna's GPSampler",
    "plain": "plain GP, EHVI at known latency and reference",
    "ours": "ours",
    "ours-no-prior": "ours, without a prior",
    "ours-quick": "ours, without time to look up latencies",
}


def compare(
    problem: Problem, names: Sequence[str], *, num_seeds: int, num_jobs: int
) -> Iterator[tuple[str, FloatArray, list[Run]]]:
    """Yield, for each strategy, the shares (seeds, spent) in percent, and its runs."""
    with ProcessPoolExecutor(num_jobs) as pool:
        for name in names:
            futures = [pool.submit(_run, problem, name, seed) for seed in range(num_seeds)]
            runs = [future.result() for future in futures]
            yield name, np.array([[problem.share(run.trained[:spent]) for spent in SPENT] for run in runs]), runs


def _run(problem: Problem, name: str, seed: int) -> Run:
    return STRATEGIES[name](problem, seed, max(SPENT))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.subset.split(",")) - set(VERSIONS):
        parser.error(
            f"--subset {options.subset}: no version {', '.join(sorted(unknown))}; there are {', '.join(VERSIONS)}"
        )
    problem = replace(read_table(options.table, options.device_column), noise=options.noise)
    problem = subset(problem, options.subset.split(","))
    problem = replace(problem, earlier_ap=earlier_ap(problem, options.prior))
    if options.max_latency is not None:
        reference = replace(problem.reference, latency_ms=min(options.max_latency, problem.reference.latency_ms))
        problem = replace(problem, max_latency_ms=options.max_latency, reference=reference)
    _write(
        f"{len(problem.ap)} candidates, {options.device_column}, {options.seeds} seeds, reference point "
        f"{problem.reference.ap:.2f} mAP and {problem.reference.latency_ms:.4g} ms"
    )
    _write("| trainings spent | " + " | ".join(map(str, SPENT)) + " | worst seed | look-ups |")
    _write("|---|" + "---|" * (len(SPENT) + 2))
    for name, shares, runs in compare(problem, options.strategies, num_seeds=options.seeds, num_jobs=options.jobs):
        cells = [f"{share:.1f}" for share in shares.mean(axis=0)]
        cells.append(" / ".join(f"{share:.1f}" for share in shares.min(axis=0)))
        cells.append(
            f"{np.mean([run.num_lookups for run in runs]):.0f}, at most {max(run.num_lookups for run in runs)}"
        )
        _write(f"| {TITLES[name]} | " + " | ".join(cells) + " |")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yolobench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="voc_scratch_100epochs.csv")
    parser.add_argument("--seeds", type=int, default=20, help="runs averaged (default 20)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--strategies", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--device-column", default=NANO, help=f"column of latencies in seconds (default {NANO})")
    parser.add_argument("--subset", default=",".join(VERSIONS), help="versions, with commas (default all)")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of AP as seen (default 0)")
    parser.add_argument(
        "--prior",
        choices=("none", "map50", "reversed", "shuffled"),
        default="none",
        help="AP of a study of 50 trainings that ours has as a prior: another column of the table, that upside down, or "
        "in random order (default none)",
    )
    parser.add_argument("--max-latency", type=float, help="limit in ms; also the reference's, if lower")
    return parser


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
