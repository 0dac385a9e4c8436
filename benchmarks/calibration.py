"""How far the figures of a study are from the truth: scores, estimates, and the effects of choices.

    python -m benchmarks.calibration --table voc_scratch_100epochs.csv [--seeds 20]

**Estimates**: searches on YOLOBench's table (`benchmarks.yolobench`), whose AP is taken as the truth; a search sees it with
noise. Latencies are known. Bias and error are those of the front's members; coverage is how often the 5–95 % range of an
estimate holds the true AP. **Effects**: trials drawn at random from space tiny, whose AP is a sum of effects of their
choices, of known size, plus noise of 0.015. Without `--table` only these are measured.
"""

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.yolobench import AXES, Problem, read_table
from search.front.estimate import Estimate
from search.front.pareto import FloatArray, front_indices, knee_index
from search.front.record import TrialRecord
from search.reports.effects import choices_of, estimate_effects
from search.strategy import StrategySettings
from search.strategy.accuracy.estimates import WIDENING, fit_to_observations
from search.strategy.accuracy.model import Observation
from search.strategy.candidates import Candidates
from search.strategy.suggest import suggest
from spaces.named_spaces import open_space
from trials.latency import DeviceIdentity, Latency
from trials.trial_result import TrialResult

_COUNTS = (12, 28, 50)
_SPREADS = {
    "input_size": 0.06,
    "backbone": 0.04,
    "head": 0.02,
    "head_width": 0.02,
    "scale_set": 0.015,
    "rfcr_width": 0.01,
}
"""Standard deviation in AP of the effects of an axis's values; 0.004 for the other axes."""
_NOISE = 0.015


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="YOLOBench's table of trainings on VOC.")
    parser.add_argument("--seeds", type=int, default=20, help="Searches, and studies, of each kind.")
    options = parser.parse_args(arguments)
    if options.table is not None:
        _measure_estimates(read_table(options.table), num_seeds=options.seeds)
    _measure_effects(num_seeds=options.seeds)


def _measure_estimates(problem: Problem, *, num_seeds: int) -> None:
    columns = ("noise", "trials", "bias: scores", "estimates", "error: scores", "estimates", "coverage")
    print("| " + " | ".join((*columns, "knee's bias: scores", "estimates")) + " |")
    print("|---|---|---|---|---|---|---|---|---|")
    for noise in (0.01, 0.02):
        searches = [_search(replace(problem, noise=noise), seed) for seed in range(num_seeds)]
        for count in _COUNTS:
            rows = [_judge(problem, trained[:count], seen[:count]) for trained, seen in searches]
            scores, estimates, inside = (np.concatenate(column) for column in list(zip(*rows, strict=True))[:3])
            knees = np.mean([row[3] for row in rows], axis=0)
            print(
                f"| {noise} | {count} | {scores.mean():+.4f} | {estimates.mean():+.4f} | {_rms(scores):.4f} | "
                f"{_rms(estimates):.4f} | {inside.mean():.0%} | {knees[0]:+.4f} | {knees[1]:+.4f} |",
                flush=True,
            )


def _candidates(problem: Problem, chosen: Sequence[int] | slice = slice(None)) -> Candidates:
    return Candidates(
        ordered=problem.codes[chosen, 1:].astype(np.float64),
        categories=problem.codes[chosen, :1],
        is_rising=np.array([axis == "resolution" for axis in AXES[1:]]),
    )


def _search(problem: Problem, seed: int) -> tuple[list[int], list[float]]:
    """Return the candidates that a search trains, and the AP that it sees."""
    random, trained, seen = np.random.default_rng([seed, 1]), list[int](), list[float]()
    while len(trained) < max(_COUNTS):
        chosen = suggest(
            _candidates(problem),
            _observations(problem, trained, seen, places=trained),
            latency_ms=problem.latency_ms,
            measure=lambda wanted: [],
            reference=problem.reference,
            settings=StrategySettings(),
            seed=seed,
        )
        assert chosen is not None  # the table is larger than a search
        trained.append(chosen.candidate)
        seen.append(float(problem.ap[chosen.candidate] + problem.noise * random.standard_normal()))
    return trained, seen


def _observations(
    problem: Problem, trained: Sequence[int], seen: Sequence[float], *, places: Sequence[int]
) -> list[Observation]:
    return [
        Observation(candidate=place, ap=ap, latency_ms=float(problem.latency_ms[index]))
        for place, index, ap in zip(places, trained, seen, strict=True)
    ]


def _judge(
    problem: Problem, trained: Sequence[int], seen: Sequence[float]
) -> tuple[FloatArray, FloatArray, FloatArray, tuple[float, float]]:
    """Return, for the front, errors of scores and estimates, and whether ranges hold the truth; the knee's two errors."""
    truth, latency_ms, scores = problem.ap[trained], problem.latency_ms[trained], np.array(seen)
    _, model = fit_to_observations(
        _candidates(problem, trained),
        _observations(problem, trained, seen, places=range(len(trained))),
        latency_ms=latency_ms,
    )
    front = front_indices(scores, latency_ms)
    ranges = [Estimate(ap=model.mean[member], std=WIDENING * model.std[member]).ap_range for member in front]
    inside = [low <= truth[member] <= high for member, (low, high) in zip(front, ranges, strict=True)]
    by_score, by_estimate = knee_index(scores, latency_ms), knee_index(model.mean[front], latency_ms[front])
    assert by_score is not None
    assert by_estimate is not None
    chosen = front[by_estimate]
    knees = float(scores[by_score] - truth[by_score]), float(model.mean[chosen] - truth[chosen])
    return scores[front] - truth[front], model.mean[front] - truth[front], np.array(inside, dtype=np.float64), knees


def _rms(errors: FloatArray) -> float:
    return float(np.sqrt((errors**2).mean()))


def _measure_effects(*, num_seeds: int) -> None:
    print("| trials | coverage of 5–95 % | mean width in AP |")
    print("|---|---|---|")
    for count in (*_COUNTS, 100):
        inside, widths = [], []
        for seed in range(num_seeds):
            records, truth = draw_known_study(count, seed)
            for effect in estimate_effects(records):
                low, high = effect.ap_range
                inside.append(low <= truth[effect.axis, effect.value] <= high)
                widths.append(high - low)
        print(f"| {count} | {np.mean(inside):.0%} | {np.mean(widths):.4f} |", flush=True)


def draw_known_study(count: int, seed: int) -> tuple[list[TrialRecord], dict[tuple[str, str], float]]:
    """Return trials whose AP is a sum of effects and noise, and the effects by axis and value, of mean 0 over the trials."""
    space, rng, normal = open_space("tiny"), random.Random(seed), np.random.default_rng(seed)
    architectures = [space.sample(rng) for _ in range(count)]
    counts = Counter(pair for one in architectures for pair in choices_of(one).items())
    effects = {pair: float(normal.normal(0, _SPREADS.get(pair[0], 0.004))) for pair in counts}
    device = DeviceIdentity(kind="cpu", board="none", backend="none", precision="fp32", settings={})
    records = []
    for number, one in enumerate(architectures):
        ap = 0.4 + sum(effects[pair] for pair in choices_of(one).items()) + normal.normal(0, _NOISE)
        latency = Latency(samples_ms=(1.0, 1.0), device=device)
        result = TrialResult(state="complete", ap=float(ap), ap50=0.5, latency=latency)
        records.append(TrialRecord(number=number, architecture=one, result=result))
    means: defaultdict[str, float] = defaultdict(float)
    for (axis, value), effect in effects.items():
        means[axis] += counts[axis, value] * effect / count
    return records, {pair: effect - means[pair[0]] for pair, effect in effects.items()}


if __name__ == "__main__":
    main()
