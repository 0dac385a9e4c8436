"""The page of a study's report: the front's page with a section for each part of the report."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from search.reports.effects import Effect
from search.reports.forecast import Forecast
from search.reports.front_page import write_front_page
from search.reports.report import StudyReport
from search.study.record import TrialRecord
from search.study.refit import Refit
from spaces import Architecture


def write_report_page(report: StudyReport, path: Path) -> None:
    """Write the report as one self-contained HTML page, readable offline."""
    sections = [
        _refit(report.refit) if report.refit is not None else "",
        f"<p><b>{html.escape(report.verdict)}</b></p>",
        _effects(report.effects),
        _forecast(report.forecast),
        _by_minute(report.by_minute),
        _seconds(report.seconds_by_kind),
        _stopped(report.stopped),
    ]
    write_front_page(report.summary, path, title=f"study {report.name}", sections="\n".join(sections))


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
        "ones. A range that contains 0 (AP) or 1 (latency) shows no clear effect."
    )
    return _table("Which choices matter", columns, rows, note=note)


def _refit(refit: Refit) -> str:
    front = {record.number for record in refit.summary.front}
    rows = []
    for one in refit.retrained:
        record, estimate = one.best, refit.summary.estimates.get(one.best.number)
        assert record.point is not None  # it is complete
        mark = "★" if record.number in front else ""
        figures = (f"{one.trial.result.ap:.4f}", f"{one.ap:.4f}", str(estimate or "–"), f"{record.point[1]:.3f} ms")
        numbers = (record.number, one.trial.number, one.num_seeds)
        rows.append((*map(str, numbers), *figures, mark, _axes(record.architecture)))
    tau = "too few to compare" if refit.tau is None else f"{refit.tau:.2f} (1: same order; 0: unrelated)"
    note = (
        f"AP full is the mean over the seeds. Kendall's tau of short and full ranking: {tau}. "
        f"Export a detector: yoloret-nas export --study {refit.name}"
    )
    columns = ("full", "trial", "seeds", "AP short", "AP full", "estimated", "latency", "front", "architecture")
    return _table("The final front: trained in full", columns, rows, note=note)


def _forecast(outlook: Forecast) -> str:
    rows = [
        (
            f"{one.ap:.4f} ± {one.ap_std:.4f}",
            f"{one.latency_ms:.3f} ms",
            f"{one.gain:+.2%}",
            _axes(one.architecture),
        )
        for one in outlook.candidates
    ]
    note = "Not tried yet. AP and latency are predicted from the trials; the gain is in hypervolume."
    return _table("Worth a larger budget", ("AP", "latency", "gain", "architecture"), rows, note=note)


def _by_minute(points: Sequence[tuple[float, float]]) -> str:
    rows = []
    for mark in (points[-1][0] * share for share in (0.1, 0.25, 0.5, 0.75, 1.0) if points):
        before = [value for minute, value in points if minute <= mark + 1e-9]
        rows.append((f"{mark:.1f}", f"{max(before, default=0.0):.4f}"))
    return _table("Hypervolume by minute of work of all workers together", ("minutes", "hypervolume"), rows)


def _seconds(seconds_by_kind: Mapping[str, float]) -> str:
    whole = sum(seconds_by_kind.values())
    rows = [(kind, f"{s / 60:.1f}", f"{s / whole:.1%}") for kind, s in seconds_by_kind.items() if s]
    return _table("Where the time went, all workers together", ("", "minutes", "share"), rows)


def _stopped(stopped: Sequence[TrialRecord]) -> str:
    rows = [(str(record.number), record.result.state, record.result.reason) for record in stopped]
    return _table("Trials that are not complete", ("trial", "state", "reason"), rows)


def _axes(architecture: Architecture) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in architecture.to_dict().items())


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "") -> str:
    if not rows:
        return ""
    head = "".join(f'<th class="t">{html.escape(name)}</th>' for name in columns)
    cells = [[html.escape(cell) for cell in row] for row in rows]
    lines = ("".join(f'<td class="t" title="{cell}">{cell}</td>' for cell in row) for row in cells)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    words = f"<p>{html.escape(note)}</p>" if note else ""
    return f'<h2>{html.escape(title)}</h2>{words}<div class="wrap"><table><tr>{head}</tr>{body}</table></div>'
