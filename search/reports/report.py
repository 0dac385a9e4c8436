"""What a study says for itself: its front, how it came to it, what mattered, and what more budget may bring."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from search.reports.effects import Effect, estimate_effects
from search.reports.forecast import Forecast, forecast
from search.reports.page import write_front_page
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from search.study.refit import Refit, read_refit
from search.study.summary import Summary

_KINDS = ("training kept", "training not kept", "scoring", "measuring", "full trainings", "the rest")


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """All of it, before it is printed."""

    name: str
    summary: Summary
    effects: tuple[Effect, ...]
    """Most important axis first; none where too few trials are complete."""
    forecast: Forecast
    by_minute: tuple[tuple[float, float], ...]
    """Minutes of work, all workers together, and the hypervolume then; a point after each trial."""
    seconds_by_kind: Mapping[str, float]
    """What the work went into, all workers together: training that was kept, training that was stopped or failed,
    measuring, full trainings (with their scoring), scoring, and the rest."""
    refit: Refit | None = None
    """Full trainings of the front, None where there are none yet."""

    @property
    def stopped(self) -> tuple[TrialRecord, ...]:
        """Trials that are not complete, with their reasons."""
        return tuple(record for record in self.summary.records if record.result.state != "complete")

    @property
    def verdict(self) -> str:
        """Whether more budget is likely to pay, in a sentence."""
        curve = self.summary.hypervolume_by_trial
        if not self.forecast.candidates:
            return "too few trials are complete to say whether more budget will pay"
        late = 1 - curve[int(len(curve) * 0.75)] / curve[-1] if curve[-1] else 0.0
        best = self.forecast.candidates[0].gain
        past = f"the last quarter of the trials added {late:.1%} to the hypervolume"
        ahead = f"the most promising candidate is expected to add {best:.1%}"
        return f"more budget is {'likely' if self.forecast.is_worth_it else 'unlikely'} to pay: {past}, {ahead}"


def make_report(study: ReadStudy) -> StudyReport:
    """Work a study through; some seconds."""
    summary, refit = study.summary, read_refit(study)
    minutes = accumulate(sum(record.result.seconds.values()) / 60 for record in summary.records)
    return StudyReport(
        name=study.name,
        summary=summary,
        effects=tuple(estimate_effects(summary.records)),
        forecast=forecast(summary, study.space) if study.space is not None else Forecast(candidates=()),
        by_minute=tuple(zip(minutes, summary.hypervolume_by_trial, strict=True)),
        seconds_by_kind=_sort_seconds(summary, refit),
        refit=refit,
    )


def _sort_seconds(summary: Summary, refit: Refit | None) -> dict[str, float]:
    spent = dict.fromkeys(_KINDS, 0.0)
    kinds = {"score": "scoring", "measure": "measuring", "aside": "measuring"}
    for record in summary.records:
        kinds["train"] = "training kept" if record.point is not None else "training not kept"
        for phase, seconds in record.result.seconds.items():
            spent[kinds.get(phase, "the rest")] += seconds
    for record in refit.summary.records if refit else ():
        spent["full trainings"] += sum(record.result.seconds.values())
    return spent


def write_report_page(report: StudyReport, path: Path) -> None:
    """Write one self-contained HTML page, readable offline."""
    sections = [f"<p><b>{html.escape(report.verdict)}</b></p>", _effects(report.effects), _forecast(report.forecast)]
    if report.refit is not None:
        sections.insert(0, _refit(report.refit))
    if report.by_minute:
        sections.append(_by_minute(report.by_minute))
        whole = sum(report.seconds_by_kind.values())
        spent = [(kind, f"{s / 60:.1f}", f"{s / whole:.1%}") for kind, s in report.seconds_by_kind.items() if s]
        sections.append(_table("Where the work went, all workers together", ("", "minutes", "share"), spent))
    if report.stopped:
        rows = [(str(record.number), record.result.state, record.result.reason) for record in report.stopped]
        sections.append(_table("Not complete, and why", ("trial", "state", "reason"), rows))
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
    if not rows:
        return ""
    columns = ("axis", "value", "trials", "AP", "5–95 %", "latency", "5–95 %")
    note = "Against the mean of the trials, all else being equal; a range across 0 says nothing certain."
    return _table("Which choices matter", columns, rows, note=note)


def _refit(refit: Refit) -> str:
    front = {record.number for record in refit.summary.front}
    rows = []
    for trial, record in refit.pairs:
        assert record.point is not None  # a pair is complete
        ap, latency_ms = record.point
        mark = "★" if record.number in front else ""
        axes = ", ".join(f"{axis} {value}" for axis, value in record.architecture.to_dict().items())
        cells = (f"{trial.result.ap:.4f}", f"{ap:.4f}", f"{latency_ms:.3f} ms", mark, axes)
        rows.append((str(record.number), str(trial.number), *cells))
    tau = "too few to compare" if refit.tau is None else f"{refit.tau:.2f} (1: alike; 0: by chance)"
    note = f"Kendall's tau of short and full ranking: {tau}. Export one: yoloret-nas export --study {refit.name}"
    columns = ("full", "trial", "AP short", "AP full", "latency", "front", "architecture")
    return _table("The final front: trained in full", columns, rows, note=note)


def _forecast(outlook: Forecast) -> str:
    rows = [
        (
            f"{one.ap:.4f} ± {one.ap_std:.4f}",
            f"{one.latency_ms:.3f} ms",
            f"{one.gain:+.2%}",
            ", ".join(f"{axis} {value}" for axis, value in one.architecture.to_dict().items()),
        )
        for one in outlook.candidates
    ]
    if not rows:
        return ""
    note = "Not tried yet; accuracy and latency are predicted from the trials, the gain is of hypervolume."
    return _table("Worth a larger budget", ("AP", "latency", "gain", "architecture"), rows, note=note)


def _by_minute(points: Sequence[tuple[float, float]]) -> str:
    last = points[-1][0]
    marks = [last * share for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
    rows = [
        (f"{mark:.1f}", f"{max((value for minute, value in points if minute <= mark + 1e-9), default=0.0):.4f}")
        for mark in marks
    ]
    return _table("Hypervolume by minute of work, all workers together", ("minutes", "hypervolume"), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "") -> str:
    head = "".join(f'<th class="t">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="t" title="{html.escape(cell)}">{html.escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    words = f"<p>{html.escape(note)}</p>" if note else ""
    return f'<h2>{html.escape(title)}</h2>{words}<div class="wrap"><table><tr>{head}</tr>{body}</table></div>'
