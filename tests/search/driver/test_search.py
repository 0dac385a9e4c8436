"""The loop over ask, run and tell, with trials that are played rather than run."""

import contextlib
import csv
import dataclasses
import itertools
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image

from search.driver.devices import LocalDevices
from search.driver.driver import OutsideFaultError, RunResult
from search.driver.executor import Event, Finished, Progressed
from search.driver.interruption import StopRequest
from search.driver.preparation.reference_latency import slowest_latency_ms
from search.driver.repeated_failure import RepeatedFailureError
from search.driver.search import SearchWork, run_search
from search.driver.work import Proposal
from search.front.summary import Summary
from search.strategy.optuna_samplers import SpaceSampler
from search.study.database.storage import open_storage
from search.study.errors import StudyError
from search.study.lock import driver_lock
from search.study.read_study import EXPERIMENT_FILE, read_study, study_names
from search.study.settings import StudySettings
from search.study.study import Study
from spaces import Architecture, YoloRetError
from spaces.presets import PRESETS
from spaces.space import BackboneChoice, Space
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import (
    FEW,
    IDENTITY,
    SPACE,
    DriverKilledError,
    Measures,
    RecordingView,
    Runs,
    Script,
    ScriptedExecutor,
    StandInDevice,
    die_of,
    fail_with,
    fake_ap,
    fake_latency_ms,
    find_device_away,
    find_disk_full,
    hang,
    kill_driver,
    latency,
    lose_with,
    measure_also,
    play_trial,
    write_yolo,
)
from tests.trials.latency.locked import is_measuring
from trials.data import DatasetError, open_dataset
from trials.latency import DeviceAwayError, DeviceError, Latency, UnknownDeviceError, UnstableError, UnusableDeviceError
from trials.onnx import UnsupportedNetworkError
from trials.progress import Progress
from trials.training import CHECKPOINT_FILE
from trials.trial_result import TrialRequest, TrialResult, write_result

Story = list[tuple[str, str, str, float | None]]
Interrupted = Callable[[], StopRequest]


def search(
    settings: Any, *, scripts: dict[int, Script] | None = None, capacity: int = 1, **arguments: Any
) -> RunResult:
    executor = ScriptedExecutor(scripts=scripts or {}, capacity=capacity)
    outcome = run_search(settings, executor=executor, view=RecordingView(), **arguments)
    assert executor.is_closed
    return outcome


def story(summary: Summary) -> Story:
    """What was tried in which order, and how it ended; the trials' numbers left out, which interruptions use up."""
    results = [(record.architecture.key, record.result) for record in summary.records]
    return [(key, result.state, result.reason, result.ap) for key, result in results]


def interruption(settings: StudySettings) -> str:
    return read_study(settings.root, settings.name).interruption


def once_started(executor: ScriptedExecutor, count: int, requested: StopRequest) -> Interrupted:
    """Say nothing until so many trials were started, then always the same."""
    return lambda: requested if len(executor.started) >= count else "no"


# --- the budget ---------------------------------------------------------------------------------------------------


def test_the_budget_counts_finished_trials_in_all_runs_together(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    assert len(search(settings(budget=3)).summary.records) == 3
    executor, view = ScriptedExecutor(), RecordingView()
    outcome = run_search(settings(budget=5), executor=executor, view=view)
    assert [record.number for record in outcome.summary.records] == [0, 1, 2, 3, 4]
    assert [request.number for request in executor.started] == [3, 4]
    assert view.opened_with == [(3, 5)]
    assert outcome.ending == "done"
    assert not interruption(settings())


@pytest.mark.parametrize("budget", [2, 3])
def test_a_spent_budget_starts_nothing(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, budget: int
) -> None:
    search(settings(budget=3))
    executor = ScriptedExecutor()
    outcome = run_search(settings(budget=budget), executor=executor, view=RecordingView())
    assert executor.started == []
    assert len(outcome.summary.records) == 3
    assert outcome.ending == "done"


def test_every_way_to_end_spends_budget_and_no_architecture_is_tried_twice(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    scripts = {1: die_of("its process was killed"), 4: fail_with("the loss is nan")}
    outcome = search(settings(budget=12, max_latency_ms=30.0), scripts=scripts)
    records = outcome.summary.records
    assert len(records) == 12
    assert len({record.architecture.key for record in records}) == 12
    assert all(record.architecture in SPACE for record in records)
    states = Counter(record.result.state for record in records)
    assert states["failed"] == 2
    assert states["infeasible"] > 0
    assert states["complete"] > 0


def test_several_at_once_stay_within_the_executor_s_room_and_the_budget(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor(capacity=3)
    outcome = run_search(settings(budget=7), executor=executor, view=RecordingView())
    assert executor.most_at_once == 3
    assert len(executor.started) == 7
    assert [record.number for record in outcome.summary.records] == list(range(7))
    assert len({record.architecture.key for record in outcome.summary.records}) == 7


def test_a_trial_is_told_all_it_needs(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    chosen = settings(budget=1, max_latency_ms=50.0, skip_broken=True)
    executor = ScriptedExecutor()
    run_search(chosen, executor=executor, view=RecordingView())
    (request,) = executor.started
    dataset = open_dataset(chosen.dataset)
    assert (request.fingerprint, request.num_classes) == (dataset.fingerprint, len(dataset.class_names))
    assert request.device_key == device.identity().key
    assert (request.dataset, request.skip_broken, request.device) == (chosen.dataset, True, "cpu")
    assert (request.max_latency_ms, request.train) == (50.0, chosen.train)
    assert request.work_dir == chosen.folder / "trials" / "0000"
    assert request.latency_cache == chosen.root / "latency.db"


# --- presets ------------------------------------------------------------------------------------------------------


def with_presets() -> Space:
    return Space(
        name="with-presets",
        description="Holds one preset.",
        backbones={"mobilenetv2_075": BackboneChoice(truncation=(14, 16), transfer=(0, 99))},
        axes={"shortcut": ("none", "maxpool"), "prediction_bias": (True,), "input_size": (224, 320)},
    )


def test_presets_come_first_and_carry_their_name(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.preparation.available_weights.why_unavailable", lambda backbone: "")
    records = search(settings(space=with_presets(), budget=3)).summary.records
    # The bias of the last convolution is the space's own choice; all else is the paper's.
    assert records[0].architecture == PRESETS["yoloret-m0.75"].replace(prediction_bias=True)
    assert [record.label for record in records] == ["yoloret-m0.75", "", ""]


def test_presets_are_never_stopped_early(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.preparation.available_weights.why_unavailable", lambda backbone: "")
    monkeypatch.setattr("search.driver.search.cannot_reach_front", lambda *curve, **others: "it is hopeless")
    records = search(settings(space=with_presets(), budget=3)).summary.records
    assert [(record.label, record.result.state) for record in records] == [
        ("yoloret-m0.75", "complete"),
        ("", "pruned"),
        ("", "pruned"),
    ]


def test_weights_that_cannot_be_had_are_told_once_and_leave_no_transfer_axis(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "search.driver.preparation.available_weights.why_unavailable", lambda backbone: "the hub is out of reach"
    )
    view = RecordingView()
    outcome = run_search(settings(space=with_presets()), executor=ScriptedExecutor(), view=view)
    assert [notice for notice in view.notices if "out of reach" in notice] == [
        "mobilenetv2_075 start from random weights in this study (the hub is out of reach)"
    ]
    assert {record.architecture.transfer for record in outcome.summary.records} == {0}
    # It goes on so once they can be had.
    monkeypatch.setattr("search.driver.preparation.available_weights.why_unavailable", lambda backbone: "")
    view = RecordingView()
    outcome = run_search(settings(space=with_presets(), budget=8), executor=ScriptedExecutor(), view=view)
    assert "mobilenetv2_075 start from random weights in this study, as it began" in view.notices
    assert {record.architecture.transfer for record in outcome.summary.records} == {0}


def test_a_study_that_began_with_weights_does_not_go_on_without_them(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.preparation.available_weights.why_unavailable", lambda backbone: "")
    search(settings(space=with_presets(), budget=1))
    monkeypatch.setattr(
        "search.driver.preparation.available_weights.why_unavailable", lambda backbone: "the hub is out of reach"
    )
    with pytest.raises(
        StudyError, match=r"weights of mobilenetv2_075, .* not available now: the hub is out of reach"
    ) as no:
        search(settings(space=with_presets(), budget=2))
    assert "--weights-dir" in no.value.hint


def test_a_search_keeps_the_scale_of_its_first_latency_on_each_device(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(also_measure=("cpu:threads=2",), budget=3)
    also = measure_also("cpu:threads=2", dataclasses.replace(IDENTITY, board="other"))
    executor, resumed = ScriptedExecutor(scripts={1: also}), ScriptedExecutor()
    result = run_search(chosen, executor=executor, view=RecordingView())
    run_search(dataclasses.replace(chosen, budget=4), executor=resumed, view=RecordingView())
    first = result.summary.records[0].result.latency
    both = {"cpu": first, "cpu:threads=2": result.summary.records[1].result.also["cpu:threads=2"]}
    assert [request.scales for request in (*executor.started, *resumed.started)] == [{}, {"cpu": first}, both, both]


def test_a_look_up_has_the_scale_of_the_study_in_a_folder_that_has_another(
    settings: MakeSettings, device: StandInDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = dataclasses.replace(latency(10.0), reference_ms=10.0, is_reference_in_turn=True)
    slowed = dataclasses.replace(latency(13.0), reference_ms=13.0, is_reference_in_turn=True)
    monkeypatch.setattr(device, "measure", lambda path: slowed)
    model = tmp_path / "model.onnx"
    model.write_bytes(b"a network")
    monkeypatch.setattr(
        "search.driver.devices.measure_architecture", lambda network, device, cache, **_: cache.measure(device, model)
    )

    def median_ms(scale: Latency | None) -> float:
        return LocalDevices().measure(next(iter(FEW)), settings(space=FEW), num_classes=3, scale=scale).median_ms

    assert median_ms(None) == 13.0
    assert median_ms(timed) == pytest.approx(10.0)
    assert median_ms(None) == 13.0


# --- what ends a trial --------------------------------------------------------------------------------------------


def test_infeasible_trials_keep_their_latency_and_are_nowhere_an_accuracy(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(budget=12, max_latency_ms=25.0)
    summary = search(chosen).summary
    infeasible = [record for record in summary.records if record.result.state == "infeasible"]
    assert infeasible
    for record in infeasible:
        assert record.point is None
        assert record.result.ap is None
        assert record.result.reason == "it is over the limit"
        assert record.result.latency is not None
        assert record.result.latency.median_ms == pytest.approx(fake_latency_ms(record.architecture))
    assert not {record.number for record in summary.front} & {record.number for record in infeasible}
    complete = [record for record in summary.records if record.point]
    alone = dataclasses.replace(summary, records=tuple(complete))
    assert summary.hypervolume == alone.hypervolume > 0
    # Read again from the database, where Optuna holds an accuracy of 0 for them, they are the same.
    assert read_study(chosen.root, "study").summary == dataclasses.replace(summary, estimates={})
    table = (chosen.folder / "trials.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in table if ",infeasible," in line]
    assert len(rows) == len(infeasible)
    assert {tuple(row[2:6]) for row in rows} == {("",) * 4}  # ap, its estimate and deviation, ap50


def test_a_finished_search_has_estimates_of_its_complete_trials_in_its_summary_and_its_tables(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(budget=12, max_latency_ms=40.0)
    summary = search(chosen).summary
    complete = {record.number for record in summary.records if record.point}
    assert 8 <= len(complete) < 12
    assert set(summary.estimates) == complete
    with (chosen.folder / "front.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ap_estimate"]) for row in rows] == [
        pytest.approx(summary.estimates[member.number].ap, abs=1e-4) for member in summary.front
    ]


def test_a_death_and_a_failure_are_told_with_their_reason_and_the_search_goes_on(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    view = RecordingView()
    executor = ScriptedExecutor(scripts={0: die_of("killed, for want of memory"), 1: fail_with("the loss is nan")})
    outcome = run_search(settings(budget=3), executor=executor, view=view)
    results = [record.result for record in outcome.summary.records]
    assert [(result.state, result.reason) for result in results] == [
        ("failed", "killed, for want of memory"),
        ("failed", "the loss is nan"),
        ("complete", ""),
    ]
    assert results[0].ap is None
    assert [record.number for record in view.ended] == [0, 1, 2]
    assert [record.number for record in outcome.summary.front] == [2]


def test_a_hopeless_trial_is_stopped_with_the_reason(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(budget=16, train=dataclasses.replace(settings().train, epochs=4))
    executor = ScriptedExecutor()
    summary = run_search(chosen, executor=executor, view=RecordingView()).summary
    pruned = [record for record in summary.records if record.result.state == "pruned"]
    assert pruned
    assert {number for number, go_on in executor.answers if not go_on} == {record.number for record in pruned}
    for record in pruned:
        assert "which is no slower, with a probability of" in record.result.reason
        assert record.point is None
        fast = [r for r in summary.records if r.point and r.point[1] <= fake_latency_ms(record.architecture)]
        assert max(r.point[0] for r in fast if r.point) > fake_ap(record.architecture)
    assert set(summary.states) == {"complete", "pruned"}


def test_without_pruning_every_trial_goes_to_its_end(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor()
    summary = run_search(settings(budget=12, prune=False), executor=executor, view=RecordingView()).summary
    assert summary.states == {"complete": 12}
    assert all(go_on for _, go_on in executor.answers)


def play_with_weights(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial that leaves a checkpoint; it is never read here."""
    request.work_dir.mkdir(parents=True, exist_ok=True)
    (request.work_dir / CHECKPOINT_FILE).touch()
    return (yield from play_trial(request))


def test_a_trial_inherits_from_a_finished_one_of_its_backbone_whose_weights_are_there(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    scripts: dict[int, Script] = {number: play_with_weights for number in range(8) if number != 1}
    executor = ScriptedExecutor(scripts=scripts)
    chosen = settings(budget=8, inherit=True)
    run_search(chosen, executor=executor, view=RecordingView())
    by_number = {request.number: request.architecture for request in executor.started}
    assert executor.started[0].parent is None
    heirs = [request for request in executor.started if request.parent is not None]
    assert heirs
    for request in heirs:
        assert request.parent is not None
        parent = int(request.parent.parent.name)
        assert parent < request.number
        assert parent != 1  # it left no weights
        assert by_number[parent].backbone == request.architecture.backbone
    alone = ScriptedExecutor(scripts=scripts)
    run_search(settings(name="alone", budget=8), executor=alone, view=RecordingView())
    assert all(request.parent is None for request in alone.started)


def test_what_a_proposal_measures_counts_as_measuring(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Architecture] = []

    def measure(architecture: Architecture, *args: object, **options: object) -> tuple[Latency, bool]:
        asked.append(architecture)
        time.sleep(0.01)
        return latency(fake_latency_ms(architecture)), False

    monkeypatch.setattr("search.driver.devices.measure_architecture", measure)
    outcome = search(settings(budget=2, sampler="ehvi", max_latency_ms=1e3))
    assert len(asked) >= 6
    assert outcome.seconds_by_phase["measure"] >= 0.01 * len(asked)


def test_a_worker_without_a_trial_at_the_end_counts_as_idle(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    class Slow(ScriptedExecutor):
        def events(self, *, timeout_s: float) -> Sequence[Event]:
            time.sleep(0.02)
            return super().events(timeout_s=timeout_s)

    executor = Slow(capacity=3)
    result = run_search(settings(budget=1), executor=executor, view=RecordingView())
    assert 2 * 0.02 <= result.seconds_by_phase["idle"] <= 2 * result.seconds


def test_time_spent_before_the_first_trial_counts(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_slowly(*args: object, **options: object) -> float:
        time.sleep(0.3)
        return 100.0

    monkeypatch.setattr("search.driver.preparation.reference_latency.slowest_latency_ms", measure_slowly)
    outcome = search(settings(budget=1), capacity=2)
    assert 0.6 <= outcome.seconds_by_phase["measure"] <= 2 * outcome.seconds


# --- interrupts ---------------------------------------------------------------------------------------------------


def test_finish_ends_after_the_running_trials(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    executor = ScriptedExecutor(capacity=2)
    outcome = run_search(
        settings(budget=9), executor=executor, view=RecordingView(), stop_requested=once_started(executor, 4, "finish")
    )
    assert outcome.ending == "interrupted"
    assert len(executor.started) == len(outcome.summary.records) == 4
    assert {record.result.state for record in outcome.summary.records} == {"complete"}
    assert tracking.status == ["KILLED"]
    assert interruption(settings()) == "interrupted at 4 of 9"


def test_finish_trains_nothing_that_waits_for_a_machine(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    class Waiting(ScriptedExecutor):
        """On a cluster, the second of two trials is only measured."""

        def withdraw(self) -> Sequence[int]:
            numbers = [number for number in self._running if number == 1]
            for number in numbers:
                self.kill(number)
            return numbers

    executor, view = Waiting(capacity=2), RecordingView()
    outcome = run_search(settings(), executor=executor, view=view, stop_requested=once_started(executor, 2, "finish"))
    assert outcome.ending == "interrupted"
    assert [record.number for record in outcome.summary.records] == [0]
    assert view.given_up == tracking.interrupted == [1]
    again = ScriptedExecutor()
    run_search(settings(), executor=again, view=RecordingView())
    assert again.started[0].architecture == executor.started[1].architecture


def test_an_end_during_the_last_trial_counts_and_the_study_is_whole(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor()
    outcome = run_search(
        settings(budget=3), executor=executor, view=RecordingView(), stop_requested=once_started(executor, 3, "finish")
    )
    assert (outcome.ending, len(outcome.summary.records)) == ("interrupted", 3)  # so that no full training begins
    assert tracking.status == ["FINISHED"]


def test_now_puts_running_trials_back_and_resuming_tries_them_first(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor(capacity=2)
    outcome = run_search(
        settings(budget=6), executor=executor, view=RecordingView(), stop_requested=once_started(executor, 4, "now")
    )
    assert outcome.ending == "interrupted"
    done = {record.number for record in outcome.summary.records}
    put_back = [request for request in executor.started if request.number not in done]
    assert len(put_back) == 2
    assert tracking.interrupted == [request.number for request in put_back]

    again = ScriptedExecutor(capacity=2)
    resumed = run_search(settings(budget=6), executor=again, view=RecordingView())
    first = [request.architecture for request in again.started[:2]]
    assert first == [request.architecture for request in put_back]
    assert len(resumed.summary.records) == 6
    assert len({record.architecture.key for record in resumed.summary.records}) == 6
    assert resumed.ending == "done"


def test_a_trial_that_ended_unheard_before_now_is_recorded(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    class Late(ScriptedExecutor):
        def close(self) -> Sequence[Finished]:
            ended = [one for one in self.started if one.number in self._running]
            super().close()
            return [Finished(number=one.number, result=_played(one)[-1]) for one in ended]

    executor = Late()
    outcome = run_search(
        settings(), executor=executor, view=RecordingView(), stop_requested=once_started(executor, 2, "now")
    )
    assert outcome.ending == "interrupted"
    assert [record.number for record in outcome.summary.records] == [0, 1]
    assert len(executor.started) == 2
    assert tracking.interrupted == []


def test_a_trial_that_was_ended_from_outside_is_tried_again(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor, view = ScriptedExecutor(scripts={1: lose_with("its node is gone")}), RecordingView()
    outcome = run_search(settings(), executor=executor, view=view)
    assert [record.result.state for record in outcome.summary.records] == ["complete"] * 4
    lost, again = executor.started[1:3]
    assert again.architecture == lost.architecture
    assert "trial 1 will be tried again: its node is gone" in view.notices


def test_an_architecture_that_is_ended_from_outside_each_time_fails(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor(scripts={number: lose_with("its node is gone") for number in (1, 2, 3)})
    outcome = run_search(settings(), executor=executor, view=RecordingView())
    assert outcome.summary.states == {"complete": 3, "failed": 1}
    failed = next(record for record in outcome.summary.records if record.result.state == "failed")
    assert failed.result.reason == "its node is gone, 3 times in this run"


def test_a_search_waits_where_no_machine_has_room(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    class Growing(ScriptedExecutor):
        def events(self, *, timeout_s: float) -> Sequence[Event]:
            self.capacity = 1
            return super().events(timeout_s=timeout_s)

    outcome = run_search(settings(), executor=Growing(capacity=0), view=RecordingView())
    assert (outcome.ending, len(outcome.summary.records)) == ("done", 4)


@pytest.mark.parametrize("end", [die_of("signal SIGINT"), fail_with("Pin memory thread exited unexpectedly")])
def test_a_trial_that_dies_or_fails_while_the_search_ends_is_put_back(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, end: Script
) -> None:
    executor = ScriptedExecutor(scripts={1: end})
    outcome = run_search(
        settings(), executor=executor, view=RecordingView(), stop_requested=once_started(executor, 2, "finish")
    )
    assert [record.number for record in outcome.summary.records] == [0]
    again = ScriptedExecutor()
    run_search(settings(), executor=again, view=RecordingView())
    assert again.started[0].architecture == executor.started[1].architecture


def test_an_interrupt_while_latencies_are_measured_starts_nothing_and_loses_nothing(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    measured, executor, view = list[str](), ScriptedExecutor(capacity=2), RecordingView()

    def measure_ms(architecture: Architecture, settings: StudySettings, *, num_classes: int) -> float:
        measured.append(architecture.key)
        return fake_latency_ms(architecture)

    chosen = settings(sampler="ehvi", max_latency_ms=1e3)
    outcome = run_search(
        chosen,
        executor=executor,
        view=view,
        stop_requested=lambda: "finish" if measured else "no",
        devices=Measures(measure_ms),
    )
    assert (outcome.ending, executor.started) == ("interrupted", [])
    assert any("measuring latencies of candidates" in note for note in view.notices)
    again = ScriptedExecutor()
    run_search(chosen, executor=again, view=RecordingView(), devices=Measures(measure_ms))
    assert again.started[0].number == 1  # the first proposal's architecture, queued again
    assert len(measured) == len(set(measured))


def test_a_killed_driver_leaves_nothing_twice_and_nothing_out(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    first = ScriptedExecutor(scripts={2: kill_driver})
    with pytest.raises(DriverKilledError):
        run_search(settings(), executor=first, view=RecordingView())
    again = ScriptedExecutor()
    outcome = run_search(settings(), executor=again, view=RecordingView())
    assert again.started[0].architecture == first.started[2].architecture
    assert len(outcome.summary.records) == 4
    assert len({record.architecture.key for record in outcome.summary.records}) == 4


def test_a_resumed_study_keeps_its_number_format(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    first, again = ScriptedExecutor(), ScriptedExecutor()
    run_search(settings(budget=2), executor=first, view=RecordingView())
    run_search(settings(budget=4), executor=again, view=RecordingView())
    started = [*first.started, *again.started]
    assert [request.train.precision for request in started] == ["auto", "bf16", "bf16", "bf16"]


def test_a_result_written_before_the_driver_was_killed_is_taken(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def finish_unheard(request: Any) -> Any:
        *_, last = _played(request)
        request.work_dir.mkdir(parents=True)
        write_result(request.work_dir, last, study_id=request.study_id, architecture=request.architecture)
        yield from kill_driver(request)

    first = ScriptedExecutor(scripts={1: finish_unheard})
    with pytest.raises(DriverKilledError):
        run_search(settings(), executor=first, view=RecordingView())
    again = ScriptedExecutor()
    outcome = run_search(settings(), executor=again, view=RecordingView())
    assert [request.number for request in again.started] == [2, 3]
    assert outcome.summary.records[1].architecture == first.started[1].architecture
    assert outcome.summary.records[1].result.state == "complete"


def test_a_trial_that_was_stopped_before_its_driver_was_killed_keeps_the_reason(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def stop_unheard(request: TrialRequest) -> Generator[Event, bool | None, None]:
        play = play_trial(request)
        event = next(play)
        while not isinstance(event, Finished):
            event = play.send((yield event))
        request.work_dir.mkdir(parents=True)
        result = dataclasses.replace(event.result, reason="stopped")  # a trial does not know why
        write_result(request.work_dir, result, study_id=request.study_id, architecture=request.architecture)
        yield from kill_driver(request)

    train = dataclasses.replace(settings().train, epochs=4)
    whole = search(settings(name="whole", budget=16, train=train)).summary
    pruned = next(record for record in whole.records if record.result.state == "pruned")
    broken = settings(budget=16, train=train)
    with pytest.raises(DriverKilledError):
        search(broken, scripts={pruned.number: stop_unheard})
    recovered = search(broken).summary.records[pruned.number].result
    assert (recovered.state, recovered.reason) == ("pruned", pruned.result.reason)


def _played(request: Any) -> list[TrialResult]:
    play, answer, results = play_trial(request), None, []
    while True:
        try:
            event = play.send(answer)
        except StopIteration:
            return results
        answer = True if getattr(event, "progress", None) else None
        if hasattr(event, "result"):
            results.append(event.result)


# --- repeatability ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "ehvi"])
def test_one_seed_gives_one_search_also_when_it_is_interrupted_and_killed(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    # Look-ups take a share of the time of trainings, so that the time they take decides too: here it is always the same.
    monkeypatch.setattr("search.strategy.ehvi_sampler.time", SimpleNamespace(monotonic=itertools.count().__next__))
    whole = search(settings(name="whole", sampler=sampler, budget=13, max_latency_ms=40.0))

    broken = settings(name="broken", sampler=sampler, budget=13, max_latency_ms=40.0)
    executor = ScriptedExecutor()
    run_search(broken, executor=executor, view=RecordingView(), stop_requested=once_started(executor, 3, "now"))
    with pytest.raises(DriverKilledError):
        search(broken, scripts={8: kill_driver})
    executor = ScriptedExecutor()
    run_search(broken, executor=executor, view=RecordingView(), stop_requested=once_started(executor, 5, "finish"))
    with pytest.raises(DriverKilledError):
        search(broken, scripts={14: kill_driver})
    resumed = search(broken)

    assert story(resumed.summary) == story(whole.summary)
    assert len(story(whole.summary)) == 13


def test_another_seed_gives_another_search(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    one, other = (search(settings(name=f"seed-{seed}", seed=seed)) for seed in (0, 1))
    assert story(one.summary) != story(other.summary)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sampler": "random"}, "sampler was tpe, is random"),
        ({"seed": 7}, "seed was 0, is 7"),
        ({"max_latency_ms": 9.0}, "max_latency_ms was None, is 9"),
        ({"space": FEW}, "space.name was some-hundred, is four"),
        ({"dataset": "shapes:train=5,val=2,size=32"}, "dataset was .*train=4.* is .*train=5"),
    ],
)
def test_a_study_does_not_go_on_with_other_settings(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, change: dict[str, Any], named: str
) -> None:
    search(settings(budget=1))
    with pytest.raises(StudyError, match=named) as caught:
        search(settings(budget=2, **change))
    assert "--study" in caught.value.hint
    assert len(search(settings(budget=1)).summary.records) == 1  # nothing happened to it


def test_a_study_does_not_go_on_with_other_training(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(budget=1)
    search(chosen)
    other = dataclasses.replace(chosen.train, epochs=3)
    with pytest.raises(StudyError, match=r"train\.epochs was 2, is 3"):
        search(settings(train=other))


def aspects(result: RunResult) -> set[str]:
    return {record.architecture.aspect for record in result.summary.records}


def test_networks_get_inputs_of_the_images_shape_and_keep_it(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path
) -> None:
    data = str(write_yolo(tmp_path / "data", num_train=3, size=(64, 36)))
    view = RecordingView()
    first = run_search(settings(dataset=data, budget=2), executor=ScriptedExecutor(), view=view)
    assert aspects(first) == {"16:9"}
    said = [note for note in view.notices if "16:9" in note]
    assert said == ["networks get inputs of 16:9; the images fill 100% of them (--aspect 1:1 for square ones)"]
    # As it began, whatever the images are now.
    data = str(write_yolo(tmp_path / "data", num_train=3, size=(36, 64)))
    again = settings(dataset=data, budget=3, accept_changed_data=True)
    assert aspects(search(again)) == {"16:9"}
    with pytest.raises(StudyError, match=r"space\.aspect was 16:9, is 9:16 \(--aspect\)"):
        search(dataclasses.replace(again, aspect="9:16"))


def test_a_study_from_before_there_were_other_shapes_goes_on_with_squares(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(write_yolo(tmp_path / "data", num_train=3, size=(64, 36)))
    with monkeypatch.context() as patch:
        patch.setattr("search.driver.search.with_input_aspect", lambda given, dataset, notice: given)
        search(settings(dataset=data, budget=1))
    assert aspects(search(settings(dataset=data, budget=3))) == {"1:1"}


def test_images_of_several_shapes_get_squares_and_a_note(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path
) -> None:
    data = write_yolo(tmp_path / "data", num_train=2, size=(64, 36))
    Image.new("RGB", (36, 64), "grey").save(data / "images" / "train" / "1.png")
    view = RecordingView()
    assert aspects(run_search(settings(dataset=str(data), budget=1), executor=ScriptedExecutor(), view=view)) == {"1:1"}
    said = "networks get square inputs; images of several shapes fill 56% of them (--aspect W:H for others)"
    assert said in view.notices
    view = RecordingView()
    run_search(settings(name="generated", budget=1), executor=ScriptedExecutor(), view=view)
    assert not [note for note in view.notices if "inputs" in note]


def test_what_the_user_or_the_space_says_of_the_shape_comes_before_the_images(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path
) -> None:
    data = str(write_yolo(tmp_path / "data", num_train=3, size=(64, 36)))
    asked = settings(name="asked", dataset=data, budget=1, aspect="1:1")
    view = RecordingView()
    assert aspects(run_search(asked, executor=ScriptedExecutor(), view=view)) == {"1:1"}
    assert "of inputs of 1:1 the images fill 56%, of 16:9 they would fill 100%" in view.notices
    own = SPACE.with_aspects(("4:3",))
    assert aspects(search(settings(name="own", dataset=data, budget=1, space=own))) == {"4:3"}
    both = settings(name="both", dataset=data, budget=1, space=own, aspect="3:2")
    assert both.space.size == own.size
    assert aspects(search(both)) == {"3:2"}
    with pytest.raises(StudyError, match=r"space\.aspect was 3:2, is 4:3 \(--aspect\)"):
        search(dataclasses.replace(both, space=own, aspect=None))
    with pytest.raises(StudyError, match=r"space\.aspect was 1:1, is 3:2 \(--aspect\)"):
        search(dataclasses.replace(asked, aspect="3:2"))
    listed = SPACE.with_aspects(("1:1", "3:2")).with_aspects(("1:1",))  # as a file may list what is a square anyway
    assert "aspect" in listed.axes
    assert aspects(search(dataclasses.replace(asked, space=listed, aspect=None, budget=2))) == {"1:1"}


def test_how_much_of_the_machine_a_training_takes_may_change(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(budget=1)
    search(chosen)
    other = dataclasses.replace(chosen.train, num_threads=3, num_workers=2, cache_mib=8)
    assert len(search(settings(budget=2, train=other)).summary.records) == 2


def test_a_result_that_a_killed_driver_has_not_heard_of_is_one_of_the_former_data(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path
) -> None:
    def end_unheard(request: TrialRequest) -> Generator[Event, bool | None, None]:
        request.work_dir.mkdir(parents=True)
        found = TrialResult(state="complete", latency=latency(20.0), ap=0.4)
        write_result(request.work_dir, found, study_id=request.study_id, architecture=request.architecture)
        raise DriverKilledError
        yield

    chosen = settings(budget=1, dataset=str(write_yolo(tmp_path / "data", num_train=3)))
    with pytest.raises(DriverKilledError):
        search(chosen, scripts={0: end_unheard})
    write_yolo(tmp_path / "data", num_train=4)
    for _ in range(2):
        with pytest.raises(StudyError, match="the data of 'study' changed since it began"):
            search(chosen)
    (kept,) = search(dataclasses.replace(chosen, accept_changed_data=True)).summary.records
    assert kept.result.ap == 0.4


def test_a_trial_is_told_the_whole_path_of_its_data(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of a cluster works in another folder."""
    data = write_yolo(tmp_path / "data", num_train=3)
    monkeypatch.chdir(tmp_path)
    executor = ScriptedExecutor()
    run_search(settings(budget=1, dataset="data"), executor=executor, view=RecordingView())
    assert executor.started[0].dataset == str(data)
    assert read_study(settings().root, "study").dataset == "data"  # as it was typed, to be typed again


def test_a_study_does_not_go_on_with_data_that_changed(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path
) -> None:
    data = write_yolo(tmp_path / "data", num_train=3)
    search(settings(budget=1, dataset=str(data)))
    write_yolo(tmp_path / "data", num_train=4)
    with pytest.raises(StudyError, match=r"the data of 'study' changed since it began .*: 1 of train new, first \S*3"):
        search(settings(budget=2, dataset=str(data)))
    assert len(search(settings(budget=2, dataset=str(data), accept_changed_data=True)).summary.records) == 2


def test_whose_weights_stay_is_the_study_s_choice(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def weights() -> int:
        return len(list(settings().folder.glob(f"trials/*/{CHECKPOINT_FILE}")))

    summary = search(settings(budget=8, keep="all")).summary
    for record in summary.records:
        settings().trial_folder(record.number).mkdir(parents=True, exist_ok=True)
        (settings().trial_folder(record.number) / CHECKPOINT_FILE).touch()
    num_beaten = len(summary.records) - len(summary.front)
    assert num_beaten
    search(settings(budget=8))
    assert weights() == 8
    view = RecordingView()
    run_search(settings(budget=8, keep="front"), executor=ScriptedExecutor(), view=view)
    assert weights() == len(summary.front)
    deleted = f"the weights of {num_beaten} trials that are not on the front are deleted (--keep front)"
    assert deleted in view.notices


def test_a_study_does_not_go_on_on_another_device(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(settings(budget=1))
    device.known = dataclasses.replace(IDENTITY, board="another", settings={"threads": "2"})
    with pytest.raises(StudyError, match="board: stand-in → another; threads: 1 → 2"):
        search(settings(budget=2))


def test_a_board_with_other_time_limits_is_the_same_device(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    """As the hint of a build that took too long advises."""
    search(settings(budget=1, device="ssh://nano", also_measure=("ssh://orin?run_limit_s=60",)))
    longer = settings(budget=2, device="ssh://nano?build_limit_s=4800", also_measure=("ssh://orin",))
    assert len(search(longer).summary.records) == 2
    known = read_study(longer.root, longer.name)
    assert (known.device, known.also_measure) == (longer.device, longer.also_measure)  # an export builds within them
    with pytest.raises(StudyError, match="device was ssh://nano, is ssh://orin; also_measure was ssh://orin, is none"):
        search(settings(budget=3, device="ssh://orin?build_limit_s=4800"))
    with pytest.raises(StudyError, match=r"device was ssh://nano, is ssh://nano\?trtexec=/opt/trtexec"):
        search(settings(budget=3, device="ssh://nano?trtexec=/opt/trtexec", also_measure=("ssh://orin",)))


def test_a_further_device_stays_the_one_of_its_first_latency(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    first, other = (dataclasses.replace(IDENTITY, board=board) for board in ("first", "other"))
    chosen = settings(also_measure=("cuda", "ssh://nano"), budget=3)
    executor = ScriptedExecutor(
        scripts={number: measure_also("cuda", known) for number, known in ((1, first), (2, other))}
    )
    run_search(chosen, executor=executor, view=RecordingView())
    assert [request.also_keys for request in executor.started] == [{}, {}, {"cuda": first.key}]
    executor = ScriptedExecutor()
    run_search(settings(also_measure=chosen.also_measure, budget=4), executor=executor, view=RecordingView())
    assert [request.also_keys for request in executor.started] == [{"cuda": first.key}]


@pytest.mark.parametrize("capacity", [1, 3])
def test_an_exhausted_space_ends_the_search_with_everything_written(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, capacity: int
) -> None:
    chosen = settings(space=FEW, budget=9)
    for _ in range(2):  # the second run starts no trial
        result = search(chosen, capacity=capacity)
        assert result.ending == "exhausted"
        assert len({record.architecture.key for record in result.summary.records}) == len(result.summary.records) == 4
        assert read_study(chosen.root, "study").summary == result.summary
        assert not interruption(chosen)
        assert (chosen.folder / "front.csv").is_file()
        assert tracking.status[-1] == "FINISHED"
    assert sorted(tracking.started) == sorted(tracking.finished) == [0, 1, 2, 3]


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_a_trial_put_back_from_an_exhausted_space_is_tried_again(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, capacity: int
) -> None:
    scripts: dict[int, Script] = {1: find_device_away, 3: find_device_away}
    result = search(settings(space=FEW, budget=9), scripts=scripts, capacity=capacity)
    assert result.ending == "exhausted"
    assert len({record.architecture.key for record in result.summary.records}) == len(result.summary.records) == 4


def test_a_second_driver_is_refused_with_the_first_one_s_process(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings()
    chosen.folder.mkdir()
    with driver_lock(chosen.folder), pytest.raises(StudyError, match=r"'study' is being searched by process \d+"):
        search(chosen)
    assert len(search(chosen).summary.records) == 4


def test_a_driver_on_another_host_is_told_though_the_folder_is_not_locked_between_hosts(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.open_and_drive.driver_lock", lambda folder: contextlib.nullcontext())
    monkeypatch.setattr("search.study.database.lease.BEAT_S", 0.01)
    refused: list[str] = []

    def search_elsewhere(request: TrialRequest) -> Generator[Event, bool | None, None]:
        if not refused:
            with monkeypatch.context() as patch:
                patch.setattr("search.study.database.lease.platform.node", lambda: "another-host")
                patch.setattr("search.study.database.lease._GLANCE_S", 0.1)
                with pytest.raises(StudyError, match="is being searched by") as raised:
                    search(settings())
            refused.append(raised.value.message)
        yield from play_trial(request)

    outcome = run_search(settings(), executor=ScriptedExecutor(scripts={1: search_elsewhere}), view=RecordingView())
    assert refused == [f"study 'study' is being searched by process {os.getpid()} on {platform.node()}"]
    assert len(outcome.summary.records) == 4
    assert len({record.architecture.key for record in outcome.summary.records}) == 4


def test_a_driver_that_another_host_passed_over_changes_the_study_no_more(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was suspended for too long, and wakes up."""
    monkeypatch.setattr("search.driver.open_and_drive.driver_lock", lambda folder: contextlib.nullcontext())
    monkeypatch.setattr("search.study.database.lease.PATIENCE_S", 0.0)

    def search_elsewhere(request: TrialRequest) -> Generator[Event, bool | None, None]:
        with monkeypatch.context() as patch:
            patch.setattr("search.study.database.lease.platform.node", lambda: "another-host")
            study = Study(settings(), SpaceSampler(SPACE, name="random", seed=0))
            study.take(lambda message: None)
            study.recover()
        yield from play_trial(request)

    with pytest.raises(StudyError, match=r"process \d+ on another-host has taken over study 'study'"):
        run_search(settings(), executor=ScriptedExecutor(scripts={1: search_elsewhere}), view=RecordingView())
    assert tracking.status == []  # it may still be running there
    assert len(read_study(settings().root, "study").summary.records) == 1


def test_an_experiment_of_the_name_is_refused(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    chosen = settings()
    chosen.folder.mkdir()
    (chosen.folder / EXPERIMENT_FILE).touch()
    with pytest.raises(StudyError, match="belongs to trainings"):
        search(chosen)


def test_data_or_a_device_that_is_not_there_begins_no_study(
    settings: MakeSettings, tracking: Runs, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        search(settings(dataset=str(tmp_path / "nowhere")))
    with pytest.raises(UnknownDeviceError, match="device 'abacus' is unknown"):
        search(settings(device="abacus"))
    assert study_names(settings().root) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0}, "a budget of 0 trials finds nothing"),
        ({"budget": -3}, "a budget of -3 trials"),
        ({"max_latency_ms": 0.0}, "excludes every network"),
        ({"name": ""}, "study name '' cannot name a folder"),
        ({"name": "../elsewhere"}, "cannot name a folder"),
        ({"name": ".hidden"}, "cannot name a folder"),
    ],
)
def test_settings_without_meaning_are_refused(settings: MakeSettings, change: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        settings(**change)


# --- failures that repeat, and silence ----------------------------------------------------------------------------


def fail_in_epoch(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a trial that fails with the cause of all others, in an epoch of its own."""
    yield from fail_with(f"train17.png: broken data stream, in epoch {request.number}")(request)


ALL_FAIL: dict[int, Script] = dict.fromkeys(range(50), fail_in_epoch)


def test_the_third_failure_in_a_row_with_one_cause_ends_the_search(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor(scripts=ALL_FAIL | {0: play_trial, 1: fail_with("another")})
    message = r"3 trials in a row failed with one cause: train17\.png: broken data stream, in epoch 4; 5 of 20 trials"
    with pytest.raises(RepeatedFailureError, match=message) as caught:
        run_search(settings(budget=20), executor=executor, view=RecordingView())
    assert "run the same command again" in caught.value.hint
    assert executor.is_closed
    assert tracking.status == ["KILLED"]
    assert (settings().folder / "trials.csv").is_file()


@pytest.mark.parametrize(
    "scripts",
    [
        {1: fail_in_epoch, 2: fail_in_epoch, 3: play_trial, 4: fail_in_epoch, 5: fail_in_epoch},
        {1: fail_in_epoch, 2: fail_in_epoch, 3: fail_with("another"), 4: fail_in_epoch, 5: fail_in_epoch},
    ],
)
def test_failures_that_are_not_in_a_row_or_not_of_one_cause_end_nothing(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, scripts: dict[int, Script]
) -> None:
    assert search(settings(budget=8), scripts=scripts).ending == "done"


def test_a_running_trial_ends_before_the_search_stops_and_its_success_lets_it_go_on(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    chosen = settings(budget=8, train=dataclasses.replace(settings().train, epochs=9))
    view = RecordingView()
    executor = ScriptedExecutor(scripts=dict.fromkeys((1, 2, 3), fail_in_epoch), capacity=2)
    result = run_search(chosen, executor=executor, view=view)
    assert [notice for notice in view.notices if "no further one starts unless a running trial completes" in notice]
    assert result.summary.states == {"complete": 5, "failed": 3}


def test_once_the_cause_is_removed_the_same_search_reaches_its_budget_and_tries_the_failed_ones_again(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    failing = ScriptedExecutor(scripts=ALL_FAIL)
    with pytest.raises(RepeatedFailureError):
        run_search(settings(budget=5), executor=failing, view=RecordingView())
    mended, view = ScriptedExecutor(), RecordingView()
    result = run_search(settings(budget=5), executor=mended, view=view)
    assert (result.ending, result.budget) == ("done", 8)
    assert result.summary.states == {"complete": 5, "failed": 3}
    again = [request.architecture for request in mended.started[1:4]]  # the first one shows that the cause is gone
    assert again == [request.architecture for request in failing.started]
    assert len({request.architecture for request in mended.started}) == 5
    assert view.notices[0] == (
        "3 failed trials do not count in the budget; 3 networks are tried again after the next success"
    )
    later = RecordingView()
    run_search(settings(budget=5), executor=ScriptedExecutor(), view=later)
    assert later.notices[0] == "3 failed trials do not count in the budget"  # all three have ended otherwise since
    assert read_study(settings().root, "study").summary == result.summary


def test_an_architecture_that_always_fails_neither_stops_the_search_nor_spends_it(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    with pytest.raises(RepeatedFailureError):
        search(settings(budget=5), scripts=ALL_FAIL)
    scripts = dict.fromkeys((4, 5, 6), fail_in_epoch)  # the same three again
    assert search(settings(budget=5), scripts=scripts).summary.states == {"complete": 2, "failed": 6}
    summary = search(settings(budget=5)).summary
    assert summary.states == {"complete": 5, "failed": 6}


def test_failed_ones_are_tried_again_in_a_space_that_has_no_others(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    outcome = search(settings(space=FEW, budget=9), scripts={1: fail_with("once"), 2: fail_with("twice")})
    assert outcome.ending == "exhausted"
    again = search(settings(space=FEW, budget=9))
    assert again.ending == "exhausted"
    assert again.summary.states == {"complete": 4, "failed": 2}


def test_data_that_made_every_trial_fail_may_be_repaired(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, tmp_path: Path
) -> None:
    data = write_yolo(tmp_path / "data", num_train=3)
    chosen = settings(budget=4, dataset=str(data))
    with pytest.raises(RepeatedFailureError):
        search(chosen, scripts=ALL_FAIL)
    Image.new("RGB", (32, 32), "white").save(data / "images" / "train" / "0.png", optimize=False, compress_level=0)
    assert search(chosen).summary.states == {"complete": 4, "failed": 3}


def test_a_trial_stopped_with_its_driver_is_not_hung(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-Z does."""

    class Stopped(ScriptedExecutor):
        def events(self, *, timeout_s: float) -> Sequence[Event]:
            time.sleep(0.0 if self.answers else 0.6)
            return super().events(timeout_s=timeout_s)

    def begin_late(request: TrialRequest) -> Generator[Event, bool | None, None]:
        yield None  # type: ignore[misc]  # `ScriptedExecutor` takes it for silence
        yield from play_trial(request)

    monkeypatch.setattr("search.driver.driver.MIN_SILENCE_S", 0.0)
    monkeypatch.setattr("search.driver.driver.longest_silence_s", lambda finished, phase, **_: 0.5)
    executor = Stopped(scripts={0: begin_late})
    summary = run_search(settings(budget=1), executor=executor, view=RecordingView()).summary
    assert [record.result.state for record in summary.records] == ["complete"]


def test_a_silent_trial_is_ended_as_hung(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.driver.MIN_SILENCE_S", 0.0)
    monkeypatch.setattr("search.driver.driver.longest_silence_s", lambda finished, phase, **_: 0.05)
    executor = ScriptedExecutor(scripts={1: hang})
    summary = run_search(settings(budget=3), executor=executor, view=RecordingView()).summary
    assert executor.killed == [1]
    assert [record.result.state for record in summary.records] == ["complete", "failed", "complete"]
    assert "ended as hung: in phase build it reported nothing" in summary.records[1].result.reason


def test_a_hung_trial_is_recorded_as_failed_also_where_it_cannot_be_killed(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put back, it would be the first one of the resumed search, and hang again."""

    class Deaf(ScriptedExecutor):
        def kill(self, number: int) -> None:
            raise YoloRetError("the cluster does not answer")

    monkeypatch.setattr("search.driver.driver.MIN_SILENCE_S", 0.0)
    monkeypatch.setattr("search.driver.driver.longest_silence_s", lambda finished, phase, **_: 0.05)
    chosen = settings(budget=3)
    with pytest.raises(YoloRetError, match="the cluster does not answer"):
        run_search(chosen, executor=Deaf(scripts={1: hang}, capacity=2), view=RecordingView())
    (record,) = (one for one in read_study(chosen.root, chosen.name).summary.records if one.number == 1)
    assert "ended as hung" in record.result.reason


# --- a fault of the data or of the machine ------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2])
def test_a_full_disk_ends_the_search_and_no_trial(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, capacity: int
) -> None:
    undisturbed = search(settings(name="undisturbed", budget=4), capacity=capacity).summary
    with pytest.raises(
        OutsideFaultError, match=r"No space left on device: here; 2 of 4 trials are finished, none was lost"
    ) as caught:
        search(settings(budget=4), scripts={2: find_disk_full, 3: hang}, capacity=capacity)
    assert "run the same command again" in caught.value.hint
    assert tracking.status[-1] == "KILLED"
    resumed = search(settings(budget=4), capacity=capacity).summary
    assert resumed.states["failed"] == 0
    assert {record.architecture for record in resumed.records} == {
        record.architecture for record in undisturbed.records
    }


def test_an_executor_that_fails_ends_the_search_and_leaves_no_trial_running(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def lose_cluster(request: TrialRequest) -> Generator[Event, bool | None, None]:
        yield Progressed(number=request.number, progress=Progress(phase="build"))
        raise YoloRetError("the cluster is gone")

    chosen = settings(budget=4)
    with pytest.raises(YoloRetError, match="the cluster is gone"):
        search(chosen, scripts={2: lose_cluster, 3: hang}, capacity=2)
    assert tracking.status[-1] == "KILLED"
    trials = optuna.load_study(study_name=chosen.name, storage=open_storage(chosen.root)).get_trials(deepcopy=False)
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    assert search(chosen, capacity=2).summary.states == {"complete": 4}


# --- a device that is away ----------------------------------------------------------------------------------------


def test_a_trial_whose_device_is_away_is_tried_again_and_spends_no_budget(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    undisturbed = search(settings(name="undisturbed", budget=5)).summary
    executor, view = ScriptedExecutor(scripts={1: find_device_away, 2: find_device_away}), RecordingView()
    outcome = run_search(settings(budget=5), executor=executor, view=view)
    assert story(outcome.summary) == story(undisturbed)
    assert [record.number for record in outcome.summary.records] == [0, 3, 4, 5, 6]
    assert view.given_up == tracking.interrupted == [1, 2]
    assert ["cannot be reached" in notice for notice in view.notices] == [True, True]


def test_what_ended_beside_the_trial_that_ends_the_search_is_recorded(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ends of both ask for another proposal, which finds the device away."""

    def end_together(request: TrialRequest) -> Generator[Event, bool | None, None]:
        known = latency(fake_latency_ms(request.architecture))
        result = TrialResult(state="complete", latency=known, ap=0.5, ap50=0.5, epochs=1)
        yield Finished(number=request.number, result=result)

    def ask_in_vain(work: SearchWork) -> Proposal | None:
        if work.summary.records:
            raise DeviceAwayError("nano cannot be reached")
        return ask(work)

    ask, executor = SearchWork.ask, ScriptedExecutor(scripts=dict.fromkeys(range(9), end_together), capacity=2)
    monkeypatch.setattr(SearchWork, "ask", ask_in_vain)
    view = RecordingView()
    with pytest.raises(DeviceAwayError, match="nano cannot be reached; 2 of 6 trials are finished, none was lost"):
        run_search(settings(budget=6), executor=executor, view=view)
    assert "no trial starts before a running one ends: nano cannot be reached" in view.notices
    assert (tracking.interrupted, tracking.finished) == ([], [0, 1])
    assert len(read_study(settings().root, settings().name).summary.records) == 2


def test_only_waits_in_a_row_end_the_search(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    away = dict.fromkeys((*range(3), *range(4, 7), *range(8, 11)), find_device_away)  # three, thrice
    assert len(search(settings(budget=3), scripts=away).summary.records) == 3


def test_a_device_that_stays_away_does_not_keep_the_user_from_ending(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def build_then_away(request: TrialRequest) -> Generator[Event, bool | None, None]:
        yield Progressed(number=request.number, progress=Progress(phase="build"))
        yield from find_device_away(request)

    executor = ScriptedExecutor(scripts=dict.fromkeys(range(40), build_then_away))
    requested = once_started(executor, 4, "finish")  # the fourth wait would end the search with an error
    result = run_search(settings(budget=6), executor=executor, view=RecordingView(), stop_requested=requested)
    assert result.ending == "interrupted"


@pytest.mark.parametrize("capacity", [1, 2])
def test_a_device_that_stays_away_ends_the_search_and_loses_nothing(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, capacity: int
) -> None:
    executor = ScriptedExecutor(scripts=dict.fromkeys(range(2, 40), find_device_away), capacity=capacity)
    with pytest.raises(DeviceAwayError, match="2 of 6 trials are finished") as caught:
        run_search(settings(budget=6), executor=executor, view=RecordingView())
    assert "same command again" in caught.value.hint
    assert len(executor.started) == 2 + 4 * capacity
    assert tracking.status[-1] == "KILLED"
    resumed = search(settings(budget=6)).summary
    assert len(resumed.records) == len({record.architecture.key for record in resumed.records}) == 6
    assert {record.result.state for record in resumed.records} <= {"complete", "pruned"}


# --- the hypervolume's reference ----------------------------------------------------------------------------------


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> StandInDevice:
    """A device whose reference is really measured."""
    found = StandInDevice()
    monkeypatch.setattr("search.driver.devices.open_device", lambda spec, **options: found)
    return found


def test_without_a_limit_the_reference_is_the_costliest_network_s_latency(
    settings: MakeSettings, costly: StandInDevice, root: Path
) -> None:
    root.mkdir(exist_ok=True)
    slowest_ms = slowest_latency_ms(settings(space=FEW), num_classes=3, devices=LocalDevices())
    assert slowest_ms == pytest.approx(110.0)  # and a margin
    assert len(costly.measured) == 1
    assert slowest_latency_ms(settings(space=FEW), num_classes=3, devices=LocalDevices()) == slowest_ms
    assert len(costly.measured) == 1  # found in the cache


@pytest.mark.usefixtures("own_locks")
def test_a_driver_measures_alone_on_the_machine(
    settings: MakeSettings, costly: StandInDevice, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_alone = []
    monkeypatch.setattr(costly, "measure", lambda path: was_alone.append(is_measuring()) or latency(1.0))
    root.mkdir(exist_ok=True)
    LocalDevices().measure(next(iter(FEW)), settings(space=FEW), num_classes=3)
    assert was_alone == [True]


@pytest.mark.parametrize("fault", [DeviceError("out of memory"), UnsupportedNetworkError("no operator X")])
def test_a_costliest_network_that_the_device_cannot_run_is_passed_over(
    settings: MakeSettings, costly: StandInDevice, root: Path, fault: YoloRetError
) -> None:
    root.mkdir(exist_ok=True)
    costly.faults = [fault]
    assert slowest_latency_ms(settings(space=SPACE), num_classes=3, devices=LocalDevices()) == pytest.approx(110.0)
    costly.known = dataclasses.replace(IDENTITY, board="another")
    costly.faults = [fault, DeviceError("again")]
    with pytest.raises(DeviceError, match="again"):
        slowest_latency_ms(settings(space=SPACE), num_classes=3, devices=LocalDevices())


@pytest.mark.parametrize("trouble", [DeviceAwayError, UnstableError, UnusableDeviceError])
def test_a_trouble_that_says_nothing_about_the_costliest_network_passes_nothing_over(
    settings: MakeSettings, costly: StandInDevice, root: Path, trouble: type[DeviceError]
) -> None:
    root.mkdir(exist_ok=True)
    two = {name: BackboneChoice(truncation=(9,)) for name in ("mobilenetv3_small_050", "mobilenetv3_small_100")}
    costly.faults = [trouble("a passing trouble")]
    with pytest.raises(trouble, match="a passing trouble"):
        slowest_latency_ms(
            settings(space=dataclasses.replace(FEW, backbones=two)), num_classes=3, devices=LocalDevices()
        )


def test_the_reference_stays_as_it_was_set(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = search(settings(budget=2)).summary.reference
    monkeypatch.setattr("search.driver.preparation.reference_latency.slowest_latency_ms", lambda *args, **kwargs: 500.0)
    assert search(settings(budget=3)).summary.reference == before
    limited = settings(name="limited", budget=1, max_latency_ms=30.0)
    assert search(limited).summary.reference.latency_ms == 37.5  # a network just within the limit counts
