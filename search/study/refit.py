"""From short trainings to full ones: which trials are retrained, and whether the short trainings ranked alike.

Short trainings rank, full ones decide. Beside the front's members, trials that noise alone may have kept off the front are
retrained; Kendall's tau measures how far the two rankings agree. The trainings are an experiment
(`search.study.experiment`) named after the study and its epochs.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from search.study.experiment import EXPERIMENT_FILE, Variant, read_experiment
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from search.study.summary import Summary

_LABEL = "trial "
NOISE = 0.02
"""AP by which a short training may err. Two trainings of one network on 205 images that differed only in their seed differed
by 0.03 on average (`benchmarks/recipe_ablation.py`), which is a standard deviation of 0.02. A study cannot estimate its own
noise: each architecture is trained once."""


@dataclass(frozen=True, kw_only=True)
class Finalists:
    """The trials that are retrained in full."""

    members: tuple[TrialRecord, ...]
    """The front's members."""
    near: tuple[TrialRecord, ...]
    """Trials whose AP is within `NOISE` of the best at or under their latency: at most as many as the front has,
    the closest ones."""

    @property
    def all(self) -> tuple[TrialRecord, ...]:
        """Members and near-front trials."""
        return (*self.members, *self.near)

    def seconds(self, epochs: int, *, done: Set[int] = frozenset()) -> float:
        """Return the expected seconds of retraining all, one after the other, from what their trials took.

        Args:
            epochs: Of each training.
            done: Numbers of the trials that are retrained already.
        """
        spent = [(record.result.seconds, record.result.epochs) for record in self.all if record.number not in done]
        return sum((s.get("train", 0.0) + s.get("score", 0.0)) / max(1, trained) * epochs for s, trained in spent)


def find_finalists(summary: Summary) -> Finalists:
    """Choose the trials to retrain: the front, and those within noise of it."""
    front = {record.number for record in summary.front}
    missing: list[tuple[float, TrialRecord]] = []
    for record in summary.records:
        if record.number in front or record.point is None:
            continue
        ap, latency_ms = record.point
        level = max(m.point[0] for m in summary.front if m.point is not None and m.point[1] <= latency_ms)
        if level - ap < NOISE:
            missing.append((level - ap, record))
    missing.sort(key=lambda pair: pair[0])
    return Finalists(members=summary.front, near=tuple(record for _, record in missing[: len(front)]))


def refit_name(study: str, epochs: int) -> str:
    """Return the name of the experiment of a study's full trainings."""
    return f"{study}-refit-{epochs}"


def to_variants(finalists: Finalists, *, seed: int) -> list[Variant]:
    """Return the experiment's variants; their labels name the trials they retrain."""
    return [Variant(label=f"{_LABEL}{one.number}", architecture=one.architecture, seed=seed) for one in finalists.all]


@dataclass(frozen=True, kw_only=True)
class Refit:
    """The full trainings of a study, beside the short ones."""

    name: str
    """Of the experiment."""
    summary: Summary
    """Of the full trainings, with the study's reference."""
    pairs: tuple[tuple[TrialRecord, TrialRecord], ...]
    """Short and full training of each architecture that completed both, fastest first."""

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b of the AP of short and full trainings, -1 to 1; None for fewer than three or equal ones."""
        if len(self.pairs) < 3:
            return None
        short, full = np.array([(one.result.ap, other.result.ap) for one, other in self.pairs], dtype=np.float64).T
        tau = float(kendalltau(short, full).statistic)
        return tau if np.isfinite(tau) else None


def compare_refit(name: str, study: Summary, refit: Sequence[TrialRecord]) -> Refit:
    """Pair the full trainings of an experiment with the short ones of its study."""
    short: Mapping[int, TrialRecord] = {record.number: record for record in study.records}
    pairs = []
    for record in refit:
        number = record.label.removeprefix(_LABEL)
        trial = short.get(int(number)) if number.isdigit() else None  # an experiment of the user's may have such a name
        if (
            trial is None or trial.architecture != record.architecture
        ):  # or the refit is of a deleted study of this name
            continue
        if trial.point is not None and record.point is not None:
            pairs.append((record.point[1], trial, record))
    pairs.sort(key=lambda row: row[0])
    return Refit(
        name=name,
        summary=Summary(records=tuple(refit), reference=study.reference),
        pairs=tuple((trial, record) for _, trial, record in pairs),
    )


def read_refit(study: ReadStudy) -> Refit | None:
    """Read a study's full trainings, the longest where there are several; None where there are none."""
    prefix = f"{study.name}-refit-"
    names = [path.parent.name for path in study.root.glob(f"{prefix}*/{EXPERIMENT_FILE}")]
    epochs = {name: int(number) for name in names if (number := name.removeprefix(prefix)).isdigit()}
    if not epochs:
        return None
    name = max(epochs, key=epochs.__getitem__)
    experiment = read_experiment(study.root, name)
    if experiment is None or not experiment.summary.records:
        return None
    return compare_refit(name, study.summary, experiment.summary.records)
