"""The effects of choices, on studies whose effects are known."""

import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import draw_known_study
from search.front.record import TrialRecord
from search.reports.effects import choices_of, estimate_effects
from search.reports.forecast import Candidate, Forecast
from search.reports.report import StudyReport
from spaces import Architecture
from spaces.named_spaces import open_space
from tests.search.driver.scripted import latency
from tests.search.records import record, summary
from trials.trial_result import TrialResult


@pytest.mark.parametrize(("count", "repeats"), [(12, 12), (28, 4), (50, 2), (100, 2)])
def test_the_ranges_cover_the_known_effects(count: int, repeats: int) -> None:
    covered = []
    for seed in range(repeats):
        records, truth = draw_known_study(count, seed)
        covered += [
            one.ap_range[0] <= truth[one.axis, one.value] <= one.ap_range[1] for one in estimate_effects(records)
        ]
    assert 0.8 <= np.mean(covered) <= 0.99  # 0.90 to 0.95 over many studies: docs/measurements.md


def test_latency_effects_are_those_of_all_measured_trials() -> None:
    space = open_space("tiny")
    rng = random.Random(0)
    records = []
    for number in range(60):
        one = space.sample(rng)
        is_large = one.input_size >= 128
        state = "infeasible" if is_large and number % 6 else "complete"
        # The few large ones that were trained are said to be slower than those that were not.
        latency_ms = 2.0 if not is_large else 8.0 if state == "infeasible" else 9.0
        result = TrialResult(state=state, ap=0.3, ap50=0.5, latency=latency(latency_ms))
        records.append(TrialRecord(number=number, architecture=one, result=result))
    latencies = {one.value: one for one in estimate_effects(records) if one.axis == "input_size"}
    assert latencies["160"].latency / latencies["64"].latency == pytest.approx(4.1, abs=0.1)


@pytest.mark.parametrize(("count", "share"), [(8, "25.0%"), (10, "20.0%"), (12, "25.0%")])
def test_the_last_quarter_is_a_quarter(count: int, share: str) -> None:
    records = [record(number, 0.9 * (number + 1) / count, 50.0) for number in range(count)]  # each adds as much
    candidate = Candidate(architecture=records[0].architecture, ap=0.9, ap_std=0.1, latency_ms=50.0, gain=0.01)
    report = StudyReport(
        name="s",
        title="s",
        folder=Path("runs/s"),
        summary=summary(*records),
        effects=(),
        forecast=Forecast(candidates=(candidate,)),
        by_minute=(),
        seconds_by_kind={},
    )
    assert f"the last quarter of the trials added {share} to the hypervolume" in report.verdict


@pytest.mark.parametrize("name", ["tiny", "nano", "lite", "paper"])
def test_every_axis_that_a_space_chooses_on_is_reported(name: str) -> None:
    space, rng = open_space(name), random.Random(0)
    records = [
        TrialRecord(
            number=number,
            architecture=space.sample(rng),
            result=TrialResult(state="complete", ap=0.3 + 0.01 * (number % 7), ap50=0.5, latency=latency(2.0)),
        )
        for number in range(80)
    ]
    assert {one.axis for one in estimate_effects(records)} >= set(space.open_axes) - {"truncation", "neck"}


def test_all_blocks_of_two_backbones_are_one_value_of_transfer() -> None:
    architectures = [
        Architecture(backbone=backbone, truncation=blocks, transfer=transfer)
        for backbone, blocks in (("mobilenetv2_050", 16), ("mobilenetv2_075", 14))
        for transfer in (0, blocks, 6)
    ]
    assert [choices_of(one)["transfer"] for one in architectures] == ["none", "all blocks", "first 6 blocks"] * 2
