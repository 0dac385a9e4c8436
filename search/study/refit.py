"""From short trainings to full ones: which trials are retrained, and whether the short trainings ranked alike.

Short trainings rank, full ones decide. Beside the front's members, trials that noise alone may have kept off the front are
retrained; Kendall's tau measures how far the two rankings agree. The trainings are an experiment
(`search.study.experiment`) named after the study and its epochs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import kendalltau

from search.front.estimate import NOISE, group_repeats, mean_ap
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.experiment import Variant, read_experiment
from search.study.read_study import EXPERIMENT_FILE, ReadStudy
from trials.training import TrainSettings

_LABEL = "trial "


MIN_COMPARED = 3
"""Networks from which on two rankings are compared."""


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

    def seconds(self, epochs: int, *, num_repeats: int, done: Mapping[int, int]) -> float:
        """Return the expected seconds of retraining all, one after the other, from what their trials took.

        Args:
            epochs: Of each training.
            num_repeats: Repeats, each of which is expected to take as long as the mean.
            done: Number of a trial to how many of its full trainings are finished; 0 where it is absent.
        """
        seconds = {
            record.number: (record.result.seconds.get("train", 0.0) + record.result.seconds.get("score", 0.0))
            / max(1, record.result.epochs)
            * epochs
            for record in self.all
        }
        left = max(0, num_repeats - self.num_repeated(done))
        missing = sum(one for number, one in seconds.items() if not done.get(number))
        return missing + left * sum(seconds.values()) / max(1, len(seconds))

    def num_repeated(self, done: Mapping[int, int]) -> int:
        """Return how many of the finished full trainings are repeats; `done` is that of `seconds`."""
        return sum(max(0, done.get(record.number, 0) - 1) for record in self.all)


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


def full_training(train: TrainSettings, *, epochs: int) -> TrainSettings:
    """Return the settings of a trial's training for so many epochs: as many of them frozen, ten scores or fewer."""
    return replace(
        train,
        epochs=epochs,
        frozen_epochs=train.frozen_epochs * epochs // train.epochs,
        score_every=max(train.score_every, epochs // 10),
    )


def to_variants(finalists: Finalists, *, seed: int) -> list[Variant]:
    """Return the experiment's variants; their labels name the trials they retrain.

    Args:
        finalists: The trials.
        seed: Of the study; the next one is used, since the study's own gave the scores that chose the finalists.
    """
    return [
        Variant(label=f"{_LABEL}{one.number}", architecture=one.architecture, seed=seed + 1) for one in finalists.all
    ]


def full_name(study: str, number: int, *, epochs: int) -> str:
    """Return the name of the experiment that is the full training of one trial, before its export."""
    return f"{study}-trial-{number}-full-{epochs}"


def retrained_trial(name: str, label: str) -> tuple[str, int] | None:
    """Return the study and the number of the trial that a training of an experiment retrains; None where it is of no trial.

    Retraining is what bears a name of `refit_name` or `full_name`: as the study trains, on its data, for longer. A training
    of the user's own of that architecture may be of other data, another size or another recipe.

    Args:
        name: Of the experiment.
        label: Of the training.

    >>> retrained_trial("cells-refit-90", "trial 7"), retrained_trial("cells-trial-7-full-90", "cells:7")
    (('cells', 7), ('cells', 7))
    >>> retrained_trial("train-cells-7-other", "cells:7")
    """
    if refit := re.fullmatch(f"(.+)-refit-[0-9]+ {_LABEL}([0-9]{{1,9}})", f"{name} {label}"):
        return refit[1], int(refit[2])
    if full := re.fullmatch(r"(.+)-trial-([0-9]{1,9})-full-[0-9]+ \1:\2", f"{name} {label}"):
        return full[1], int(full[2])
    return None


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """A trial and its full trainings."""

    trial: TrialRecord
    best: TrialRecord
    """The full training with the highest AP; its weights are exported."""
    ap: float
    """Mean AP over the seeds."""
    num_seeds: int
    """Complete full trainings, at least 1."""


@dataclass(frozen=True, kw_only=True)
class Refit:
    """The full trainings of a study, beside the short ones."""

    name: str
    """Of the experiment."""
    summary: Summary
    """Of the full trainings, with the study's reference."""
    retrained: tuple[Retrained, ...]
    """Each trial that is complete and has a complete full training, fastest first."""

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b of the AP of short and full trainings, -1 to 1; None for fewer than three or equal ones."""
        if len(self.retrained) < MIN_COMPARED:
            return None
        short, full = np.array([(one.trial.result.ap, one.ap) for one in self.retrained], dtype=np.float64).T
        tau = float(kendalltau(short, full).statistic)
        return tau if np.isfinite(tau) else None


def compare_refit(name: str, study: Summary, refit: Sequence[TrialRecord]) -> Refit:
    """Pair the full trainings of an experiment with the short ones of its study."""
    short: Mapping[int, TrialRecord] = {record.number: record for record in study.records}
    retrained = []
    for repeats in group_repeats(refit).values():
        number = repeats[0].label.removeprefix(_LABEL)
        trial = (
            short.get(int(number)) if re.fullmatch("[0-9]{1,9}", number) else None
        )  # an experiment of the user's may have such a name
        if trial is None or trial.architecture != repeats[0].architecture:  # or it is of a deleted study of this name
            continue
        if trial.point is not None:
            best = max(repeats, key=lambda record: record.point or (0.0, 0.0))
            retrained.append(Retrained(trial=trial, best=best, ap=mean_ap(repeats), num_seeds=len(repeats)))
    retrained.sort(key=lambda one: one.best.point[1] if one.best.point else 0.0)
    return Refit(
        name=name,
        summary=Summary(records=tuple(refit), reference=study.reference),
        retrained=tuple(retrained),
    )


def read_refit(study: ReadStudy) -> Refit | None:
    """Read a study's full trainings, the longest that is complete for some network; None where there are none."""
    prefix = f"{study.name}-refit-"
    names = [path.parent.name for path in study.root.glob(f"{prefix}*/{EXPERIMENT_FILE}")]
    numbers = {name: name.removeprefix(prefix) for name in names}
    epochs = {name: int(number) for name, number in numbers.items() if re.fullmatch("[0-9]{1,9}", number)}
    for name in sorted(epochs, key=epochs.__getitem__, reverse=True):
        experiment = read_experiment(study.root, name)
        if experiment is not None:
            found = compare_refit(name, study.summary, experiment.summary.records)
            if found.retrained:
                return found
    return None
