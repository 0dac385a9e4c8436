"""The shared weights of a one-shot study: trained before its first trial, and what every trial begins with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from search.strategy.accuracy.belief import says_nothing, shared_prior
from search.study.errors import OneShotError, StudyError
from search.study.one_shot import (
    NUM_SCORED,
    SHARED_FOLDER,
    SharedRecord,
    claim_folder,
    shared_training,
    trial_training,
)
from search.study.settings import StudySettings
from search.study.study import Study
from spaces import Architecture
from spaces.counted import counted
from trials.one_shot.training import SHARED_FILE, read_scores
from trials.training import TrainSettings
from trials.trial_result import RESULT_FILE, OneShotTask, TrialRequest, TrialResult, read_result

MakeRequest = Callable[[int, Architecture, TrainSettings], TrialRequest]
"""Returns the request of a training, by its number, on the study's data and device."""


class OneShotPreparation:
    """The training of a study's shared weights, and the study's record of it.

    Args:
        settings: Those of a one-shot study.
        study: The study.
        num_classes: Of its data.
        notice: Called with notes for the user.

    Raises:
        StudyError: the weights were trained, and their file is missing.
    """

    def __init__(
        self, settings: StudySettings, study: Study, *, num_classes: int, notice: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._study = study
        self._num_classes = num_classes
        self._notice = notice
        self._folder = settings.folder / SHARED_FOLDER
        self._training = shared_training(settings.train)
        if study.shared is not None and not self.file.is_file():
            raise StudyError(
                f"the shared weights of study {settings.name!r} are missing: {self.file}",
                hint="restore the file, or begin another study with --study NAME",
            )

    @property
    def file(self) -> Path:
        """The weights."""
        return self._folder / SHARED_FILE

    @property
    def description(self) -> str:
        """How they and the trials are trained, in a sentence."""
        return (
            f"{counted(self._training.epochs, 'epoch(s)')} of shared weights, seed {self._training.seed}; "
            f"{counted(trial_training(self._settings.train).epochs, 'epoch(s)')} of each trial"
        )

    def preparation(self, make_request: MakeRequest) -> TrialRequest | None:
        """Return their training, where it has not ended; one that ended while its driver was killed is taken up."""
        if self._study.shared is not None:
            return None
        claim_folder(self._folder, self._study.id)
        (largest,) = self._settings.space.largest(num_classes=self._num_classes)
        result = read_result(self._folder, study_id=self._study.id, architecture=largest)
        if result is not None and result.state == "complete" and self.file.is_file():
            self.prepared(result)
            return None
        (self._folder / RESULT_FILE).unlink(missing_ok=True)  # no reason of an earlier failure is the next one's
        self._notice(
            f"training shared weights first, {counted(self._training.epochs, 'epoch(s)')}; each trial then begins with its "
            f"slice of them and trains for {counted(trial_training(self._settings.train).epochs, 'epoch(s)')}"
        )
        task = OneShotTask(space=self._settings.space, num_scored=NUM_SCORED)
        return replace(make_request(-1, largest, self._training), work_dir=self._folder, one_shot=task)

    def prepared(self, result: TrialResult) -> None:
        """Have the study keep what networks with these weights scored.

        Raises:
            OneShotError: the training failed.
        """
        if result.state != "complete":
            raise OneShotError(
                f"shared weights could not be trained: {result.reason}",
                hint="remove the cause, then run the same command again",
            )
        scores = read_scores(self._folder)
        prior = shared_prior(scores, dataset=self._settings.dataset, num_classes=self._num_classes)
        if says_nothing(prior):
            self._notice(
                "networks taken out of the shared weights score too much alike: the sampler learns nothing from them"
            )
        seconds = sum(result.seconds.values())
        losses = tuple((epoch, loss) for epoch, loss, *_ in result.history)
        self._study.shared = SharedRecord(prior=prior, seconds=seconds, losses=losses)
        best = max(ap for _, ap in scores)
        self._notice(
            f"shared weights trained for {counted(result.epochs, 'epoch(s)')} in {seconds:.0f} s; of "
            f"{counted(len(scores), 'network(s)')} taken out untrained the best has AP {best:.4f}"
        )
