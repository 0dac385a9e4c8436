"""Retraining the front at the end of a search."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from search.front.estimate import NOISE
from search.front.record import TrialRecord, first_latencies
from search.front.summary import Summary
from search.reports import write_reports
from search.strategy.accuracy.estimates import with_estimates
from search.strategy.repeats import Repeats
from search.study.data_record import recorded_fingerprint
from search.study.experiment import ExperimentSettings, begun_training, read_experiment
from search.study.refit import Finalists, Refit, compare_refit, find_finalists, full_training, refit_name, to_variants
from search.study.settings import StudySettings
from spaces.counted import counted
from trials.training import TrainingError
from yoloret_nas.api.experiment import run_variants
from yoloret_nas.options.recipe import as_begun
from yoloret_nas.terminal.refit_table import show_refit
from yoloret_nas.workers import Workers


def refit(
    settings: StudySettings,
    summary: Summary,
    *,
    epochs: int,
    num_repeats: int,
    console: Console,
    workers: Workers | None = None,
) -> None:
    """Retrain a study's finalists in full; report their front and whether the short trainings ranked alike.

    Finished ones are not run again, so the search's own command resumes here too.

    Args:
        settings: The study.
        summary: Its finished trials.
        epochs: Of each full training.
        num_repeats: Full trainings beyond the first of each finalist; they go where they may change which one is taken.
        console: Where to print.
        workers: Where to train; None for this machine.

    Raises:
        TrainingError: no full training is complete.
        KeyboardInterrupt: it was interrupted.
    """
    finalists = find_finalists(summary)
    name = refit_name(settings.name, epochs)
    experiment = ExperimentSettings(
        name=name,
        dataset=settings.dataset,
        device=settings.device,
        train=as_begun(full_training(settings.train, epochs=epochs), begun_training(settings.root, name)),
        also_measure=settings.also_measure,
        skip_broken=settings.skip_broken,
        accept_changed_data=settings.accept_changed_data,
        study_data=recorded_fingerprint(settings.folder),
        scales=first_latencies(summary.records, settings.device),
        measures_anew=True,
        root=settings.root,
    )
    there = read_experiment(settings.root, experiment.name)
    before = compare_refit(experiment.name, summary, there.summary.records if there else ())
    repeats = f", then up to {counted(num_repeats, 'repeat(s)')}" if num_repeats else ""
    console.print(
        f"\nrefit: {counted(len(finalists.members), 'trial(s)')} of the front and {len(finalists.near)} "
        f"within {NOISE} AP of it, "
        f"{counted(epochs, 'epoch(s)')} each{repeats}: "
        f"{_what_it_costs(finalists, epochs, num_repeats=num_repeats, before=before)}",
        markup=False,
        soft_wrap=True,
    )

    def write_refit_reports(records: Sequence[TrialRecord]) -> Sequence[Path]:
        found = with_estimates(compare_refit(experiment.name, summary, records).summary)
        if not found.front:
            return []
        return write_reports(found, experiment.folder, title=f"{settings.name} · {counted(epochs, 'epoch(s)')} each")

    records = run_variants(
        experiment,
        to_variants(finalists, seed=settings.seed),
        repeats=Repeats(count=num_repeats, max_latency_ms=settings.max_latency_ms or summary.reference.latency_ms),
        console=console,
        write_reports=write_refit_reports,
        workers=workers,
    )
    found = compare_refit(experiment.name, summary, records)
    num_repeated = sum(one.num_seeds - 1 for one in found.retrained)
    if found.retrained and num_repeated < num_repeats and all(record.point for record in records):
        console.print(
            f"{num_repeated} of {counted(num_repeats, 'repeat(s)')} trained: more are not expected to change which networks "
            "are the best within a latency",
            soft_wrap=True,
        )
    show_refit(replace(found, summary=with_estimates(found.summary)), console, root=settings.root)
    if not found.summary.front:
        raise TrainingError(f"no training of {experiment.name} is complete; the same command trains them again")


def _what_it_costs(finalists: Finalists, epochs: int, *, num_repeats: int, before: Refit) -> str:
    done = {one.trial.number: one.num_seeds for one in before.retrained}
    num_done = sum(done.get(record.number, 0) for record in finalists.all)
    if all(done.get(record.number) for record in finalists.all) and finalists.num_repeated(done) >= num_repeats:
        return "all are finished"
    seconds = finalists.seconds(epochs, num_repeats=num_repeats, done=done)
    work = f"{'up to' if num_repeats else 'about'} {_in_words(seconds)} of training"
    return f"{num_done} are finished, {work} for the others" if num_done else f"{work} in total"


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
