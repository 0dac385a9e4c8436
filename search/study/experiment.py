"""Experiments: named trainings that are listed rather than searched for.

A full training is one variant, an ablation a few, a transfer curve a few with several seeds. A JSON file in the
experiment's folder holds its id, its settings and its variants; results are read from the trials' folders.
"""

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.study.errors import StudyError
from search.study.pareto import Reference
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from search.study.settings import RunSettings, fixed_training
from search.study.summary import Summary
from spaces import Architecture
from trials.trial_result import TrialResult, read_result, write_json

EXPERIMENT_FILE = "experiment.json"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training of an experiment."""

    label: str
    """Tells it from the others, except for the seed."""
    architecture: Architecture
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"label": self.label, "architecture": self.architecture.to_dict(), "seed": self.seed}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Variant":
        """Invert `to_dict`."""
        return cls(**{**values, "architecture": Architecture.from_dict(values["architecture"])})


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings(RunSettings):
    """What the variants of an experiment have in common; the training seed is the variant's."""

    measures_anew: bool = False
    """Whether latencies are measured for this experiment alone, rather than taken from the root's cache."""

    @property
    def latency_cache(self) -> Path:
        """The latency cache, in the root: the measurement locks lie beside it."""
        return self.root / f"latency-{self.name}.db" if self.measures_anew else super().latency_cache

    def fixed(self) -> dict[str, Any]:
        """Return what must stay the same when the experiment is resumed."""
        train = fixed_training(self.train, leave_out=("seed",))
        return {"dataset": self.dataset, "device": self.device, "train": train, "skip_broken": self.skip_broken}


class Experiment:
    """One experiment, open in its driver.

    Args:
        settings: Which experiment; an existing one is resumed, with further variants if some are new.
        variants: What to train.

    Raises:
        StudyError: the folder belongs to a study, or to an experiment of other settings.
    """

    def __init__(self, settings: ExperimentSettings, variants: Sequence[Variant]) -> None:
        self._settings = settings
        self.id, self._variants = _open_book(settings, variants)
        self._results = {number: self._read(number) for number in range(len(self._variants))}
        wanted = (self._variants.index(variant) for variant in variants)
        self._waiting = [number for number in wanted if self._results[number] is None]

    @property
    def budget(self) -> int:
        """Finished trainings when all requested ones are done."""
        return len(self._waiting) + len(self.records())

    def ask(self) -> tuple[int, Variant] | None:
        """Return the next training's number and variant; None where none is left to start."""
        number = self._waiting.pop(0) if self._waiting else None
        return None if number is None else (number, self._variants[number])

    def tell(self, number: int, result: TrialResult) -> TrialRecord:
        """Record how a training ended."""
        self._results[number] = result
        return _record(number, self._variants[number], result)

    def interrupt(self, number: int) -> None:
        """Put a running training back, to be started first."""
        self._waiting.insert(0, number)

    def records(self) -> list[TrialRecord]:
        """Return the finished trainings, by number."""
        finished = [(number, result) for number, result in self._results.items() if result is not None]
        return [_record(number, self._variants[number], result) for number, result in finished]

    def records_of(self, variants: Sequence[Variant]) -> list[TrialRecord]:
        """Return the finished trainings of some variants, in the variants' order."""
        by_number = {record.number: record for record in self.records()}
        numbers = [self._variants.index(variant) for variant in variants]
        return [by_number[number] for number in numbers if number in by_number]

    def _read(self, number: int) -> TrialResult | None:
        """Return a variant's result; one that failed is deleted, so that it is run again."""
        folder = self._settings.trial_folder(number)
        result = read_result(folder)
        if result is None or result.state == "complete":
            return result
        shutil.rmtree(folder)
        return None


def experiment_reference(records: Sequence[TrialRecord]) -> Reference:
    """Return a reference point for an experiment, which seeks no front: AP 0 at its slowest latency."""
    return Reference(ap=0.0, latency_ms=max((record.point[1] for record in records if record.point), default=1.0))


def read_experiment(root: Path, name: str) -> ReadStudy | None:
    """Read an experiment as a study is read: its finished variants are its trials.

    Returns:
        None where no experiment has this name.
    """
    path = root / name / EXPERIMENT_FILE
    if not path.is_file():
        return None
    book = json.loads(path.read_text(encoding="utf-8"))
    records = []
    for number, values in enumerate(book["variants"]):
        if result := read_result(root / name / "trials" / f"{number:04d}"):
            records.append(_record(number, Variant.from_dict(values), result))
    summary = Summary(records=tuple(records), reference=experiment_reference(records))
    return ReadStudy(name=name, root=root, summary=summary, device=book["settings"]["device"])


def _open_book(settings: ExperimentSettings, variants: Sequence[Variant]) -> tuple[str, list[Variant]]:
    """Read or create the experiment's file; return its id and all its variants in the order they were added."""
    path = settings.folder / EXPERIMENT_FILE
    if path.is_file():
        book: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        settings.check_unchanged(
            book["settings"], hint="give the same settings to resume it, or another --name to begin a new one"
        )
    elif (settings.folder / "trials").is_dir():
        raise StudyError(f"{settings.folder} belongs to a search", hint="choose another --name")
    else:
        book = {"id": uuid.uuid4().hex, "settings": settings.fixed(), "variants": []}
    known = [Variant.from_dict(values) for values in book["variants"]]
    known += [variant for variant in dict.fromkeys(variants) if variant not in known]
    write_json(path, {**book, "variants": [variant.to_dict() for variant in known]})
    return book["id"], known


def _record(number: int, variant: Variant, result: TrialResult) -> TrialRecord:
    return TrialRecord(number=number, architecture=variant.architecture, result=result, label=variant.label)
