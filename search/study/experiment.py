"""Experiments: named trainings that are listed rather than searched for.

A full training is one variant, an ablation a few, a transfer curve a few with several seeds. A JSON file in the
experiment's folder holds its id, its settings and its variants; results are read from the trials' folders.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search.front.pareto import Reference
from search.front.record import TrialRecord, trial_folder
from search.front.summary import Summary
from search.study.data_record import recorded_fingerprint
from search.study.device_record import check_device, describe_device
from search.study.errors import StorageError, StudyError, naming_damage
from search.study.read_study import EXPERIMENT_FILE, ReadStudy, read_study
from search.study.settings import RunSettings, differences, fixed_training, to_train_settings
from spaces import Architecture
from trials.latency import DeviceIdentity, Latency
from trials.training import CHECKPOINT_FILE, TrainSettings
from trials.training.settings import LAST_FILE
from trials.trial_result import TrialResult, read_json, read_result, write_json

_DAMAGED = "put a copy of yours in its place, or begin another with --name NAME"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training of an experiment."""

    label: str
    """Distinguishes it from the others, except for the seed."""
    architecture: Architecture
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"label": self.label, "architecture": self.architecture.to_dict(), "seed": self.seed}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Variant":
        """Invert `to_dict`."""
        return cls(
            label=str(values["label"]),
            architecture=Architecture.from_dict(values["architecture"]),
            seed=int(values["seed"]),
        )

    def record(self, number: int, result: TrialResult) -> TrialRecord:
        """Return the record of this training, under its number in the experiment."""
        return TrialRecord(number=number, architecture=self.architecture, result=result, label=self.label)


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings(RunSettings):
    """What the variants of an experiment have in common; the training seed is the variant's."""

    study_data: str = ""
    """Fingerprint of the data of the study that these are full trainings of, which others are refused for; empty for any."""
    scales: Mapping[str, Latency] = field(default_factory=dict)
    """Device to a latency of that study, whose scale those of its full trainings have; empty for the cache's own."""
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


def read_experiment(root: Path, name: str) -> ReadStudy | None:
    """Read an experiment as a study is read: its finished variants are its trials.

    Returns:
        None where no experiment has this name.

    Raises:
        StudyError: its file is damaged.
        DamagedFileError: it, or the file of a trial's result, is no JSON.
    """
    path = root / name / EXPERIMENT_FILE
    if not path.is_file():
        return None
    with naming_damage(path, "an experiment"):
        return _read(root, name, read_json(path, hint=_DAMAGED))


def read_study_or_experiment(root: Path, name: str) -> ReadStudy:
    """Read the study or the experiment that has a name.

    Raises:
        StudyError: there is neither, it never started, or its file is damaged.
        DamagedFileError: it, or the file of a trial's result, is no JSON.
    """
    return read_experiment(root, name) or read_study(root, name)


def _read(root: Path, name: str, book: dict[str, Any]) -> ReadStudy:
    records = []
    for number, values in enumerate(book["variants"]):
        variant, folder = Variant.from_dict(values), trial_folder(root / name, number)
        if result := read_result(folder, study_id=book["id"], architecture=variant.architecture):
            records.append(variant.record(number, result))
    settings = book["settings"]
    return ReadStudy(
        name=name,
        root=root,
        summary=to_summary(records),
        device=str(settings["device"]),
        dataset=str(settings["dataset"]),
        skip_broken=bool(settings["skip_broken"]),
        fingerprint=recorded_fingerprint(root / name),
        id=str(book["id"]),
        budget=book.get("budget"),
    )


def note_device(settings: ExperimentSettings, device: DeviceIdentity, *, has_results: bool, wants_more: bool) -> None:
    """Record the device that an experiment's results are of, and refuse to add results of another one.

    Args:
        settings: The experiment's.
        device: The present one.
        has_results: Whether a training is complete.
        wants_more: Whether one is to be trained now.

    Raises:
        StudyError: with what changed.
        StorageError: the file cannot be written.
    """
    path = settings.folder / EXPERIMENT_FILE
    book = read_json(path, hint=_DAMAGED)
    if has_results and wants_more:
        with naming_damage(path, "an experiment"):
            check_device(
                book.get("device"),
                device,
                what=f"trainings {settings.name!r}",
                way_out=f"begin anew: under another name, or delete {settings.folder}",
            )
    if not has_results:
        _write(path, {**book, "device": describe_device(device)})


def to_summary(records: Sequence[TrialRecord]) -> Summary:
    """Return an experiment's trainings together; the reference is AP 0 at the slowest of them, for it seeks no front."""
    slowest_ms = max((record.point[1] for record in records if record.point), default=1.0)
    return Summary(records=tuple(records), reference=Reference(ap=0.0, latency_ms=slowest_ms))


def refuse_relabelled(settings: ExperimentSettings, variants: Sequence[Variant]) -> None:
    """Refuse networks under labels that stand for others in an existing experiment: its table would mix or lose them.

    Raises:
        StudyError: with the first such label.
    """
    before = {variant.label: variant.architecture for variant in _known(settings)}
    for variant in variants:
        former = before.get(variant.label, variant.architecture)
        if former != variant.architecture:
            lines = differences(former.to_dict(), variant.architecture.to_dict())
            same = "give the same settings to resume it"
            if not former.transfer and former == variant.architecture.replace(transfer=0):
                same = "it began without ImageNet weights: resume it so with --weights random"
            raise StudyError(
                f"in {settings.name!r} {variant.label!r} is another network: {'; '.join(lines[:3])}",
                hint=f"{same}, or give another --name to begin a new one",
            )


def find_begun(settings: ExperimentSettings, variant: Variant) -> Variant | None:
    """Return the same training as the experiment began it, perhaps with another transfer boundary; None if it did not.

    ImageNet weights may be within reach at one start of a command and not at the next: that makes it no other training, once
    an epoch is trained.

    Raises:
        StudyError: the experiment's file holds something else.
    """
    known = [one for number, one in enumerate(_known(settings)) if _has_weights(trial_folder(settings.folder, number))]
    if variant in known:
        return variant
    return next((one for one in known if _without_start(one) == _without_start(variant)), None)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (LAST_FILE, CHECKPOINT_FILE))


def _known(settings: ExperimentSettings) -> list[Variant]:
    """Return an experiment's variants; none where it has not begun."""
    path = settings.folder / EXPERIMENT_FILE
    if not path.is_file():
        return []
    with naming_damage(path, "an experiment"):
        return [Variant.from_dict(values) for values in read_json(path, hint=_DAMAGED)["variants"]]


def _without_start(variant: Variant) -> Variant:
    return replace(variant, architecture=variant.architecture.replace(transfer=0))


def begun_training(root: Path, name: str) -> TrainSettings | None:
    """Return how the trainings of an experiment are trained; None where no experiment has this name.

    Raises:
        StudyError: its file is damaged.
    """
    path = root / name / EXPERIMENT_FILE
    if not path.is_file():
        return None
    with naming_damage(path, "an experiment"):
        return to_train_settings(read_json(path, hint=_DAMAGED)["settings"]["train"])


def open_experiment(settings: ExperimentSettings, variants: Sequence[Variant]) -> tuple[str, list[Variant]]:
    """Open an experiment's file, or create it, with some variants added where they are new.

    Returns:
        Its id, and all its variants in the order they were added.

    Raises:
        StudyError: the folder belongs to a study, or to an experiment of other settings.
        StorageError: the file cannot be written.
    """
    path = settings.folder / EXPERIMENT_FILE
    if path.is_file():
        with naming_damage(path, "an experiment"):
            book = read_json(path, hint=_DAMAGED)
            known = [Variant.from_dict(values) for values in book["variants"]]
            settings.check_unchanged(
                book["settings"],
                hint="give the same settings to resume it, or another --name to begin a new one",
            )
    elif (settings.folder / "trials").is_dir():
        raise StudyError(f"{settings.folder} belongs to a search", hint="choose another --name")
    else:
        book, known = {"id": uuid.uuid4().hex, "settings": settings.fixed(), "variants": []}, []
    book["settings"] = settings.renew(book["settings"])
    known += [variant for variant in dict.fromkeys(variants) if variant not in known]
    _write(path, {**book, "variants": [variant.to_dict() for variant in known]})
    return book["id"], known


def note_budget(settings: ExperimentSettings, value: int | None) -> None:
    """Record how many finished trainings an experiment's run is to come to; None once it has come to its end.

    Raises:
        StorageError: the file cannot be written.
    """
    path = settings.folder / EXPERIMENT_FILE
    with naming_damage(path, "an experiment"):
        book = read_json(path, hint=_DAMAGED)
    _write(path, {**book, "budget": value})


def _write(path: Path, book: Mapping[str, Any]) -> None:
    try:
        write_json(path, book)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", hint="free disk space; the same command resumes"
        ) from error
