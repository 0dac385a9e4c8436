"""What repeats of full trainings are worth: each network the same number of times, or where `--repeats` puts them.

    python -m benchmarks.repeats --table voc_scratch_100epochs.csv [--studies 200]

A study is 50 of YOLOBench's networks (`benchmarks.yolobench`), drawn the likelier the nearer to the table's front they are.
Their AP is taken as the truth; each training sees it with noise of 0.02. The finalists are chosen as `yoloret-nas search`
chooses them, and trained again. Then a user takes the network with the best mean AP within a limit; limits are those of
`search.strategy.repeats`. *Lost* is how much more AP the best finalist within the limit has than the one taken, *too high*
how much the mean that the user sees is above the truth.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.table_search import Table
from benchmarks.yolobench import Problem, read_table
from search.front.estimate import NOISE, group_repeats, mean_ap
from search.front.pareto import FloatArray
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.strategy.repeats import choose_repeat
from search.study.refit import find_finalists
from spaces import Architecture
from trials.latency import DeviceIdentity, Latency
from trials.trial_result import TrialResult

_NUM_TRIALS = 50
_WIDTH = 0.04
"""AP below the front at which a network is drawn e times as rarely as on it."""
_NUM_LIMITS = 200
_DEVICE = DeviceIdentity(kind="cpu", board="none", backend="none", precision="fp32", settings={})


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True, help="YOLOBench's table of trainings on VOC.")
    parser.add_argument("--studies", type=int, default=200)
    options = parser.parse_args(arguments)
    problem = read_table(options.table)
    table = Table(codes=problem.codes, ap=problem.ap, latency_ms=problem.latency_ms)
    rows = table.rows()
    architectures = sorted(table.space(), key=lambda one: rows[one.key])
    print("| trainings of each network | of | AP lost | AP seen too high |")
    print("|---|---|---|---|")
    for each in (1.0, 1.5, 2.0, 3.0, 5.0):
        for is_chosen in (False, True):
            if not (is_chosen and each == 1.0) and (is_chosen or each.is_integer()):
                figures = np.array(
                    [
                        _refit(problem, architectures, each=each, is_chosen=is_chosen, seed=seed)
                        for seed in range(options.studies)
                    ]
                )
                mean, error = figures.mean(axis=0), figures.std(axis=0, ddof=1) / len(figures) ** 0.5
                print(
                    f"| {'chosen' if is_chosen else 'all alike'} | {mean[0]:.2f} | {mean[1]:.4f} ± {error[1]:.4f} | "
                    f"{mean[2]:.4f} ± {error[2]:.4f} |",
                    flush=True,
                )


@dataclass
class Trainings:
    """Trainings of a table's rows, with noise."""

    problem: Problem
    architectures: Sequence[Architecture]
    """(N,) those that stand for the rows."""
    random: np.random.Generator
    records: list[TrialRecord] = field(default_factory=list)

    def add(self, row: int) -> None:
        """Train a row once."""
        latency = Latency(samples_ms=(float(self.problem.latency_ms[row]),), device=_DEVICE)
        ap = float(self.problem.ap[row] + NOISE * self.random.standard_normal())
        result = TrialResult(state="complete", ap=ap, latency=latency)
        number, architecture = len(self.records), self.architectures[row]
        self.records.append(TrialRecord(number=number, architecture=architecture, result=result))


def _refit(
    problem: Problem, architectures: Sequence[Architecture], *, each: float, is_chosen: bool, seed: int
) -> tuple[float, float, float]:
    """Return trainings of each finalist on average, AP lost and AP seen too high."""
    random = np.random.default_rng([seed, 2])
    rows = {one.key: row for row, one in enumerate(architectures)}
    weights = np.exp((problem.ap - _best_within(problem.ap, problem.latency_ms, problem.latency_ms)) / _WIDTH)
    study = Trainings(problem, architectures, random)
    for row in random.choice(len(architectures), _NUM_TRIALS, replace=False, p=weights / weights.sum()):
        study.add(int(row))
    finalists = find_finalists(Summary(records=tuple(study.records), reference=problem.reference))
    final = Trainings(problem, architectures, random)
    chosen = [rows[one.architecture.key] for one in finalists.all]
    for row in chosen:
        final.add(row)
    num_repeats = round((each - 1) * len(chosen))
    for repeat in range(num_repeats):
        if is_chosen:
            begun = Counter(one.architecture for one in final.records)
            if best := choose_repeat(final.records, begun, max_latency_ms=problem.reference.latency_ms):
                final.add(rows[best.key])
        else:
            final.add(chosen[repeat % len(chosen)])
    groups = group_repeats(final.records)
    seen = np.array([mean_ap(group) for group in groups.values()])
    places = [rows[one.key] for one in groups]
    truth, latency_ms = problem.ap[places], problem.latency_ms[places]
    limits = np.geomspace(latency_ms.min(), max(problem.reference.latency_ms, latency_ms.max()), _NUM_LIMITS)
    taken = np.where(latency_ms <= limits[:, None], seen, -1.0).argmax(axis=1)
    lost = float((_best_within(truth, latency_ms, limits) - truth[taken]).mean())
    return len(final.records) / len(chosen), lost, float((seen[taken] - truth[taken]).mean())


def _best_within(ap: FloatArray, latency_ms: FloatArray, limits_ms: FloatArray) -> FloatArray:
    """Return the best AP within each limit."""
    return np.asarray(np.where(latency_ms <= limits_ms[:, None], ap, -1.0).max(axis=1))


if __name__ == "__main__":
    main()
