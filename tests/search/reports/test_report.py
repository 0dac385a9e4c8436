"""The report of a study, on trials whose truth is known."""

import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.effects import estimate_effects
from search.reports.estimate_words import estimate_words
from search.reports.forecast import Forecast, forecast
from search.reports.report import make_report
from search.reports.report_page import write_report_page
from search.strategy.accuracy.belief import learn_prior
from search.study.prior import BUILT_IN, SHARED_WEIGHTS, PriorTrial
from search.study.read_study import ReadStudy
from tests.search.driver.scripted import SPACE, latency
from tests.search.records import record
from tests.search.reports.outline import HOSTILE, read
from trials.trial_result import TrialResult


def true_ap(size: int, head: str) -> float:
    return 0.2 + 0.1 * (size == 128) - 0.05 * (head == "plain")


def true_ms(size: int, head: str) -> float:
    return (size / 32) ** 2 * (1.5 if head == "fpn_pan" else 1.0)


def trials(count: int, *, noise: float = 0.003) -> tuple[TrialRecord, ...]:
    """Trials of which only input size and head matter."""
    rng, noises = random.Random(0), np.random.default_rng(0)
    found = []
    for number in range(count):
        architecture = SPACE.sample(rng)
        size, head = architecture.input_size, architecture.head
        result = TrialResult(
            state="complete",
            ap=true_ap(size, head) + noises.normal(0, noise),
            ap50=0.5,
            latency=latency(true_ms(size, head) * np.exp(noises.normal(0, 0.01))),
            seconds={"train": 30.0},
        )
        found.append(TrialRecord(number=number, architecture=architecture, result=result))
    return tuple(found)


def shuffled(trials: tuple[PriorTrial, ...]) -> tuple[PriorTrial, ...]:
    """Give each trial the AP of another one."""
    ap = [one.ap for one in trials]
    random.Random(0).shuffle(ap)
    return tuple(replace(one, ap=value) for one, value in zip(trials, ap, strict=True))


def study(records: tuple[TrialRecord, ...]) -> ReadStudy:
    reference = Reference(ap=0.0, latency_ms=30.0)
    return ReadStudy(
        name="known", root=Path(), summary=Summary(records=records, reference=reference), device="cpu", space=SPACE
    )


def test_effects_find_what_matters_and_say_what_does_not() -> None:
    effects = {(one.axis, one.value): one for one in estimate_effects(trials(80))}
    sizes = [effects["input_size", size] for size in ("64", "96", "128")]
    assert sizes[2].ap - sizes[0].ap == pytest.approx(0.1, abs=0.015)
    assert sizes[2].is_clear
    assert effects["head", "fpn"].ap - effects["head", "plain"].ap == pytest.approx(0.05, abs=0.015)
    assert sizes[2].latency / sizes[0].latency == pytest.approx(4.0, rel=0.15)
    assert effects["head", "fpn_pan"].latency / effects["head", "fpn"].latency == pytest.approx(1.5, rel=0.15)
    assert abs(effects["shortcut", "maxpool"].ap) < 0.01
    axes = list(dict.fromkeys(axis for axis, _ in effects))
    assert axes[:2] == ["input_size", "head"]
    for one in effects.values():
        assert one.ap_range[0] <= one.ap_range[1]
        assert one.latency_range[0] <= one.latency_range[1]
    assert sum(one.trials * one.ap for (axis, _), one in effects.items() if axis == "head") == pytest.approx(
        0, abs=1e-9
    )


def test_a_forecast_sees_the_gap_in_the_front() -> None:
    records = tuple(one for one in trials(60) if one.architecture.input_size != 128)
    found = forecast(study(records).summary, SPACE)
    assert len(found.candidates) == 5
    gains = [one.gain for one in found.candidates]
    assert gains == sorted(gains, reverse=True)
    assert found.title == "Worth a larger budget"
    slight = Forecast(candidates=(replace(found.candidates[0], gain=0.001),))
    assert slight.title == "The most promising of the networks not tried"
    tried = {one.architecture.key for one in records}
    for one in found.candidates:
        assert one.architecture.key not in tried
        assert one.ap_std > 0
    within = [true_ms(one.architecture.input_size, one.architecture.head) for one in found.candidates]
    assert [one.latency_ms for one in found.candidates] == pytest.approx(within, rel=0.5)


def test_too_little_is_said_to_be_too_little(tmp_path: Path) -> None:
    few = make_report(study((record(0, 0.3, 2.0), record(1, None, None, state="failed", reason="out of memory"))))
    assert few.effects == ()
    assert few.forecast.candidates == ()
    assert few.verdict == "too few trials are complete to predict whether more budget will pay: 1 of the 8 needed"
    write_report_page(few, tmp_path / "few.html")
    assert "out of memory" in (tmp_path / "few.html").read_text()
    assert make_report(study(())).by_minute == ()


def test_trials_of_one_ap_are_said_to_say_nothing() -> None:
    zeros = tuple(record(number, 0.0, 2.0 + number) for number in range(9))
    nothing = make_report(study(zeros))
    assert {(one.ap, one.ap_range) for one in nothing.effects} == {(0.0, (0.0, 0.0))}
    assert nothing.verdict.startswith("no trial scored above AP 0 within the reference latency")
    assert (
        estimate_words(nothing.summary) == "All complete trials have the same AP, from which nothing can be estimated."
    )


def test_the_page_holds_every_section_and_fetches_nothing(tmp_path: Path) -> None:
    stopped = record(90, 0.1, 9.0, state="pruned", reason=HOSTILE)
    found = make_report(study((*trials(40), stopped)))
    assert found.by_minute[-2][0] == pytest.approx(40 * 0.5)
    assert [one.number for one in found.stopped] == [90]
    assert re.search(r"more budget is (un)?likely to pay: the last quarter", found.verdict)
    write_report_page(found, tmp_path / "page.html")
    outline = read(tmp_path / "page.html")
    for title in (
        "Which choices matter",
        "Worth a larger budget",
        "Hypervolume by minute",
        "Where the work went",
        "Trials that are not complete",
        "All trials",
    ):
        assert title in outline.text["h2"]
    assert outline.text["p"].startswith(f"M{found.verdict[1:]}.")  # the verdict comes first
    assert "without start-up and look-ups of candidates' latencies." in outline.text["p"]
    assert set(outline.data["figures"]) == {"front", "effects", "minutes", "work"}  # and no curve: none has one
    assert set(outline.data["figures"]) <= outline.names
    assert outline.text["td"].count(HOSTILE) == 2
    assert outline.opened.count("script") == 3
    assert outline.addresses == []


def test_the_page_names_the_data_the_device_and_the_limit(tmp_path: Path) -> None:
    shown = replace(study((record(0, 0.3, 2.0),)), dataset="cells", max_latency_ms=5.0)
    write_report_page(make_report(shown), tmp_path / "page.html")
    outline = read(tmp_path / "page.html")
    assert outline.text["title"] == outline.text["h1"] == "study known · cells · cpu · at most 5 ms"


def test_the_page_shows_curves_where_trials_have_them(tmp_path: Path) -> None:
    shown = study((record(0, 0.3, 2.0, history=((1, 1.0, 0.2, 0.2), (2, 0.9, 0.3, 0.3))),))
    write_report_page(make_report(shown), tmp_path / "page.html")
    assert "curves" in read(tmp_path / "page.html").data["figures"]


def test_the_report_judges_the_priors_that_a_search_learnt_from(tmp_path: Path) -> None:
    now = study(trials(20))
    earlier = learn_prior(replace(study(trials(30)), name="<earlier>", dataset="other images"))
    report = make_report(replace(now, priors=(earlier,)))
    (sentence,) = report.priors
    assert sentence.startswith("earlier study <earlier> (other images): did it tell the order of the trials' AP? ")
    tau = re.search(r"\? Kendall's tau (\S+) over 20 trials \(95 %: (\S+) to (\S+)\)", sentence)
    assert tau is not None
    assert float(tau[1]) > 0.7
    assert 0.2 < float(tau[2]) < float(tau[1]) < float(tau[3])
    assert "which may be chance" not in sentence
    by_chance = make_report(replace(now, priors=(replace(earlier, trials=shuffled(earlier.trials)),)))
    assert ", which may be chance (" in by_chance.priors[0]
    shared = make_report(replace(now, priors=(replace(earlier, study=SHARED_WEIGHTS),)))
    assert shared.priors[0].startswith("shared weights: did it tell the order ")
    built_in = make_report(replace(now, priors=(replace(earlier, study=BUILT_IN),)))
    assert built_in.priors[0].startswith("the prior that comes with the tool (other images): did it tell the order ")
    write_report_page(report, tmp_path / "report.html")
    assert "earlier study &lt;earlier&gt; (other images)" in (tmp_path / "report.html").read_text()
    few = make_report(replace(study(trials(2)), priors=(earlier,)))
    assert "2 trials are too few to say" in few.priors[0]
