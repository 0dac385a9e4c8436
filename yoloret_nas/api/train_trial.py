"""A trial's architecture trained in full, before it is exported."""

from rich.console import Console

from search.front.record import TrialRecord, first_latencies
from search.study.errors import StudyError
from search.study.experiment import ExperimentSettings, Variant, begun_training, read_experiment
from search.study.read_study import ReadStudy
from search.study.refit import full_name, full_training
from spaces.counted import counted
from trials.training import TrainingError
from yoloret_nas.api.experiment import run_variants
from yoloret_nas.options.recipe import as_begun


def train_trial(
    opened: ReadStudy, record: TrialRecord, *, epochs: int, skip_broken: bool = False, console: Console
) -> tuple[ReadStudy, TrialRecord]:
    """Train a trial's architecture in full as its study trains, with the next seed; print the progress.

    Called again, it resumes, or finds what it trained.

    Args:
        opened: The study.
        record: A trial of it.
        epochs: Of the training.
        skip_broken: Whether broken images and annotations are left out, as they are where the study leaves them out.
        console: Where to print.

    Returns:
        The training, read as a study, and its trial.

    Raises:
        StudyError: these are full trainings already, the data are not the study's, or were others when it was trained.
        TrainingError: the training failed.
        KeyboardInterrupt: it was interrupted.
    """
    if opened.train is None:
        raise StudyError(f"{opened.name} holds full trainings already", hint="leave out --refit")
    name = full_name(opened.name, record.number, epochs=epochs)
    before = read_experiment(opened.root, name)
    for done in before.summary.records if before else ():
        if done.result.fingerprint not in ("", opened.fingerprint):
            raise StudyError(
                f"{name!r} was trained on the data of {opened.name} before they changed",
                hint=f"delete {opened.root / name} to train it anew; or export it as it is with --study {name}",
            )
    settings = ExperimentSettings(
        name=name,
        dataset=opened.dataset,
        device=opened.device,
        train=as_begun(full_training(opened.train, epochs=epochs), begun_training(opened.root, name)),
        also_measure=opened.also_measure,
        skip_broken=opened.skip_broken or skip_broken,
        study_data=opened.fingerprint,
        scales=first_latencies(opened.summary.records, opened.device),
        accept_changed_data=True,  # an interrupted one starts over, since the study accepted them
        measures_anew=True,
        root=opened.root,
    )
    console.print(
        f"training trial {record.number} of {opened.name} for {counted(epochs, 'epoch(s)')} before its export, "
        f"as {settings.name}: {record.architecture.short}",
        markup=False,
        soft_wrap=True,
    )
    seed = opened.train.seed + 1  # the study's own gave the score that it was chosen for
    variant = Variant(label=f"{opened.name}:{record.number}", architecture=record.architecture, seed=seed)
    (done,) = run_variants(settings, [variant], console=console)
    if done.point is None:
        raise TrainingError(f"the training failed: {done.result.reason}")
    trained = read_experiment(opened.root, settings.name)
    assert trained is not None  # it has just been written
    return trained, done
