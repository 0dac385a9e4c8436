"""The comparison in wall-clock time: one scale of latencies, and only searches that were asked for alike."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.search_wall_clock import Run, listed, on_one_scale, run
from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary
from spaces.presets import PRESETS
from trials.latency import DeviceIdentity, Latency
from trials.trial_result import TrialResult

CPU = DeviceIdentity(kind="cpu", board="b", backend="o", precision="fp32", settings={"threads": "1"})


def search(*latencies: Latency | None, reference_ms: float) -> Run:
    records = tuple(
        TrialRecord(
            number=number,
            architecture=PRESETS["yoloret-m0.75"],
            result=TrialResult(state="complete" if latency else "failed", ap=0.5, latency=latency),
        )
        for number, latency in enumerate(latencies)
    )
    summary = Summary(records=records, reference=Reference(ap=0.0, latency_ms=reference_ms))
    return Run(seconds=1.0, at_s=tuple(float(one) for one in range(len(records))), summary=summary, spent={})


def latencies_ms(one: Run) -> list[float]:
    return [record.point[1] for record in one.summary.records if record.point]


def test_searches_that_began_in_a_slow_and_in_a_quiet_minute_are_compared_on_one_scale() -> None:
    quiet = Latency(samples_ms=(1.0,), device=CPU, reference_ms=0.5, slowdown=1.25, is_reference_in_turn=True)
    slow = replace(quiet, samples_ms=(1.5,), reference_ms=0.6, slowdown=1.0)
    runs = {"quiet": search(None, quiet, reference_ms=4.0), "slow": search(slow, slow, reference_ms=6.0)}
    scaled = on_one_scale(runs)
    assert latencies_ms(scaled["quiet"]) == [1.0]
    assert latencies_ms(scaled["slow"]) == pytest.approx([1.0, 1.0])
    assert [one.summary.reference.latency_ms for one in scaled.values()] == pytest.approx([4.0, 4.0])


def test_latencies_that_no_reference_divides_stay() -> None:
    gpu = Latency(samples_ms=(1.0,), device=replace(CPU, kind="cuda"), reference_ms=0.5)
    runs = {"a": search(gpu, reference_ms=4.0), "b": search(replace(gpu, reference_ms=0.6), reference_ms=4.0)}
    assert on_one_scale(runs) == runs


def test_a_kept_search_that_was_asked_for_otherwise_is_refused(tmp_path: Path) -> None:
    asked = ["--data", "shapes", "--seed", "0", "--refit", "0", "--budget", "9"]
    (tmp_path / "clock.json").write_text(json.dumps({"began": "2026-11-29T10:00:00", "seconds": 1.0, "asked": asked}))
    given = argparse.Namespace(data="shapes", budget=50, epochs=None, extra=[])
    with pytest.raises(SystemExit, match=r"--budget 9, asked for is .* --budget 50: give the same options"):
        run(given, tmp_path, 0, ())


def test_a_figure_that_was_never_reached_is_called_so() -> None:
    assert listed([0.25, 0.5, float("inf")]) == "50% (median of 25%, 50%, never)"
    assert listed([float("inf")]) == "never (median of never)"
