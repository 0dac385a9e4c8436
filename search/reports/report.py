"""The report of a study in numbers: its front, its progress, the effects of choices, a forecast, where the time went."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.effects import Effect, estimate_effects
from search.reports.forecast import Forecast, forecast
from search.strategy.accuracy.belief import agreement
from search.strategy.accuracy.estimates import MIN_TRIALS, with_estimates
from search.study.prior import BUILT_IN, SHARED_WEIGHTS, Prior
from search.study.read_study import ReadStudy
from search.study.refit import Refit, read_refit
from spaces.counted import counted

_SAYS_NOTHING = 0.2
"""Kendall's tau of a prior that knows nothing: larger networks are expected to be better anyway."""
_KINDS = ("training kept", "training not kept", "scoring", "measuring", "full trainings", "the rest")

WORK_NOTE = "of the trials' own time, without start-up and look-ups of candidates' latencies"
"""What the shares of `StudyReport.seconds_by_kind` are shares of."""


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """The report of a study."""

    name: str
    folder: Path
    """Of its files."""
    title: str
    """The study, its data, its device and its limit."""
    summary: Summary
    effects: tuple[Effect, ...]
    """Most important axis first; empty where too few trials are complete."""
    forecast: Forecast
    by_minute: tuple[tuple[float, float], ...]
    """Minutes of work of all workers together, and the hypervolume after them; one point per trial."""
    seconds_by_kind: Mapping[str, float]
    """Seconds of work of all workers together: training of complete trials, training of others, scoring, measuring, full
    trainings with their scoring, the rest, and shared weights with the scores of networks that were taken out."""
    priors: tuple[str, ...] = ()
    """A sentence on each earlier study that the search learnt from: how far its order was right."""
    interruption: str = ""
    """A sentence where the study's last run did not come to its end."""
    refit: Refit | None = None
    """Full trainings of the front, None before there are any."""

    @property
    def stopped(self) -> tuple[TrialRecord, ...]:
        """Trials that are not complete."""
        return tuple(record for record in self.summary.records if record.result.state != "complete")

    @property
    def verdict(self) -> str:
        """Whether more budget is likely to pay, in one sentence."""
        curve = self.summary.hypervolume_by_trial
        complete = self.summary.states["complete"]
        if complete < MIN_TRIALS:
            missing = f"{complete} of the {MIN_TRIALS} needed"
            return f"too few trials are complete to predict whether more budget will pay: {missing}"
        if not curve[-1]:
            return (
                "no trial scored above AP 0 within the reference latency, so nothing can be predicted: train for longer"
            )
        if not self.forecast.candidates:
            return "the trials predict no network that would improve the front"
        late = 1 - curve[-1 - len(curve) // 4] / curve[-1]
        best = self.forecast.candidates[0].gain
        past = f"the last quarter of the trials added {late:.1%} to the hypervolume"
        ahead = f"the most promising candidate is expected to add {best:.1%}"
        return f"more budget is {'likely' if self.forecast.is_worth_it else 'unlikely'} to pay: {past}, {ahead}"


def make_report(study: ReadStudy, *, is_running: bool = False) -> StudyReport:
    """Compute a study's report; takes seconds.

    Args:
        study: As it was read.
        is_running: Whether its search ran then, so that trials that are missing were not interrupted.
    """
    interruption = "" if is_running else study.interruption
    summary, refit = with_estimates(study.summary), read_refit(study)
    if refit is not None:
        refit = replace(refit, summary=with_estimates(refit.summary))
    outlook = Forecast(candidates=())
    if study.space is not None:
        outlook = forecast(summary, study.space, max_latency_ms=study.max_latency_ms, looked_up_ms=study.looked_up_ms)
    begins = study.seconds_shared / 60
    minutes = (begins + spent for spent in accumulate(sum(one.result.seconds.values()) / 60 for one in summary.records))
    return StudyReport(
        name=study.name,
        folder=study.root / study.name,
        title=_title(study),
        summary=summary,
        effects=tuple(estimate_effects(summary.records)),
        forecast=outlook,
        by_minute=tuple(zip(minutes, summary.hypervolume_by_trial, strict=True)),
        seconds_by_kind=_sort_seconds(summary, refit)
        | ({"shared weights": study.seconds_shared} if study.seconds_shared else {}),
        priors=tuple(_judge(prior, summary) for prior in study.priors),
        interruption=f"{interruption} trials; run the same search again to resume it" if interruption else "",
        refit=refit,
    )


def _judge(prior: Prior, summary: Summary) -> str:
    found = agreement(prior, summary.records)
    complete = summary.states.get("complete", 0)
    count = counted(complete, "trial(s)")
    own = {SHARED_WEIGHTS: "shared weights", BUILT_IN: f"the prior that comes with the tool ({prior.dataset})"}
    whose = own.get(prior.study, f"earlier study {prior.study} ({prior.dataset})")
    compared = f"{whose}: did it tell the order of the trials' AP?"
    if found is None:
        few = counted(complete, "trial(s) is|are too few to say")
        return f"{compared} {few if complete < MIN_TRIALS else 'they cannot be compared: one of both is all equal'}"
    within = "" if found.within_size is None else f", {found.within_size:.2f} within one input size"
    doubt = ", which may be chance" if found.low <= _SAYS_NOTHING else ""
    return (
        f"{compared} Kendall's tau {found.tau:.2f} over {count} (95 %: {found.low:.2f} to {found.high:.2f}){within}{doubt} "
        f"(1: the same; about {_SAYS_NOTHING} where it says nothing, since larger networks are expected to be better anyway)"
    )


def _title(study: ReadStudy) -> str:
    limit = f"at most {study.max_latency_ms:g} ms" if study.max_latency_ms else ""
    return " · ".join(filter(None, (f"study {study.name}", study.dataset, study.device, limit)))


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
