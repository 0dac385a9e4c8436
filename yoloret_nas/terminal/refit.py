"""Retraining the front at the end of a search, in the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.front.estimate import NOISE
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports import estimate_words, write_reports
from search.strategy.accuracy.estimates import with_estimates
from search.strategy.repeats import Repeats
from search.study.experiment import ExperimentSettings, read_experiment
from search.study.next_command import dir_option
from search.study.refit import Finalists, Refit, compare_refit, find_finalists, full_training, refit_name, to_variants
from search.study.settings import StudySettings
from spaces.counted import counted
from trials.training import TrainingError
from yoloret_nas.terminal.experiments import run
from yoloret_nas.terminal.trial_lines import add_columns
from yoloret_nas.workers import Workers

_COLUMNS = {"full": 4, "trial": 5, "seeds": 5, "AP short": 8, "AP full": 7, "estimated": 13, "AP50": 6, "median": 10}
"""Column to its width in characters."""
_MOST_WANTED = ("full", "trial", "AP full", "median")


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
    experiment = ExperimentSettings(
        name=refit_name(settings.name, epochs),
        dataset=settings.dataset,
        device=settings.device,
        train=full_training(settings.train, epochs=epochs),
        also_measure=settings.also_measure,
        skip_broken=settings.skip_broken,
        accept_changed_data=settings.accept_changed_data,
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

    records = run(
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


def show_refit(found: Refit, console: Console, *, root: Path) -> None:
    """Print full trainings beside the short ones, and how far their rankings agree."""
    front, estimates = {record.number for record in found.summary.front}, found.summary.estimates
    title = f"full trainings of {found.name}: {len(front)} on the front (★)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    names = add_columns(table, _COLUMNS, most_wanted=_MOST_WANTED, width=console.width)
    for one in found.retrained:
        record, result = one.best, one.best.result
        assert result.latency is not None  # it is complete
        cells = {
            "full": str(record.number),
            "trial": str(one.trial.number),
            "seeds": str(one.num_seeds),
            "AP short": f"{one.trial.result.ap:.4f}",
            "AP full": f"{one.ap:.4f}",
            "estimated": str(estimates.get(record.number, "–")),
            "AP50": f"{result.ap50:.4f}",
            "median": f"{result.latency.median_ms:.3f} ms",
        }
        mark = "★ " if record.number in front else "  "
        table.add_row(*(cells[name] for name in names), f"{mark}{record.architecture.short}")
    console.print(table)
    for record in found.summary.records:
        if record.point is None:
            console.print(f"full training {record.number} {record.result.state}: {record.result.reason}", markup=False)
    if any(one.num_seeds > 1 for one in found.retrained):
        console.print(
            "AP full: mean over the seeds; the other figures and the weights: of the best seed", soft_wrap=True
        )
    console.print(estimate_words(found.summary), markup=False, soft_wrap=True)
    console.print(agreement_words(found), markup=False, soft_wrap=True)
    if not front:
        return
    console.print(f"next: yoloret-nas export --study {found.name}{dir_option(root)}", markup=False, soft_wrap=True)


def agreement_words(found: Refit) -> str:
    """Return a sentence on how far short and full trainings rank alike."""
    if found.tau is None:
        return "too few full trainings to compare their ranking with the short ones'"
    return (
        f"short and full trainings rank {len(found.retrained)} architectures with Kendall's tau {found.tau:.2f} "
        "(1: alike; 0: by chance)"
    )


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
