"""Who is trained in full, and what comes of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.front.record import TrialRecord
from search.reports.report import make_report
from search.reports.report_page import write_report_page
from search.strategy.accuracy.estimates import with_estimates
from search.study.read_study import EXPERIMENT_FILE, ReadStudy
from search.study.refit import (
    compare_refit,
    find_finalists,
    full_name,
    read_refit,
    refit_name,
    retrained_trial,
    to_variants,
)
from search.study.selection import select_trial
from tests.search.records import STAIRCASE, record, summary
from trials.trial_result import write_json, write_result


def full(number: int, trial: int, ap: float | None, latency_ms: float | None, **changes: object) -> TrialRecord:
    return TrialRecord(
        number=number,
        architecture=record(trial, ap, latency_ms).architecture,
        result=record(trial, ap, latency_ms, **changes).result,
        label=f"trial {trial}",
    )


def test_the_front_and_what_noise_may_have_kept_off_it_are_finalists() -> None:
    near, nearer, far = record(7, 0.385, 31.0), record(8, 0.39, 35.0), record(9, 0.379, 35.0)
    found = find_finalists(summary(*STAIRCASE, near, nearer, far))
    assert [one.number for one in found.members] == [0, 2, 6]
    assert [one.number for one in found.near] == [8, 7]
    assert [one.number for one in found.all] == [0, 2, 6, 8, 7]


def test_there_are_at_most_twice_as_many_finalists_as_members() -> None:
    crowd = [record(number, 0.5 - 0.0001 * number, 10.0 + number) for number in range(30)]
    found = find_finalists(summary(*crowd))
    assert ([one.number for one in found.members], [one.number for one in found.near]) == ([0], [1])


def test_what_it_will_cost_is_what_the_trials_took() -> None:
    took = {"train": 8.0, "score": 2.0, "measure": 50.0}
    found = find_finalists(summary(record(0, 0.2, 10.0, seconds=took, epochs=5), record(1, 0.4, 20.0, epochs=0)))
    assert found.seconds(15, num_repeats=0, done={}) == pytest.approx(30.0)
    assert found.seconds(15, num_repeats=4, done={0: 1}) == pytest.approx(60.0)  # each of which takes 15 s on average
    assert found.seconds(15, num_repeats=4, done={0: 2, 1: 1}) == pytest.approx(45.0)
    assert found.seconds(15, num_repeats=1, done={0: 3, 1: 1}) == 0


def test_variants_say_which_trials_they_were() -> None:
    variants = to_variants(find_finalists(summary(*STAIRCASE)), seed=3)
    assert [(one.label, one.seed) for one in variants] == [("trial 0", 4), ("trial 2", 4), ("trial 6", 4)]
    assert variants[0].architecture == STAIRCASE[0].architecture


def test_rankings_are_compared_over_what_completed_both() -> None:
    refit = [
        full(0, 0, 0.5, 10.0),
        full(1, 2, 0.7, 31.0),
        full(2, 6, 0.6, 59.0),
        full(3, 3, None, None, state="failed", reason="the loss is nan"),
    ]
    found = compare_refit("s-refit-9", summary(*STAIRCASE), refit)
    assert [(one.trial.number, one.best.number) for one in found.retrained] == [(0, 0), (2, 1), (6, 2)]
    assert found.tau == pytest.approx(1 / 3)  # of three pairs two agree, one does not
    assert [one.number for one in found.summary.front] == [0, 1]
    assert found.summary.reference == summary().reference
    assert compare_refit("s", summary(*STAIRCASE), refit[:2]).tau is None
    alike = [full(0, 0, 0.5, 10.0), full(1, 2, 0.5, 31.0), full(2, 6, 0.5, 59.0)]
    assert compare_refit("s", summary(*STAIRCASE), alike).tau is None


def test_a_refit_of_a_deleted_study_is_not_paired_with_the_trials_of_its_successor() -> None:
    kept, other = full(0, 0, 0.5, 10.0), full(1, 2, 0.7, 31.0)
    other = replace(other, architecture=record(6, 0.5, 60.0).architecture)
    found = compare_refit("s-refit-9", summary(*STAIRCASE), [kept, other])
    assert [(one.trial, one.best) for one in found.retrained] == [(STAIRCASE[0], kept)]


def test_repeats_are_judged_by_their_mean() -> None:
    lucky = [full(0, 0, 0.5, 10.0), full(1, 2, 0.46, 31.0), full(2, 0, 0.3, 10.0), full(3, 2, 0.44, 31.0)]
    found = compare_refit("s", summary(*STAIRCASE), lucky)
    assert [(one.best.number, one.ap, one.num_seeds) for one in found.retrained] == [(0, 0.4, 2), (1, 0.45, 2)]
    assert [one.number for one in found.summary.front] == [0, 1]  # by the best score alone, trial 2 would be no member
    judged = with_estimates(found.summary)
    assert judged.estimates[0] == judged.estimates[2]
    assert [judged.estimates[number].ap for number in (0, 1)] == [0.4, 0.45]
    assert select_trial(judged, best=True).number == 1
    # Squares of 0.02 and 0.0002 over seeds, and the prior's four of 0.02, over 2 + 4 degrees of freedom; means of 2.
    assert judged.estimates[0].std == pytest.approx(((0.02 + 0.0002 + 4 * 0.02**2) / 6 / 2) ** 0.5)


def write_refit(root: Path, name: str, *records: TrialRecord) -> None:
    variants = [{"label": one.label, "architecture": one.architecture.to_dict(), "seed": 0} for one in records]
    settings = {"device": "cpu", "dataset": "shapes", "skip_broken": False}
    (root / name).mkdir(parents=True)
    write_json(root / name / EXPERIMENT_FILE, {"id": "1", "settings": settings, "variants": variants})
    for number, one in enumerate(records):
        folder = root / name / "trials" / f"{number:04d}"
        folder.mkdir(parents=True)
        write_result(folder, one.result, study_id="1", architecture=one.architecture)


def test_a_report_has_the_longest_refit(tmp_path: Path) -> None:
    study = ReadStudy(name="s", root=tmp_path, summary=summary(*STAIRCASE), device="cpu")
    assert read_refit(study) is None
    write_refit(tmp_path, refit_name("s", 9), full(0, 0, 0.3, 10.0))
    write_refit(tmp_path, refit_name("s", 30), full(0, 0, 0.5, 10.0), full(1, 2, 0.7, 31.0), full(2, 6, 0.8, 59.0))
    write_refit(tmp_path, refit_name("s-other", 90), full(0, 0, 0.9, 10.0))
    found = read_refit(study)
    assert found is not None
    assert (found.name, found.tau) == ("s-refit-30", pytest.approx(1.0))
    write_refit(tmp_path, refit_name("s", 90))  # begun, and interrupted before its first training ended
    longest = read_refit(study)
    assert longest is not None
    assert longest.name == "s-refit-30"
    write_refit(tmp_path, refit_name("s", 300), full(0, 0, None, None, state="failed", reason="out of memory"))
    assert read_refit(study) == longest  # of the one that failed there is nothing to show
    report = make_report(study)
    assert report.refit is not None
    assert report.refit.retrained == found.retrained
    write_report_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "The final front: trained in full" in page
    assert "s-refit-30" in page


def test_a_report_says_where_the_work_went(tmp_path: Path) -> None:
    kept = record(0, 0.2, 10.0, seconds={"train": 6.0, "score": 1.0, "measure": 1.0, "build": 0.5})
    pruned = record(1, 0.1, 20.0, state="pruned", seconds={"train": 2.0, "aside": 0.25})
    write_refit(tmp_path, refit_name("s", 9), full(0, 0, 0.3, 10.0, seconds={"train": 20.0, "score": 2.0}))
    study = ReadStudy(name="s", root=tmp_path, summary=summary(kept, pruned), device="cpu")
    assert make_report(study).seconds_by_kind == {
        "training kept": 6.0,
        "training not kept": 2.0,
        "scoring": 1.0,
        "measuring": 1.25,
        "full trainings": 22.0,
        "the rest": 0.5,
    }


def test_an_own_training_of_a_trial_s_architecture_is_no_retraining_of_the_trial() -> None:
    """It may be of other data, another size or another recipe."""
    assert retrained_trial(refit_name("blood-cells", 90), "trial 7") == ("blood-cells", 7)
    assert retrained_trial(full_name("blood-cells", 7, epochs=90), "blood-cells:7") == ("blood-cells", 7)
    for name in ("train-blood-cells-7-cards", "blood-cells-trial-8-full-90", "cells-trial-7-full-90", "mine"):
        assert retrained_trial(name, "blood-cells:7") is None
    assert retrained_trial("mine", "yoloret-m0.75") is None
