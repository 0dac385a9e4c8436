"""A study as read by commands that do not drive it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from search.front.pareto import Reference
from search.front.record import trial_folder
from search.front.summary import Summary
from search.study.database.lease import other_host
from search.study.database.storage import has_storage, named_storage_errors, open_storage, shown_storage, users_storage
from search.study.database.trial_attributes import LOOKUP
from search.study.errors import StudyError, naming_damage
from search.study.prior import Prior
from search.study.settings import to_train_settings
from search.study.study import read_budget, read_priors, read_shared_record, to_record
from spaces.presets import presets_in
from spaces.space import Space
from trials.training import TrainSettings

EXPERIMENT_FILE = "experiment.json"
"""In the folder of trainings that were listed rather than searched for (`search.study.experiment`)."""


@dataclass(frozen=True, kw_only=True)
class ReadStudy:
    """What a study holds."""

    name: str
    root: Path
    summary: Summary
    device: str
    """The device as the user typed it."""
    dataset: str = ""
    """The dataset as the user typed it."""
    skip_broken: bool = False
    """Whether broken items of the dataset are left out."""
    fingerprint: str = ""
    """Of the dataset that its last run was with; empty where an experiment has not noted it."""
    max_latency_ms: float | None = None
    """Slower networks are not trained; None for no limit."""
    id: str = ""
    """Distinguishes it from others of its name in MLflow."""
    train: TrainSettings | None = None
    """How its trials train; None for an experiment."""
    also_measure: tuple[str, ...] = ()
    """Further devices whose latency is recorded."""
    inherit: bool = False
    """Whether its trials started from each other's weights."""
    priors: tuple[Prior, ...] = ()
    """Its copies of the earlier studies that it learnt from."""
    looked_up_ms: Mapping[str, float] = field(default_factory=dict)
    """Latencies measured for proposals, by network (`Encoder.network`); infinity where the device cannot run it."""
    seconds_shared: float = 0.0
    """Of the training of its shared weights, 0 without one."""
    budget: int | None = None
    """How many finished trials its run was to come to; None where the last one came to its end, or it is not noted."""
    other_host: str = ""
    """The host that it was last driven on, where that is another one and its driver did not let go of it."""
    space: Space | None = None
    """Where its architectures came from; None for an experiment, which lists its own."""

    @property
    def interruption(self) -> str:
        """How far its last run came, where that is not its end; of one that still runs, too."""
        if self.budget is None or len(self.summary.records) >= self.budget:
            return ""
        how = f"running on {self.other_host}, or killed there," if self.other_host else "interrupted"
        return f"{how} at {len(self.summary.records)} of {self.budget}"

    def trial_folder(self, number: int) -> Path:
        """Return the folder of a trial's files."""
        return trial_folder(self.root / self.name, number)


def read_study(root: Path, name: str) -> ReadStudy:
    """Read a study.

    Raises:
        StudyError: there is no such study, or it never started; names the existing ones.
    """
    known = study_names(root)
    if name not in known and (root / name / EXPERIMENT_FILE).is_file():
        raise StudyError(f"{name!r} holds trainings, not a search", hint=_searches(known))
    if name not in known:
        raise StudyError(f"no study {name!r} in {root}", hint=_what_there_is(known, experiment_names(root)))
    with named_storage_errors(root), naming_damage(shown_storage(root), f"the study {name!r}"):
        return _read(root, name, optuna.load_study(study_name=name, storage=open_storage(root)))


def _read(root: Path, name: str, study: optuna.Study) -> ReadStudy:
    attributes = study.user_attrs
    if "reference_latency_ms" not in attributes:
        raise StudyError(f"study {name!r} was created but never started", hint="run its search again")
    settings = attributes["settings"]
    space = Space.from_dict(settings["space"])
    presets = {twin.key: preset for preset, twin in presets_in(space).items()}
    limit_ms = settings["max_latency_ms"]
    trials = [trial for trial in study.get_trials(deepcopy=False) if "result" in trial.user_attrs]
    return ReadStudy(
        name=name,
        root=root,
        summary=Summary(
            records=tuple(to_record(trial, presets) for trial in trials),
            reference=Reference(ap=0.0, latency_ms=float(attributes["reference_latency_ms"])),
        ),
        device=str(settings["device"]),
        dataset=str(settings["dataset"]),
        skip_broken=bool(settings["skip_broken"]),
        fingerprint=str(attributes["dataset_fingerprint"]),
        max_latency_ms=None if limit_ms is None else float(limit_ms),
        id=str(attributes["id"]),
        train=to_train_settings(settings["train"]),
        also_measure=tuple(settings["also_measure"]),
        inherit=bool(settings["inherit"]),
        priors=read_priors(study),
        looked_up_ms={
            name.removeprefix(LOOKUP): float(value) for name, value in attributes.items() if name.startswith(LOOKUP)
        },
        seconds_shared=0.0 if (shared := read_shared_record(study)) is None else shared.seconds,
        budget=read_budget(study),
        other_host=other_host(study),
        space=space,
    )


def _searches(known: list[str]) -> str:
    if not known:
        return "there is no search in this folder"
    return f"the searches are {', '.join(known)}" if len(known) > 1 else f"the search here is {known[0]}"


def _what_there_is(searches: list[str], trainings: list[str]) -> str:
    names = [*searches, *(f"{name} (trainings)" for name in trainings)]
    if not names:
        return "there is none yet: yoloret-nas search --budget 50"
    return f"there {'are' if len(names) > 1 else 'is'} {', '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What a study began with."""

    space: Space
    """Where its architectures come from."""
    prior: tuple[str, ...]
    """The earlier studies that it learns from, as `StudySettings.prior` has them."""
    train: TrainSettings
    """How its trials train."""


def begun_with(root: Path, name: str) -> Begun | None:
    """Return what a study began with; None where there is no such study, or its driver was killed as it created it."""
    if name not in study_names(root):
        return None
    with named_storage_errors(root), naming_damage(shown_storage(root), f"the study {name!r}"):
        settings = optuna.load_study(study_name=name, storage=open_storage(root)).user_attrs.get("settings")
        if settings is None:
            return None
        return Begun(
            space=Space.from_dict(settings["space"]),
            prior=tuple(settings["prior"]),
            train=to_train_settings(settings["train"]),
        )


def experiment_names(root: Path) -> list[str]:
    """Return the names of a folder's experiments, in alphabetical order."""
    return sorted(path.parent.name for path in root.glob(f"*/{EXPERIMENT_FILE}"))


def study_names(root: Path) -> list[str]:
    """Return the names of a folder's studies, the newest last."""
    if not has_storage(root):
        return []
    with named_storage_errors(root), naming_damage(shown_storage(root), "studies"):
        summaries = optuna.get_all_study_summaries(open_storage(root), include_best_trial=False)
    names = [study.study_name for study in summaries]
    # A server holds the studies of other folders, too.
    return names if users_storage() is None else [name for name in names if (root / name).is_dir()]
