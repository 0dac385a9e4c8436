"""A league of search strategies on a table of trained networks: whose trainings find more of the true front.

    python -m venv other && other/bin/pip install neural-pipeline-search syne-tune   # an environment of its own
    python -m benchmarks.league --table voc_scratch_100epochs.csv --python other/bin/python --seeds 20 --minutes 60

Table, grid and score are those of `benchmarks.yolobench`: the hypervolume of the trained candidates as a share of the whole
table's. Each cell of the league is another search on it: another device's latency, noise on AP, or a limit of the user's.
Ours is the product (`benchmarks.table_search`). Optuna's samplers are driven as in `benchmarks.yolobench`, Syne Tune's and
NePS's by `benchmarks/league_run.py` in an environment of their own. The table has no learning curves, so what some of them
could save by stopping early is not counted, for ours neither.

Each call does what is missing for up to `--minutes` and keeps it in `--results`; the last lines are the table.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.yolobench import NANO, STRATEGIES, TITLES, Problem, read_table

SPENT = (10, 20, 30)
"""Trainings after which a run is scored."""
_DEVICES = {
    "Nano": NANO,
    "VIM3": "vim3_latency",
    "Pi 4, ONNX Runtime": "pi4_ort_latency",
    "Pi 4, TFLite": "pi4_tflite_fp32_latency",
    "Pi 4, TFLite INT8": "pi4_tflite_int8_latency",
    "OpenVINO": "ov_latency",
}
_NOISE = 0.01
"""Standard deviation of AP over seeds of a training on a large dataset."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One search."""

    device: str
    """Of `_DEVICES`."""
    noise: float = 0.0
    """Standard deviation of the noise on the AP that a strategy sees."""
    limit: float | None = None
    """The share of the candidates that the user's limit admits; None for no limit."""

    @property
    def name(self) -> str:
        """The cell in the table."""
        noise = f", noise {self.noise:g}" if self.noise else ""
        return f"{self.device}{noise}{f', limit {self.limit:.0%}' if self.limit else ''}"

    def problem(self, table: Path) -> Problem:
        """Read its problem."""
        problem = replace(read_table(table, _DEVICES[self.device]), noise=self.noise)
        if self.limit is None:
            return problem
        limit_ms = float(np.quantile(problem.latency_ms, self.limit))
        reference = replace(problem.reference, latency_ms=min(limit_ms, problem.reference.latency_ms))
        return replace(problem, max_latency_ms=limit_ms, reference=reference)


CELLS = (
    *(Cell(device=device) for device in _DEVICES),
    *(Cell(device=device, noise=_NOISE) for device in ("Nano", "OpenVINO")),
    *(Cell(device=device, limit=0.3) for device in ("Nano", "VIM3")),
)
OWN = ("ours", "random", "nsga2", "tpe", "gp")
"""Strategies of `benchmarks.yolobench` that take part."""
OTHERS = {"primo": "NePS, PriMO", "moasha": "Syne Tune, MO-ASHA"}
"""Strategies of `league_run.py`, and their titles."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """One strategy in one cell with one seed."""

    cell: str
    strategy: str
    seed: int
    shares: tuple[float, ...]
    """Percent of the true front's hypervolume after each of `SPENT` trainings."""
    seconds: float


def play(table: Path, cell: Cell, strategy: str, seed: int, python: str | None) -> Played:
    """Run one strategy, and score it."""
    problem, began = cell.problem(table), time.monotonic()
    if strategy in OWN:
        trained = STRATEGIES[strategy](problem, seed, max(SPENT)).trained
    else:
        assert python is not None
        trained = _run_elsewhere(problem, strategy, seed, python)
    shares = tuple(round(problem.share(trained[:spent]), 3) for spent in SPENT)
    return Played(
        cell=cell.name, strategy=strategy, seed=seed, shares=shares, seconds=round(time.monotonic() - began, 1)
    )


def _run_elsewhere(problem: Problem, strategy: str, seed: int, python: str) -> list[int]:
    """Run a strategy of another environment on the objectives that it may see, each to be minimised."""
    random = np.random.default_rng([seed, 4])
    seen = problem.ap + problem.noise * random.standard_normal(len(problem.ap))
    feasible = np.array([problem.is_feasible(candidate) for candidate in range(len(seen))])
    given = {
        "codes": problem.codes.tolist(),
        "objectives": np.column_stack((np.where(feasible, -seen, 0.0), np.log(problem.latency_ms))).tolist(),
        "feasible": feasible.tolist(),
        "num_trainings": max(SPENT),
        "seed": seed,
    }
    with TemporaryDirectory() as name:
        path, out = Path(name) / "problem.json", Path(name) / "trained.json"
        path.write_text(json.dumps(given))
        command = [python, str(Path(__file__).with_name("league_run.py")), strategy, str(path), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=name)
        if done.returncode:
            raise RuntimeError(f"{strategy}, seed {seed}: {(done.stdout + done.stderr)[-1500:]}")
        trained: list[int] = json.loads(out.read_text())
        return trained


def read_results(path: Path) -> list[Played]:
    """Read what was played before."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [Played(**{**row, "shares": tuple(row["shares"])}) for row in rows]


def missing(played: Sequence[Played], strategies: Sequence[str], seeds: int) -> Iterator[tuple[Cell, str, int]]:
    """Yield what is to play: a seed of all cells and strategies before the next."""
    done = {(one.cell, one.strategy, one.seed) for one in played}
    for seed in range(seeds):
        for cell in CELLS:
            for strategy in strategies:
                if (cell.name, strategy, seed) not in done:
                    yield cell, strategy, seed


def write_table(played: Sequence[Played], spent: int, say: Callable[[str], None]) -> None:
    """Write the shares after so many trainings: mean and standard error over seeds, the best of each cell in bold."""
    place = SPENT.index(spent)
    names = [name for name in (*OWN, *OTHERS) if any(one.strategy == name for one in played)]
    say(f"\nafter {spent} trainings\n")
    say("| | " + " | ".join(OTHERS.get(name) or TITLES[name] for name in names) + " | seeds |")
    say("|---|" + "---|" * (len(names) + 1))
    num_first = 0
    for cell in CELLS:
        scores = {
            name: [one.shares[place] for one in played if (one.cell, one.strategy) == (cell.name, name)]
            for name in names
        }
        if not any(scores.values()):
            continue
        means = {name: statistics.mean(values) if values else -math.inf for name, values in scores.items()}
        best = max(means, key=means.__getitem__)
        num_first += best == "ours"
        cells = [_cell(values, is_best=name == best) for name, values in scores.items()]
        num_seeds = sorted({len(values) for values in scores.values()})
        say(
            f"| {cell.name} | "
            + " | ".join(cells)
            + f" | {' to '.join(map(str, num_seeds[:: max(1, len(num_seeds) - 1)]))} |"
        )
    say(f"\nours is first in {num_first} of {len({one.cell for one in played})} cells")


def _cell(values: Sequence[float], *, is_best: bool) -> str:
    if not values:
        return ""
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    mean = f"{statistics.mean(values):.1f}"
    return f"{f'**{mean}**' if is_best else mean}{error}"


def main() -> None:
    """Play what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="voc_scratch_100epochs.csv of YOLOBench")
    parser.add_argument("--python", help="of the environment with NePS and Syne Tune; none: without them")
    parser.add_argument("--strategies", nargs="+", choices=(*OWN, *OTHERS), default=[*OWN, *OTHERS])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60.0, help="nothing begins later; 0 only prints")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    given = parser.parse_args()
    if given.python:
        python = shutil.which(given.python)
        if python is None:
            parser.error(f"--python {given.python}: there is no such program")
        given.python = os.path.abspath(
            python
        )  # it is run in another folder; a link resolved would leave its environment
    played = read_results(given.results)
    strategies = [name for name in given.strategies if name in OWN or given.python]
    ends = time.monotonic() + 60 * given.minutes
    with ProcessPoolExecutor(given.jobs) as pool, given.results.open("a", encoding="utf-8") as file:
        wanted = missing(played, strategies, given.seeds)
        running: set[Future[Played]] = set()
        while True:
            while len(running) < given.jobs and time.monotonic() < ends and (job := next(wanted, None)):
                running.add(pool.submit(play, given.table, *job, given.python))
            if not running:
                break
            future = next(as_completed(running))
            running.remove(future)
            played.append(future.result())
            file.write(json.dumps(asdict(played[-1])) + "\n")
            file.flush()
    for spent in SPENT:
        write_table(played, spent, print)


if __name__ == "__main__":
    main()
