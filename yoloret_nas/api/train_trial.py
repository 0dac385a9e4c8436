"""A trial's architecture trained in full, before it is exported."""

from rich.console import Console

from search.study.errors import StudyError
from search.study.experiment import Variant, read_experiment
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from trials.training import TrainingError
from yoloret_nas.options.training import TrainingOptions
from yoloret_nas.terminal.experiments import run, to_settings


def train_trial(
    opened: ReadStudy, record: TrialRecord, *, epochs: int, console: Console
) -> tuple[ReadStudy, TrialRecord]:
    """Train a trial's architecture in full on the study's data, with the data's own recipe; print the progress.

    Called again, it resumes, or finds what it trained.

    Args:
        opened: The study.
        record: A trial of it.
        epochs: Of the training.
        console: Where to print.

    Returns:
        The training, read as a study, and its trial.

    Raises:
        StudyError: these are full trainings already.
        TrainingError: the training failed.
        KeyboardInterrupt: it was interrupted.
    """
    if opened.space is None:
        raise StudyError(f"{opened.name} holds full trainings already", hint="leave out --refit")
    options = TrainingOptions(
        data=opened.dataset,
        device=opened.device,
        recipe=None,
        epochs=epochs,
        batch_size=None,
        input_size=None,
        weights="auto",
        weights_dir=None,
        precision="auto",
        skip_broken=opened.skip_broken,
        root=opened.root,
    )
    settings = to_settings(f"{opened.name}-{record.number}-refit-{epochs}", options)
    variant = Variant(label=f"{opened.name}:{record.number}", architecture=record.architecture, seed=0)
    (done,) = run(settings, [variant], console=console)
    if done.point is None:
        raise TrainingError(f"the training failed: {done.result.reason}")
    trained = read_experiment(opened.root, settings.name)
    assert trained is not None  # it has just been written
    return trained, done
