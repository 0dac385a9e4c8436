"""How well the model of accuracy predicts trainings that it has not seen, on AP itself and on the scale that scores choose.

    python -m benchmarks.accuracy_scale [FOLDER STUDY]… [--draws 16] [--prior]

Of each study some complete trials, drawn at random, are learnt from, and the scores of the others are predicted; without a
study, of the trials of the prior that comes with the tool. Three figures, means over the draws: the log density of the
scores (the more, the better; ranges that are a tenth narrower and still fit are worth 0.1), the root of the mean squared
error, and Kendall's tau. With --prior the model begins with the built-in prior, whose own model is on AP itself or, in the
last rows, on the scale that its scores choose.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from search.front.pareto import FloatArray, IntArray
from search.strategy.accuracy import belief
from search.strategy.accuracy.belief import Belief, weighed
from search.strategy.accuracy.built_in_prior import built_in_prior
from search.strategy.accuracy.model import AccuracyModel, Observation
from search.strategy.accuracy.scale import SCALES, ApScale
from search.strategy.candidates import Encoder
from search.strategy.latency.lookups import LatencyLookups
from search.strategy.surrogate import SurrogateSettings
from search.study.read_study import read_study
from spaces import Architecture

Trial = tuple[Architecture, float, float]
"""Architecture, AP, latency in ms."""
_ITSELF = (ApScale(power=1.0),)
_WAYS = {"AP itself": _ITSELF, "the scale that scores choose": SCALES}
_COUNTS = (5, 8, 12, 20, 30)


def main() -> None:
    """Print a table for each study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="FOLDER STUDY", help="pairs: a --dir, and a study's name there")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--prior", action="store_true", help="begin with the built-in prior")
    given = parser.parse_args()
    if len(given.studies) % 2 or given.draws < 1 or (given.prior and not given.studies):
        parser.error("studies are pairs of a folder and a name, --draws is at least 1, and --prior needs a study")
    pairs = list(zip(given.studies[::2], given.studies[1::2], strict=True))
    trials = {f"{name} in {folder}": _complete(Path(folder), name) for folder, name in pairs}
    if not trials:
        trials = {"the built-in prior": [(one.architecture, one.ap, one.latency_ms) for one in built_in_prior().trials]}
    for name, ones in trials.items():
        _show(name, ones, num_draws=given.draws, has_prior=given.prior)


def _complete(folder: Path, study: str) -> list[Trial]:
    records = read_study(folder, study).summary.records
    return [(one.architecture, *one.point) for one in records if one.point is not None]


def _show(name: str, trials: Sequence[Trial], *, num_draws: int, has_prior: bool) -> None:
    architectures, ap, latency_ms = (list(column) for column in zip(*trials, strict=True))
    print(f"\n{name}: {len(trials)} complete trials, AP {min(ap):.3f} to {max(ap):.3f}")
    counts = [count for count in _COUNTS if count <= len(trials) - 5]
    print(f"| scale | {' | '.join(f'{count} learnt' for count in counts)} |\n|---{'|---' * len(counts)}|")
    beliefs = _beliefs(architectures) if has_prior else {"": None}
    for of_prior, believed in beliefs.items():
        for way, scales in _WAYS.items():
            cells = []
            for count in counts:
                draws = [np.random.default_rng(seed).permutation(len(ap))[:count] for seed in range(num_draws)]
                figures = [
                    _predict(architectures, np.array(ap), np.array(latency_ms), believed, scales=scales, draw=draw)
                    for draw in draws
                ]
                density, error, tau = np.mean(figures, axis=0)
                cells.append(f"{density:+.2f}, {error:.3f}, {tau:.2f}")
            print(f"| {way}{of_prior} | {' | '.join(cells)} |", flush=True)


def _beliefs(architectures: Sequence[Architecture]) -> dict[str, FloatArray | None]:
    """Return what the built-in prior expects, by the scale of its own model."""
    found: dict[str, FloatArray | None] = {}
    for way, scales in _WAYS.items():
        belief._SCALES = scales
        found[f"; the prior on {way}"] = weighed(
            np.column_stack([Belief(built_in_prior(), Encoder(num_classes=4), seed=0).of(architectures)])
        )
    return found


def _predict(
    architectures: Sequence[Architecture],
    ap: FloatArray,
    latency_ms: FloatArray,
    believed: FloatArray | None,
    *,
    scales: Sequence[ApScale],
    draw: IntArray,
) -> tuple[float, float, float]:
    """Return log density, error and tau of the trials that are not in a draw."""
    candidates = replace(Encoder(num_classes=4).encode(architectures), beliefs=believed)
    lookups = LatencyLookups(candidates, latency_ms, measure=lambda wanted: [], max_lookups=0, seed=0)
    lookups.predict()
    seen = [
        Observation(candidate=int(one), ap=float(ap[one]), latency_ms=float(latency_ms[one])) for one in draw.tolist()
    ]
    model = AccuracyModel(lookups, seen, pending=(), scales=scales, settings=SurrogateSettings(), seed=0)
    others = np.setdiff1d(np.arange(len(ap)), draw)
    density = model.log_density(others, ap[others]).mean()
    error = np.sqrt(((model.mean[others] - ap[others]) ** 2).mean())
    return float(density), float(error), float(kendalltau(model.mean[others], ap[others]).statistic)


if __name__ == "__main__":
    main()
