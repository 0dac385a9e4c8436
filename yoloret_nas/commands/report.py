"""`yoloret-nas report`: what a study says for itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spaces.counted import counted
from yoloret_nas.options.complete import complete_study
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.values import check_file

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from search.reports.effects import Effect
    from search.reports.report import StudyReport
    from search.study.read_study import ReadStudy


@click.command()
@click.argument("study", shell_complete=complete_study)
@click.option("--out", type=UserPath(), default=None, help="The page.  [default: in the study's folder]")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def report(study: str, out: Path | None, root: Path) -> None:
    """Explain STUDY: its front, what was stopped and why, which choices matter, and whether more budget may pay.

    The same goes into one HTML page that needs no network, and onto the study's run in MLflow.
    """
    import sys

    from rich.console import Console

    from search.reports import WORK_NOTE, estimate_words, make_report
    from search.study.lock import is_driven
    from search.study.read_study import read_study
    from yoloret_nas.terminal.refit_table import show_refit
    from yoloret_nas.terminal.trial_lines import front_table

    is_running = is_driven(root / study)  # before it is read: it may end meanwhile
    opened = read_study(root, study)
    page = out or root / study / "report.html"
    if out is not None:
        check_file("--out", out)
    found = make_report(opened, is_running=is_running)
    summary = found.summary
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    states = ", ".join(f"{count} {state}" for state, count in summary.states.items())
    title = f"front of {study}: {len(summary.front)} of {counted(len(summary.records), 'trial(s)')} ({states})"
    console.print(front_table(summary, knee=summary.knee, title=title, width=console.width))
    if found.interruption:
        console.print(found.interruption, markup=False, soft_wrap=True)
    console.print(estimate_words(summary), markup=False, soft_wrap=True)
    minutes = found.by_minute[-1][0] if found.by_minute else 0.0
    console.print(f"hypervolume {summary.hypervolume:.4f} after {minutes:.1f} minutes of work, all workers together")
    for sentence in found.priors:
        console.print(sentence, markup=False, soft_wrap=True)
    if found.effects:
        console.print(_effects_table(found.effects))
    if found.forecast.candidates:
        console.print(f"{found.forecast.title} (predicted):")
        for one in found.forecast.candidates:
            figures = f"AP {one.ap:.3f} ± {one.ap_std:.3f}, {one.latency_ms:.3f} ms, {one.gain:+.1%} hypervolume"
            console.print(f"  {figures}  {one.architecture.short}", markup=False)
    whole = sum(found.seconds_by_kind.values())
    if whole:
        spent = (f"{kind} {seconds / whole:.1%}" for kind, seconds in found.seconds_by_kind.items() if seconds)
        console.print(f"where the work went: {', '.join(spent)} ({WORK_NOTE})", markup=False, soft_wrap=True)
    for record in found.stopped:
        console.print(f"trial {record.number} {record.result.state}: {record.result.reason}", markup=False)
    if found.refit is not None:
        show_refit(found.refit, console, root=root)
    console.print(found.verdict, style="bold")
    _write(found, opened, page, console, is_named=out is not None)


def _write(found: "StudyReport", study: "ReadStudy", page: Path, console: "Console", *, is_named: bool) -> None:
    """Write the page, and into MLflow; a page that nobody named may be left out."""
    from search.reports import write_report_page
    from search.study.errors import StorageError, StudyError
    from search.tracking.runs import log_report

    try:
        write_report_page(found, page)
    except OSError as error:
        if is_named:
            raise
        console.print(f"note: {page} cannot be written: {error.strerror}", markup=False, soft_wrap=True)
        return
    console.print(f"wrote {page}", markup=False, soft_wrap=True)
    try:
        if log_report(study.root, study.name, study.id, page):
            console.print("wrote the page to MLflow, too")
    except (StorageError, StudyError) as error:
        console.print(f"note: the page is not in MLflow: {error.message}", markup=False, soft_wrap=True)


def _effects_table(effects: "Sequence[Effect]") -> "Table":
    """Return what each choice is worth; in a narrow terminal its words take several lines, and its figures are whole."""
    from rich.table import Table

    table = Table(title="which choices matter, against the mean of the trials", title_justify="left", box=None)
    for name in ("axis", "value"):
        table.add_column(name, overflow="fold")
    for name in ("trials", "AP", "5–95 %", "latency"):
        table.add_column(name, justify="right", no_wrap=True)
    for effect in effects:
        span = f"{effect.ap_range[0]:+.3f} to {effect.ap_range[1]:+.3f}"
        cells = (effect.axis, effect.value, str(effect.trials), f"{effect.ap:+.3f}", span, f"×{effect.latency:.2f}")
        table.add_row(*cells, style="" if effect.is_clear else "dim")
    return table
