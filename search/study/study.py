"""The study: Optuna's record of what was tried, opened, asked and told by its one driver.

Optuna's database is the record of what finished. A trial is told once, at its end, in one of four states (the user
attribute ``state``; Optuna itself has no state *infeasible*):

========== ================= ==================================================================================
state      Optuna's state    values
========== ================= ==================================================================================
complete   COMPLETE          AP, latency
infeasible COMPLETE          0, latency, and a constraint above 0: samplers learn to avoid it, Optuna's own best
                             trials leave it out; the 0 is never shown
pruned     PRUNED            none
failed     FAIL              none
========== ================= ==================================================================================
"""

import shutil
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.front.record import TrialRecord
from search.study.data_record import check_data
from search.study.database.lease import Lease
from search.study.database.parameters import distributions, from_parameters, to_parameters
from search.study.database.storage import STORAGE_VARIABLE, open_storage, optuna_path, shown_storage, users_storage
from search.study.database.trial_attributes import INTERRUPTED, PRUNE_REASON, WHY
from search.study.device_record import check_device, describe_device
from search.study.errors import ProposalStoppedError, SpaceExhaustedError, StudyError
from search.study.one_shot import SHARED_FOLDER, SharedRecord, is_trained_in_part
from search.study.prior import Prior
from search.study.settings import Keep, StudySettings
from spaces import Architecture
from spaces.counted import counted
from spaces.presets import presets_in
from trials.data import Dataset
from trials.latency import DeviceAwayError, DeviceIdentity, Latency, UnusableDeviceError
from trials.latency.cache import LatencyCacheError
from trials.trial_result import RESULT_FILE, TrialResult, read_result

ONE_SHOT = "one_shot"
"""User attribute of a study: its `SharedRecord` as a dictionary, once its shared weights are trained."""
PRIORS = "priors"
"""User attribute of a study: its copies of earlier studies, each a `Prior` as a dictionary."""
_BUDGET = "budget"
"""User attribute of a study: see `read_budget`."""
_KEPT_SAMPLES = 101
"""Latency samples kept in the database: the percentiles 0 to 100. All of them are in the trial's folder."""
_CONSTRAINT = "latency_ms_over_limit"


class Study:
    """One study, open in its driver.

    Args:
        settings: The study.
        sampler: Proposes points of architectures only.

    Raises:
        StudyError: the study exists with other settings.
    """

    def __init__(self, settings: StudySettings, sampler: BaseSampler) -> None:
        self._settings = settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(
            storage=open_storage(settings.root),
            study_name=settings.name,
            directions=["maximize", "minimize"],
            sampler=sampler,
            load_if_exists=True,
        )
        self._distributions = distributions(settings.space)
        self._presets = {twin.key: name for name, twin in presets_in(settings.space).items()}
        self._failed: dict[int, Architecture] = {}
        self._unqueued: list[Architecture] = []
        self._keys: dict[int, str] = {}
        """Of the architecture of each trial, which never changes."""
        self._check_files()
        self._check_settings()
        self._lease = Lease(self._study)

    def take(self, notice: Callable[[str], None]) -> None:
        """Become its only driver (`search.study.database.lease`), before anything else is called that changes it.

        Args:
            notice: Called with a note for the user before a wait.

        Raises:
            StudyError: another process drives it, or drove it to its first results with other settings.
        """
        self._lease.take(notice)
        try:
            self._check_settings()  # again: another process may have driven it until now
            recorded = self._study.user_attrs["settings"]
            if (renewed := self._settings.renew(recorded)) != recorded:
                self._study.set_user_attr("settings", renewed)
        except BaseException:
            self._lease.release()
            raise

    def release(self) -> None:
        """Let others drive it."""
        self._lease.release()

    def check_identity(self, dataset: Dataset, device: DeviceIdentity, *, notice: Callable[[str], None]) -> None:
        """Refuse to resume with another device, or other data (`search.study.data_record`), than the study began with.

        Called after `recover`: what a killed driver's trials wrote are results, too.

        Args:
            dataset: The present data.
            device: The present device.
            notice: Called with a note of what changed in the data, where that is accepted.

        Raises:
            StudyError: with what changed.
        """
        attributes = self._study.user_attrs
        check_device(
            attributes.get("device"),
            device,
            what=f"study {self._settings.name!r}",
            way_out="begin another study with --study NAME",
        )
        has_results = any(record.result.state != "failed" for record in self.records()) or self.shared is not None
        has_results = has_results or is_trained_in_part(self._settings.folder / SHARED_FOLDER, self.id)
        former = attributes.get("dataset_fingerprint")
        check_data(self._settings, dataset, former=former, has_results=has_results, notice=notice)
        self._study.set_user_attr("dataset_fingerprint", dataset.fingerprint)
        self._study.set_user_attr("device", describe_device(device))
        self._give_id()

    def choose_kept(self) -> Keep:
        """Return whose weights stay, and record a choice: the settings', else the former one, else ``front``."""
        chosen: Keep = self._settings.keep or self._study.user_attrs.get("keep", "front")
        self._study.set_user_attr("keep", chosen)
        return chosen

    @property
    def id(self) -> str:
        """Distinguishes this study from others of its name in a shared MLflow store."""
        self._give_id()
        return str(self._study.user_attrs["id"])

    def _give_id(self) -> None:
        if "id" not in self._study.user_attrs:
            self._study.set_user_attr("id", uuid.uuid4().hex)

    @property
    def reference_latency_ms(self) -> float | None:
        """Latency of the hypervolume's reference point; fixed once it is set."""
        return self._study.user_attrs.get("reference_latency_ms")

    @reference_latency_ms.setter
    def reference_latency_ms(self, value: float) -> None:
        self._study.set_user_attr("reference_latency_ms", value)

    def note_budget(self, value: int | None) -> None:
        """Record how many finished trials its run is to come to; None once the run has come to its end."""
        self._lease.check()
        self._study.set_user_attr(_BUDGET, value)

    @property
    def priors(self) -> tuple[Prior, ...]:
        """Its copies of earlier studies, and what its shared weights say."""
        return read_priors(self._study)

    @priors.setter
    def priors(self, values: Sequence[Prior]) -> None:
        self._study.set_user_attr(PRIORS, [prior.to_dict() for prior in values])
        recorded = self._study.user_attrs["settings"]
        self._study.set_user_attr("settings", {**recorded, "prior": self._settings.fixed()["prior"]})

    @property
    def lacks_priors(self) -> bool:
        """Whether it lacks copies of the priors in the settings: it is new, or began with others and has no result."""
        copied = [values["study"] for values in self._study.user_attrs.get(PRIORS, ())]
        wanted = self._settings.fixed()["prior"]
        return bool(wanted and not copied) or (sorted(copied) != wanted and not self._has_results)

    @property
    def _has_results(self) -> bool:
        """Whether a trial has ended with a result, or may have: its driver was killed."""
        trials = self._study.get_trials(deepcopy=False)
        return any("result" in trial.user_attrs or trial.state == TrialState.RUNNING for trial in trials)

    @property
    def shared(self) -> SharedRecord | None:
        """What it keeps of the training of its shared weights; None before that has ended."""
        return read_shared_record(self._study)

    @shared.setter
    def shared(self, value: SharedRecord) -> None:
        self._study.set_user_attr(ONE_SHOT, value.to_dict())

    def recover(self) -> list[TrialRecord]:
        """End the trials that a killed driver left running: with their written result, or queued again.

        Returns:
            The trials whose results were found.
        """
        found = []
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if result := self._read_result(trial):
                if result.state == "pruned":  # the trial itself does not know why
                    result = replace(result, reason=trial.user_attrs.get(PRUNE_REASON, result.reason))
                found.append(self.tell(trial.number, result))
            else:
                self.interrupt(trial.number)
        return found

    def note_prune(self, number: int, reason: str) -> None:
        """Keep why a running trial is told to stop: its driver may be killed before it hears of the end."""
        self._lease.check()
        trial = self._study.get_trials(deepcopy=False)[number]
        optuna.trial.Trial(self._study, trial._trial_id).set_user_attr(PRUNE_REASON, reason)

    def release_failed(self) -> tuple[int, int]:
        """Free the architectures of the trials that have failed so far; the trials stay in the record.

        Returns:
            How many trials have failed, and of how many of their architectures no trial has ended otherwise since.
        """
        records = self.records()
        failed = [record for record in records if record.result.state == "failed"]
        done = {record.architecture for record in records if record.result.state != "failed"}
        self._failed = {record.number: record.architecture for record in failed}
        self._unqueued = [one for one in dict.fromkeys(self._failed.values()) if one not in done]
        return len(failed), len(self._unqueued)

    def has_failed(self, architecture: Architecture) -> bool:
        """Return whether an architecture is one that `release_failed` freed."""
        return architecture in self._failed.values()

    def queue_failed(self) -> bool:
        """Queue the freed architectures before all else; return whether there were any that are not queued yet."""
        queued, self._unqueued = self._unqueued, []
        for architecture in queued:
            point = to_parameters(self._settings.space, architecture)
            self._study.enqueue_trial(point, user_attrs={WHY: "it failed in an earlier run"}, skip_if_exists=False)
        return bool(queued)

    def interrupt(self, number: int) -> None:
        """Give up a running trial without a result; its architecture is tried again first, its files are deleted."""
        self._lease.check()
        trial = self._study.get_trials(deepcopy=False)[number]
        point = {**trial.params, **trial.system_attrs.get("fixed_params", {})}
        if set(point) == set(self._distributions):  # fewer if the driver was killed while asking
            why = {WHY: trial.user_attrs.get(WHY, "")}
            self._study.enqueue_trial(point, user_attrs=why, skip_if_exists=False)
        optuna.trial.Trial(self._study, trial._trial_id).set_user_attr(INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        # An orphan of a killed driver may still write there, for a moment; its number is never used again.
        shutil.rmtree(self._settings.trial_folder(number), ignore_errors=True)

    def ask(self) -> tuple[int, Architecture, str] | None:
        """Return the next trial's number, what to try, and why; None where every architecture was tried.

        Raises:
            StudyError: another process has taken over the study.
            ProposalStoppedError: the user ended the run meanwhile.
            DeviceAwayError, UnusableDeviceError, LatencyCacheError: a latency is needed and there is none to have, whatever
                the network.
        """
        self._lease.check()
        tried = self._tried_keys()
        while len(tried) < self._settings.space.size:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    trial = self._study.ask(self._distributions)
            except SpaceExhaustedError:
                self._end_unproposed()
                return None
            except (ProposalStoppedError, DeviceAwayError, UnusableDeviceError, LatencyCacheError):
                self._end_unproposed()
                raise
            architecture = from_parameters(self._settings.space, trial.params)
            if architecture.key not in tried:
                trial.set_user_attr("architecture", architecture.to_dict())
                # From the storage: `trial` holds the attributes of before the sampler ran.
                stored = self._study.get_trials(deepcopy=False)[trial.number]
                return trial.number, architecture, str(stored.user_attrs.get(WHY, ""))
            # Queued twice by drivers killed between queueing and telling: once is enough.
            trial.set_user_attr(INTERRUPTED, True)
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def tell(self, number: int, result: TrialResult) -> TrialRecord:
        """Record a trial's end, once.

        Raises:
            StudyError: another process has taken over the study.
        """
        self._lease.check()
        trial = self._study.get_trials(deepcopy=False)[number]
        handle = optuna.trial.Trial(self._study, trial._trial_id)
        thinned = replace(
            result,
            latency=_thinned(result.latency) if result.latency else None,
            also={device: _thinned(latency) for device, latency in result.also.items()},
        )
        handle.set_user_attr("result", thinned.to_dict())
        handle.set_user_attr("state", result.state)
        limit = self._settings.max_latency_ms
        if limit is not None and result.latency is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                handle.set_constraint(_CONSTRAINT, result.latency.median_ms - limit)
        if result.state in ("complete", "infeasible"):
            assert result.latency is not None
            self._study.tell(number, [result.ap or 0.0, result.latency.median_ms])
        else:
            self._study.tell(number, state=TrialState.PRUNED if result.state == "pruned" else TrialState.FAIL)
        return to_record(self._study.get_trials(deepcopy=False)[number], self._presets)

    def records(self) -> list[TrialRecord]:
        """Return the finished trials, by number, without interrupted ones."""
        trials = self._study.get_trials(deepcopy=False)
        finished = [trial for trial in trials if trial.state.is_finished() and "result" in trial.user_attrs]
        return [to_record(trial, self._presets) for trial in finished]

    def queue_presets(self) -> None:
        """Queue the paper's presets that lie in the space before all else, if this study is new."""
        if self._study.user_attrs.get("presets_queued"):
            return
        for name, architecture in presets_in(self._settings.space).items():
            point = to_parameters(self._settings.space, architecture)
            self._study.enqueue_trial(point, user_attrs={WHY: f"preset {name}"}, skip_if_exists=True)
        self._study.set_user_attr("presets_queued", True)  # a driver killed before this queues the missing ones again

    def is_preset(self, architecture: Architecture) -> bool:
        """Return whether this is one of the paper's networks."""
        return architecture.key in self._presets

    def _read_result(self, trial: FrozenTrial) -> TrialResult | None:
        """Return the result in a trial's folder, None without one of this study and the trial's architecture."""
        if "architecture" not in trial.user_attrs:  # the driver was killed while asking
            return None
        architecture = Architecture.from_dict(trial.user_attrs["architecture"])
        return read_result(self._settings.trial_folder(trial.number), study_id=self.id, architecture=architecture)

    def _end_unproposed(self) -> None:
        """End trials without an architecture: Optuna records a trial before it asks the sampler."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "architecture" not in trial.user_attrs:
                self.interrupt(trial.number)

    def _tried_keys(self) -> set[str]:
        """Return the keys of the architectures that run or have a result, but not of freed ones; parses no result."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.number not in self._keys and "architecture" in trial.user_attrs:
                self._keys[trial.number] = Architecture.from_dict(trial.user_attrs["architecture"]).key
        return {
            self._keys[trial.number]
            for trial in trials
            if "architecture" in trial.user_attrs
            and (trial.state == TrialState.RUNNING or "result" in trial.user_attrs)
            and trial.number not in self._failed
        }

    def _check_files(self) -> None:
        """Refuse a study of a server whose trials' files are in another folder, and a folder with another record's."""
        settings = self._settings
        numbers = [record.number for record in self.records()]
        are_there = any(settings.trial_folder(number).is_dir() for number in numbers)
        if numbers and not are_there and users_storage() is not None:
            raise StudyError(
                f"the server has a study {settings.name!r} with {counted(len(numbers), 'trial(s)')}, but their "
                f"files are not in {settings.folder}",
                hint="name the folder that has them with --dir, or begin another study with --study NAME",
            )
        if not self._study.get_trials(deepcopy=False) and any(settings.folder.glob(f"trials/*/{RESULT_FILE}")):
            raise StudyError(
                f"{settings.folder} holds trials that the study's record ({shown_storage(settings.root)}) does not know",
                hint=f"set {STORAGE_VARIABLE} to the database that has them (without it: {optuna_path(settings.root)}), or "
                "begin another study with --study NAME",
            )

    def _check_settings(self) -> None:
        before = self._study.user_attrs.get("settings")
        if before is None:
            self._study.set_user_attr("settings", self._settings.fixed())
        else:
            before = dict(before)
            is_other = before["sampler"] != self._settings.sampler  # which has other priors: no difference of its own
            if is_other or not self._has_results or self._settings.are_same_priors(before["prior"]):
                before["prior"] = self._settings.fixed()["prior"]
            prior = (
                ""
                if before["prior"] == self._settings.fixed()["prior"]
                else " (without --prior it goes on as it began)"
            )
            self._settings.check_unchanged(
                before, hint=f"give the same settings to resume it{prior}, or another --study NAME to begin a new one"
            )


def to_record(trial: FrozenTrial, presets: Mapping[str, str]) -> TrialRecord:
    """Return the record that a finished trial's attributes hold.

    Args:
        trial: With its architecture and its result.
        presets: Architecture key to the name of the preset it is.
    """
    architecture = Architecture.from_dict(trial.user_attrs["architecture"])
    return TrialRecord(
        number=trial.number,
        architecture=architecture,
        result=TrialResult.from_dict(trial.user_attrs["result"]),
        label=presets.get(architecture.key, ""),
        why=str(trial.user_attrs.get(WHY, "")),
    )


def read_priors(study: optuna.Study) -> tuple[Prior, ...]:
    """Return a study's copies of earlier ones, and what its shared weights say, where it has some."""
    earlier = tuple(Prior.from_dict(values) for values in study.user_attrs.get(PRIORS, ()))
    shared = read_shared_record(study)
    return earlier if shared is None else (*earlier, shared.prior)


def read_budget(study: optuna.Study) -> int | None:
    """Return how many finished trials the last run was to come to; None where it came to its end, or it is not noted."""
    noted = study.user_attrs.get(_BUDGET)
    return None if noted is None else int(noted)


def read_shared_record(study: optuna.Study) -> SharedRecord | None:
    """Return what a study keeps of the training of its shared weights; None where it has none."""
    values = study.user_attrs.get(ONE_SHOT)
    return None if values is None else SharedRecord.from_dict(values)


def _thinned(latency: Latency) -> Latency:
    if len(latency.samples_ms) <= _KEPT_SAMPLES:
        return latency
    kept = np.percentile(latency.samples_ms, np.linspace(0, 100, _KEPT_SAMPLES))
    return replace(latency, samples_ms=tuple(float(sample) for sample in kept))
