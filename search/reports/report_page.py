"""The page of a study's report: the verdict, the front, and a section for each part of the report."""

import html
from collections.abc import Sequence
from pathlib import Path

from search.front.record import TrialRecord
from search.reports.effects import Effect
from search.reports.forecast import Forecast
from search.reports.front_page import first_selected, front_figure, front_section, trial_entries, trials_section
from search.reports.page import figure_place, section, table, write_page
from search.reports.report import WORK_NOTE, StudyReport
from search.reports.report_plots import plot_curves, plot_effects, plot_hypervolume, plot_refit, plot_work
from search.study.next_command import dir_option
from search.study.refit import MIN_COMPARED, Refit

_REACHED = 0.9
"""Share of the final hypervolume whose time is told."""


def write_report_page(report: StudyReport, path: Path) -> None:
    """Write the report as one self-contained HTML page, readable offline."""
    summary, refit = report.summary, report.refit
    figures = {"front": front_figure(summary)}
    verdict = report.verdict[0].upper() + report.verdict[1:]
    sections = [f'<p class="verdict">{html.escape(verdict)}.</p>', front_section(summary)]
    interruption = report.interruption[:1].upper() + report.interruption[1:]
    sections += [f"<p>{html.escape(sentence)}.</p>" for sentence in (interruption, *report.priors) if sentence]
    if refit is not None and refit.retrained:
        figures["refit"] = plot_refit(refit)
        sections.append(_refit(refit, root=report.folder.parent))
    if report.effects:
        figures["effects"] = plot_effects(report.effects)
        sections.append(_effects(report.effects))
    sections.append(_forecast(report.forecast))
    if summary.hypervolume:
        figures["minutes"] = plot_hypervolume(report.by_minute, axis="minutes of work, all workers together")
        sections.append(_by_minute(report.by_minute))
    if whole := sum(report.seconds_by_kind.values()):
        figures["work"] = plot_work(report.seconds_by_kind)
        words = ", ".join(
            f"{kind} {seconds / whole:.1%}" for kind, seconds in report.seconds_by_kind.items() if seconds
        )
        place = figure_place("work", words=words)
        note = f"Shares {WORK_NOTE}."
        sections.append(section("Where the work went, all workers together", place, note=note))
    if any(record.curve for record in summary.records):
        figures["curves"] = plot_curves(summary)
        place = figure_place("curves", words="AP of each trained trial by epoch.")
        sections.append(section("Learning curves", place))
    sections += [_stopped(report.stopped), trials_section(summary)]
    entries = trial_entries(summary, report.folder)
    write_page(
        path,
        title=report.title,
        sections=sections,
        figures=figures,
        trials=entries,
        selected=first_selected(summary),
    )


def _effects(effects: Sequence[Effect]) -> str:
    rows = [
        (
            effect.axis,
            effect.value,
            str(effect.trials),
            f"{effect.ap:+.4f}",
            f"{effect.ap_range[0]:+.4f} to {effect.ap_range[1]:+.4f}",
            f"×{effect.latency:.2f}",
            f"{effect.latency_range[0]:.2f} to {effect.latency_range[1]:.2f}",
        )
        for effect in effects
    ]
    columns = ("axis", "value", "trials", "AP", "5–95 %", "latency", "5–95 %")
    note = (
        "Relative to the mean of the trials, all else being equal: AP of the complete trials, latency of all measured "
        "ones. Bars reach from the 5th to the 95th percentile; one that holds 0 (AP) or 1 (latency) shows no clear effect."
    )
    place = figure_place(
        "effects", words="The effect of each choice on AP and on latency; the table below holds the figures."
    )
    return section("Which choices matter", place, table(columns, rows, folded="the effects as a table"), note=note)


def _refit(refit: Refit, *, root: Path) -> str:
    front = {record.number for record in refit.summary.front}
    rows = []
    for one in refit.retrained:
        record, estimate = one.best, refit.summary.estimates.get(one.best.number)
        assert record.point is not None  # it is complete
        mark = "★" if record.number in front else ""
        figures = (f"{one.trial.result.ap:.4f}", f"{one.ap:.4f}", str(estimate or "–"), f"{record.point[1]:.3f} ms")
        numbers = (record.number, one.trial.number, one.num_seeds)
        rows.append((*map(str, numbers), *figures, mark, record.architecture.short))
    few = "none, where all AP are equal" if len(refit.retrained) >= MIN_COMPARED else "too few to compare"
    tau = few if refit.tau is None else f"{refit.tau:.2f} (1: same order; 0: unrelated)"
    note = (
        f"AP full is the mean over the seeds. Kendall's tau of short and full ranking: {tau}. "
        f"Export a detector: yoloret-nas export --study {refit.name}{dir_option(root)}"
    )
    columns = ("full", "trial", "seeds", "AP short", "AP full", "estimated", "latency", "front", "architecture")
    place = figure_place("refit", words="AP of the full training against that of the short one, by trial.")
    return section("The final front: trained in full", place, table(columns, rows), note=note)


def _forecast(outlook: Forecast) -> str:
    rows = [
        (f"{one.ap:.4f} ± {one.ap_std:.4f}", f"{one.latency_ms:.3f} ms", f"{one.gain:+.2%}", one.architecture.short)
        for one in outlook.candidates
    ]
    if not rows:
        return ""
    note = "Not tried yet. AP and latency are predicted from the trials; the gain is in hypervolume."
    return section(outlook.title, table(("AP", "latency", "gain", "architecture"), rows), note=note)


def _by_minute(points: Sequence[tuple[float, float]]) -> str:
    minutes, final = points[-1]
    reached = next(minute for minute, value in points if value >= _REACHED * final)
    words = f"{final:.4f} after {minutes:.1f} minutes; {_REACHED:.0%} of that after {reached:.1f}."
    place = figure_place("minutes", words=words)
    return section("Hypervolume by minute of work of all workers together", place, note=words)


def _stopped(stopped: Sequence[TrialRecord]) -> str:
    rows = [(f"#{record.number}", record.result.state, record.result.reason) for record in stopped]
    if not rows:
        return ""
    reasons = table(("trial", "state", "reason"), rows, folded=f"their reasons ({len(rows)})")
    return section("Trials that are not complete", reasons)
