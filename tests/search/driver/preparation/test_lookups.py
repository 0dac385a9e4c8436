"""How many latencies a search measures for its proposals, beside those of the trials."""

import os
import signal
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.driver.driver import RunResult
from search.driver.executor import Event, Finished
from search.driver.interruption import StopRequest
from search.driver.search import run_search
from search.strategy.ehvi_sampler import FAILED_LOOKUPS
from search.study.database.storage import open_storage
from search.study.database.trial_attributes import LOOKUP
from search.study.settings import StudySettings
from spaces import Architecture, YoloRetError
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import (
    IDENTITY,
    Measures,
    RecordingView,
    Runs,
    ScriptedExecutor,
    StandInDevice,
    fake_ap,
    fake_latency_ms,
    latency,
)
from trials.latency import DeviceAwayError, DeviceError, Latency, UnusableDeviceError
from trials.latency.cache import LatencyCacheError
from trials.trial_result import TrialRequest, TrialResult


class _Clock:
    """Stands still but for look-ups of two seconds."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def _look_ups(
    settings: StudySettings, monkeypatch: pytest.MonkeyPatch, *, train_s: float, capacity: int = 1
) -> tuple[list[int], list[str]]:
    """Return how many trainings were started at each look-up, and what the user was told."""
    clock, seen, view = _Clock(), list[int](), RecordingView()
    monkeypatch.setattr("search.strategy.ehvi_sampler.time", clock)

    def train(request: TrialRequest) -> Generator[Event, bool | None, None]:
        known = latency(fake_latency_ms(request.architecture))
        seconds = {"train": train_s, "measure": 2.0}
        result = TrialResult(state="complete", latency=known, ap=fake_ap(request.architecture), seconds=seconds)
        yield Finished(number=request.number, result=result)

    executor = ScriptedExecutor(scripts=dict.fromkeys(range(99), train), capacity=capacity)

    def measure_ms(architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
        seen.append(len(executor.started))
        clock.now += 2.0
        return fake_latency_ms(architecture)

    run_search(settings, executor=executor, view=view, devices=Measures(measure_ms))
    return seen, [notice for notice in view.notices if "measuring" in notice]


def test_short_trainings_are_not_kept_waiting_for_look_ups(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings of ten seconds allow half a look-up each: a round of four comes after every eighth."""
    seen, told = _look_ups(settings(sampler="ehvi", budget=18), monkeypatch, train_s=10.0)
    assert 4 <= len(seen) <= 9
    assert seen[0] >= 8
    assert told == ["measuring latencies of candidates, for at most 10% of the time of trainings"]


def test_several_workers_wait_for_a_look_up_together(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, _ = _look_ups(settings(sampler="ehvi", budget=18), monkeypatch, train_s=40.0)
    together, _ = _look_ups(settings(name="two", sampler="ehvi", budget=18), monkeypatch, train_s=40.0, capacity=2)
    assert 0 < len(together) < len(alone)


def test_long_trainings_allow_whole_rounds_from_the_first_on(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, _ = _look_ups(settings(sampler="ehvi", budget=6), monkeypatch, train_s=3600.0)
    assert seen[0] == 1
    assert seen.count(1) >= 20


def test_look_ups_have_the_scale_of_the_study_s_first_latency(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales: list[Latency | None] = []
    measure = Measures.measure

    def record(devices: Measures, *args: Any, scale: Latency | None, **options: Any) -> Latency:
        scales.append(scale)
        return measure(devices, *args, **options)

    monkeypatch.setattr(Measures, "measure", record)
    seen, _ = _look_ups(settings(sampler="ehvi", budget=2, max_latency_ms=90.0), monkeypatch, train_s=3600.0)
    assert set(seen) == {0, 1}
    assert {number: scale is not None for number, scale in zip(seen, scales, strict=True)} == {0: False, 1: True}


def test_a_limit_needs_a_scale_before_the_first_training(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, _ = _look_ups(settings(sampler="ehvi", budget=3, max_latency_ms=30.0), monkeypatch, train_s=1.0)
    assert seen == [0] * 6


def test_a_run_that_is_ended_while_a_proposal_measures_ends_before_the_next_measurement(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    seen: list[Architecture] = []

    def measure_ms(architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
        seen.append(architecture)
        return fake_latency_ms(architecture)

    def search(stop_requested: Callable[[], StopRequest]) -> tuple[RunResult, ScriptedExecutor]:
        executor = ScriptedExecutor()
        chosen = settings(sampler="ehvi", budget=3, max_latency_ms=30.0)  # six look-ups come first
        result = run_search(
            chosen,
            executor=executor,
            view=RecordingView(),
            devices=Measures(measure_ms),
            stop_requested=stop_requested,
        )
        return result, executor

    result, executor = search(lambda: "finish" if len(seen) >= 2 else "no")
    assert (len(seen), executor.started, result.ending) == (2, [], "interrupted")
    result, _ = search(lambda: "no")
    assert (result.ending, len(result.summary.records)) == ("done", 3)


def test_a_device_that_restarted_with_other_clocks_gives_no_latency(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, seen = settings(sampler="ehvi", budget=3, max_latency_ms=30.0), list[str]()  # six look-ups come first
    free = replace(IDENTITY, settings={**IDENTITY.settings, "clocks": "free"})

    def measure(architecture: Architecture, *args: object, **options: object) -> tuple[Latency, bool]:
        seen.append(architecture.key)
        known = latency(fake_latency_ms(architecture))
        return (replace(known, device=free) if len(seen) == 3 else known), False

    monkeypatch.setattr("search.driver.devices.measure_architecture", measure)
    message = "device cpu has changed since the search began: clocks: — → free; 0 of 3 trials are finished"
    with pytest.raises(DeviceAwayError, match=message):
        run_search(chosen, executor=ScriptedExecutor(), view=RecordingView())
    stored = optuna.load_study(study_name=chosen.name, storage=open_storage(chosen.root)).user_attrs
    assert sum(name.startswith(LOOKUP) for name in stored) == 2
    assert not any(name.startswith(FAILED_LOOKUPS) for name in stored)
    assert run_search(chosen, executor=ScriptedExecutor(), view=RecordingView()).ending == "done"
    assert seen.count(seen[2]) == 2  # it is measured again


@pytest.mark.parametrize("trouble", [UnusableDeviceError, LatencyCacheError])
def test_a_device_that_measures_nothing_any_more_costs_no_candidate(
    settings: MakeSettings,
    device: StandInDevice,
    tracking: Runs,
    trouble: type[YoloRetError],
) -> None:
    """A process whose GPU is lost, or a full disk: of each of many look-ups the next would fail, too."""
    chosen, seen = settings(sampler="ehvi", budget=3, max_latency_ms=30.0), list[str]()  # six look-ups come first

    def measure_ms(architecture: Architecture, *args: object, **options: object) -> float:
        seen.append(architecture.key)
        if len(seen) >= 3:
            raise trouble("nothing can be measured", hint="free some space")
        return fake_latency_ms(architecture)

    for _ in range(4):
        with pytest.raises(DeviceAwayError, match="nothing can be measured; 0 of 3 trials are finished") as caught:
            run_search(chosen, executor=ScriptedExecutor(), view=RecordingView(), devices=Measures(measure_ms))
        assert caught.value.hint == "free some space; then run the same command again: it resumes"
    assert len(seen) == 6  # a run ends at its first
    study = optuna.load_study(study_name=chosen.name, storage=open_storage(chosen.root))
    assert not any(name.startswith(FAILED_LOOKUPS) for name in study.user_attrs)
    assert not study.get_trials(states=(TrialState.RUNNING,))
    assert run_search(chosen, executor=ScriptedExecutor(), view=RecordingView()).ending == "done"


def test_a_second_interrupt_ends_a_measurement_for_a_proposal(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    requests: tuple[StopRequest, ...] = ("no", "finish", "now")

    def measure(architecture: Architecture, *args: object, **options: object) -> tuple[Latency, bool]:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            assert len(heard) == 1  # it is not ended yet
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("it goes on for hours")
        except Exception as error:  # as of a runtime whose errors have nothing in common
            raise DeviceError(str(error)) from error

    monkeypatch.setattr("search.driver.devices.measure_architecture", measure)
    chosen, view = settings(sampler="ehvi", budget=3, max_latency_ms=30.0), RecordingView()
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        result = run_search(chosen, executor=ScriptedExecutor(), view=view, stop_requested=lambda: requests[len(heard)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.ending, len(heard)) == ("interrupted", 2)
    assert not [notice for notice in view.notices if "no latency" in notice]
